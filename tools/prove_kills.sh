#!/bin/bash
# prove_kills.sh - 50 SIGKILLs at random times for a dense model and an MoE, resumed on other numbers
# of threads: every row, weight and count of the undisturbed run (tests/system/kills.sh at full size).
# Keeps docs/evidence/kills.md. Resumable: done in batches, and a batch that is done with this build is
# not done again.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/prove_lib.sh
. tools/prove_lib.sh
batches=5 kills=10
work=build/prove/kills-$(build_key)
mkdir -p "$work"
for side in dense moe; do
    for batch in $(seq $batches); do
        log=$work/$side-$batch.txt
        [ -f "$log" ] && continue
        echo "prove_kills: $side, batch $batch of $batches"
        KILLS=$kills SIDES=$side tests/system/kills.sh "$isomoe" >"$log.part" ||
            grep -q '^FAILED' "$log.part" || exit 1 # failed checks are figures, too
        mv "$log.part" "$log"
    done
done

# "dense: 10 SIGKILLs in 4 runs of 60 steps, 31 steps replayed", of all batches.
totals() { # side
    cat "$work/$1"-*.txt | awk '
        / SIGKILLs in / { kills += $2; runs += $5; steps = $8; replayed += $10 }
        / times SIGTERM or SIGUSR1/ { asked += $3 }
        END { printf "%d SIGKILLs in %d runs of %d steps, %d steps replayed; %d times SIGTERM or SIGUSR1",
            kills, runs, steps, replayed, asked }'
}
failed=$(cat "$work"/*.txt | grep -c '^FAILED' || true)
{
    echo "# Kills and resumes"
    echo
    echo "\`make prove-kills\`: tests/system/kills.sh with $((batches * kills)) SIGKILLs a side."
    echo
    circumstances
    echo
    for side in dense moe; do
        echo "- $side: $(totals $side); $(cat "$work/$side"-*.txt | grep -c '^ok') checks passed," \
            "$(cat "$work/$side"-*.txt | grep -c '^FAILED') failed"
        echo "  (seeds $(cat "$work/$side"-*.txt | sed -n 's/^SEED=//p' | paste -sd' '))"
    done
    echo
    echo "Each run crosses epochs, evaluations and checkpoints, and is started on 1 to 4 threads, another number after"
    echo "each kill. Equal to the undisturbed run: every loss, gradient norm, rate and evaluation row, digit by digit;"
    echo "weights, moments and seen sequences by SHA-256; the final evaluation window by window; tokens, steps and FLOPs"
    echo "of the ledger. The replayed steps are in the ledger as waste, exactly as many as were lost."
} >"$work/kills.md"
cp "$work/kills.md" docs/evidence/kills.md
cat docs/evidence/kills.md
[ "$failed" -eq 0 ]
