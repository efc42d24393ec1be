#!/bin/bash
# revisions.sh REV1 REV2 [SHAPE...] - two revisions' training steps timed in turn, and their ratio.
#
#   bench/revisions.sh v0.1.0 main d2 m2           PRECISION=bf16 bench/revisions.sh HEAD~3 HEAD m2
#
# Timings of two builds one after the other differ by what else the machine did in the meantime. Here both
# programs run at once, one stopped while the other works (bench/peers/alternate.py), and the ratio is taken
# pair by pair. Each revision is built once, in a worktree under build/revisions/. THREADS (default 2),
# PRECISION (fp32), BUDGET (seconds a shape, 40). Needs python3 alone.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 2 ] || { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
precision=${PRECISION:-fp32} threads=${THREADS:-2}

# Builds a revision if its program is not there; prints the program's path.
program_of() {
    local commit folder
    commit=$(git rev-parse --verify --quiet "$1^{commit}") || { echo "revisions: no revision '$1'" >&2; return 2; }
    folder=build/revisions/${commit:0:12}
    if [ ! -x "$folder/build/cli/isomoe" ]; then
        [ -e "$folder/.git" ] || git worktree add --force --detach "$folder" "$commit" >&2
        cmake -S "$folder" -B "$folder/build" -DCMAKE_BUILD_TYPE=Release -DISO_TESTS=OFF >/dev/null
        cmake --build "$folder/build" --target isomoe -j "${JOBS:-$(nproc)}" >&2
    fi
    echo "$folder/build/cli/isomoe"
}

first=$(program_of "$1")
second=$(program_of "$2")
echo "A: $1, $first"
echo "B: $2, $second"
shift 2
[ $# -gt 0 ] || set -- d1 m1 d2 m2
mkdir -p build/revisions
for shape in "$@"; do
    name=$(basename "$shape" .yaml)
    flags="bench --shape $shape --precision $precision --threads $threads --blocks"
    python3 bench/peers/alternate.py --precision "$precision" --budget "${BUDGET:-40}" \
        --isomoe "$second $flags" --peer "$first $flags" >"build/revisions/$name-$precision.json"
    python3 - "build/revisions/$name-$precision.json" "$shape" "$precision" <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))
def span(v, digits=0):
    return f"{v['median']:.{digits}f} ({v['min']:.{digits}f} to {v['max']:.{digits}f})"
q = r["ratio"]
verdict = "B faster in every pair" if q["min"] > 1 else "A faster in every pair" if q["max"] < 1 else "not apart"
print(f"{sys.argv[2]} {sys.argv[3]}: A {span(r['peer']['tokens_per_s'])}, B {span(r['isomoe']['tokens_per_s'])} tokens/s; "
      f"B/A {span(q, 3)}: {verdict}; of the peak {r['peer']['model_frac']['median']:.3f}, {r['isomoe']['model_frac']['median']:.3f}")
PY
done
