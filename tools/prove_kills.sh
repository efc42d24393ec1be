#!/bin/bash
# prove_kills.sh - 50 SIGKILLs at random times for a dense model and an MoE, resumed on other numbers
# of threads: every row, weight and count of the undisturbed run (tests/system/kills.sh at full size).
# Keeps docs/evidence/kills.md. Resumable: a side that is done with this build is not done again.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/prove_lib.sh
kills=${KILLS:-50}
work=build/prove/kills-$(build_key)
mkdir -p "$work"
for side in dense moe; do
    [ -f "$work/$side.txt" ] && continue
    echo "prove_kills: $side, $kills kills"
    KILLS=$kills SIDES=$side STEPS=120 tests/system/kills.sh build/release/cli/isomoe | tee "$work/$side.part"
    mv "$work/$side.part" "$work/$side.txt"
done
{
    echo "# Kills and resumes"
    echo
    echo "\`make prove-kills\`: tests/system/kills.sh with $kills SIGKILLs a side."
    echo
    circumstances
    echo
    for side in dense moe; do
        echo "- $(grep ' SIGKILLs in ' "$work/$side.txt"); $(grep -c '^ok' "$work/$side.txt") checks passed," \
            "$(grep -c '^FAILED' "$work/$side.txt") failed; $(grep -m 1 SEED "$work/$side.txt")"
    done
    echo
    echo "Each run crosses epochs, evaluations and checkpoints, and is started on 1 to 4 threads, another number after"
    echo "each kill. Equal to the undisturbed run: every loss, gradient norm, rate and evaluation row, digit by digit;"
    echo "weights, moments and seen sequences by SHA-256; the final evaluation window by window; tokens, steps and FLOPs"
    echo "of the ledger. The replayed steps are in the ledger as waste, exactly as many as were lost."
} >"$work/kills.md"
cp "$work/kills.md" docs/evidence/kills.md
cat docs/evidence/kills.md
