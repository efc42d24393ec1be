#!/bin/bash
# prove_peers.sh [SHAPE|CONFIG...] - training steps beside PyTorch's, in turn, on two threads (bench/peers).
#
# For each shape the fastest way of the peer is found first, by a short run of each. Without arguments: d2 and
# m2, and the demo's own dense and 20 % sides. Keeps docs/evidence/peers.md. Wants a quiet machine:
# PEAK_GFLOPS gives the two-thread fp32 peak where it is not.
set -euo pipefail
cd "$(dirname "$0")/.."
isomoe=${ISOMOE:-build/release/cli/isomoe}
venv=${PEERS_VENV:-$HOME/.cache/isomoe-peers/venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q -r bench/peers/requirements.txt
fi
python=$venv/bin/python
[ $# -gt 0 ] || set -- d2 m2 demo/configs/dense-s1.yaml demo/configs/moe-20-s1.yaml
mkdir -p build/peers docs/evidence

select_of() { # the flags that name a shape or a config
    if [ -f "$1" ]; then echo "--config $1"; else echo "--shape $1"; fi
}

fastest() { # the peer's flags that train most tokens a second
    local best=0 flags=
    for try in "--mode eager --position rope" "--mode eager --position alibi" "--mode compile --position rope"; do
        # shellcheck disable=SC2046,SC2086 # words
        rate=$("$python" bench/peers/torch_peer.py $(select_of "$1") $try --threads 2 --repetitions 3 2>/dev/null |
            "$python" -c 'import json, sys; print(int(max([json.loads(l)["median"] for l in sys.stdin if l.startswith("{")] or [0])))' || echo 0)
        echo "$1: PyTorch $try: $rate tokens/s" >&2
        if [ "$rate" -gt "$best" ]; then best=$rate flags=$try; fi
    done
    echo "$flags"
}

for shape in "$@"; do
    name=$(basename "$shape" .yaml)
    flags=$(fastest "$shape")
    # shellcheck disable=SC2046,SC2086 # words
    "$python" bench/peers/alternate.py $(select_of "$shape") --seconds 3 --pairs 7 ${PEAK_GFLOPS:+--peak-gflops $PEAK_GFLOPS} \
        --isomoe "$isomoe bench --shape $shape --threads 2 --blocks" \
        --peer "$python bench/peers/torch_peer.py $(select_of "$shape") $flags --threads 2 --serve" >"build/peers/$name.json"
done

{
    echo "# Training steps beside PyTorch"
    echo
    echo "\`make prove-peers\`, commit $(git rev-parse --short HEAD), $(date -u +%F), $(lscpu | sed -n 's/^Model name: *//p'), 2 threads, fp32."
    echo "PyTorch $("$python" -c 'import torch; print(torch.__version__)'), its fastest way for each shape. Blocks of about 3 s in turn in one run, 7 pairs; medians, with"
    echo "the slowest and fastest block. Fraction: model FLOPs (6 N_a + 12 S H L per token, the head apart) over the fp32 peak"
    echo "on two threads, ${PEAK_GFLOPS:-measured by isomoe at its start}${PEAK_GFLOPS:+ GFLOP/s as measured on the quiet machine}."
    echo
    echo "| shape | isomoe, tokens/s | fraction of peak | PyTorch, tokens/s | fraction | ratio, pair by pair | PyTorch's way |"
    echo "|---|---|---|---|---|---|---|"
    for shape in "$@"; do
        "$python" - "build/peers/$(basename "$shape" .yaml).json" <<'PY'
import json, os, re, sys
r = json.load(open(sys.argv[1]))
a, b, q = r["isomoe"], r["peer"], r["ratio"]
way = re.search(r"--mode (\S+) --position (\S+)", r["commands"]["peer"])
name = os.path.basename(r["name"]).replace(".yaml", "")
print(f"| {name} | {a['median']:.0f} ({a['min']:.0f} to {a['max']:.0f}) | {a['peak_frac']:.2f} | {b['median']:.0f} ({b['min']:.0f} to {b['max']:.0f}) "
      f"| {b['peak_frac']:.2f} | {q['median']:.2f} ({q['min']:.2f} to {q['max']:.2f}) | {way[1]}, {way[2]} |")
PY
    done
} | tee docs/evidence/peers.md
