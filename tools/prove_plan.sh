#!/bin/bash
# prove_plan.sh - the planner on 100,000 random goals that are known to have a solution (CASES), each
# answer judged by an own count in 128 bits. Keeps docs/evidence/plan.md. Resumable: goals are done in
# pieces of 5,000, and a piece that is done with this build is not done again.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/prove_lib.sh
. tools/prove_lib.sh
cases=${CASES:-100000}
piece=5000
cmake --preset release -DISO_TESTS=ON >/dev/null
cmake --build --preset release --target prove_planner
prover=build/release/tests/arch/prove_planner
work=build/prove/plan-$(sha256sum <$prover | cut -c1-12)
mkdir -p "$work"
for ((first = 0; first < cases; first += piece)); do
    out=$work/$first
    [ -f "$out" ] || { $prover $first $((first + piece)) >"$out.part" && mv "$out.part" "$out"; }
    echo "$((first + piece)) of $cases goals, $(cat "$work"/* | grep -cv ' met$' || true) not met" >&2
done

all=$work/all.sorted
for ((first = 0; first < cases; first += piece)); do cat "$work/$first"; done | sort -k2,2g >"$all"
{
    echo "# The planner on random goals"
    echo
    echo "\`make prove-plan\`: goals built from random legal MoE shapes of 1e6 to 1e12 parameters (three layouts, with and"
    echo "without shared expert, heads of 16 to 128), so that a solution is known to exist; N and r_a are that shape's. Judged by an"
    echo "own count in 128 bits: shapes legal, N within 0.1 %, r_a within 1 %, C within one optimizer step, the same answer twice."
    echo
    circumstances
    echo
    echo "| | |"
    echo "|---|---|"
    awk '
        { n++; ms[n] = $2; if ($3 > params) params = $3; if ($4 > rate) rate = $4
          if ($6 == "none" && NF == 6) none++
          else if ($6 == "met" && NF == 6) { met++; for (bit = 0; bit < 7; bit++) relaxed[bit] += int($5 / 2 ^ bit) % 2 }
          else faults++ }
        END {
          split("r_a|sameness|H/L|experts/H|F/H|widths|router", name, "|")
          printf "| goals | %d |\n| met | %d |\n| faults | %d |\n", n, met, faults
          printf "| no dense baseline within 0.1 %%, confirmed by trying all | %d |\n", none
          printf "| largest error of N | %.4f %% |\n| largest error of r_a | %.3f %% |\n", 100 * params, 100 * rate
          printf "| time: median, 90 %%, 99 %%, longest | %.2f, %.1f, %.0f, %.0f ms |\n", ms[int((n + 1) / 2)], ms[int(0.9 * n)],
              ms[int(0.99 * n)], ms[n]
          for (bit = 0; bit < 7; bit++) printf "| relaxed: %s | %.2f %% |\n", name[bit + 1], 100 * relaxed[bit] / (met ? met : 1)
        }' "$all"
} >docs/evidence/plan.md
cat docs/evidence/plan.md
! grep -qv -e ' met$' -e ' none$' "$all"
