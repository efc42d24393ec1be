#!/bin/bash
# prove_threads.sh - the same bits on 1, 2, 3 and 7 threads at the demo's own shapes and text, in fp32 and
# in bf16.
# Keeps docs/evidence/threads.md. Resumable: a run that is done with this build is not done again, and
# one that was cut short goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/prove_lib.sh
. tools/prove_lib.sh
work=build/prove/threads-$(build_key)
steps=${STEPS:-40}
[ -f demo/corpus/complete ] || { tools/fetch_corpus.sh demo/corpus && : >demo/corpus/complete; }
mkdir -p "$work"
"$isomoe" compare demo/corpus/train_*.jsonl --params 400000 --out "$work/plan" --plan-only \
    --val general=demo/corpus/val_general.jsonl --val maths=demo/corpus/val_maths.jsonl \
    --val code=demo/corpus/val_code.jsonl

failed=0
rows=
for precision in fp32 bf16; do
    for side in dense moe-20 moe-50; do
        for threads in 1 2 3 7; do
            run=$work/$side-$precision-$threads
            grep -qs '"state": "finished"' "$run/summary.json" || "$isomoe" train "$work/plan/configs/$side-s1.yaml" \
                --out "$run" --quiet --train.precision=$precision --train.steps="$steps" --train.warmup_steps=4 \
                --train.threads=$threads --data.unique_tokens=20000 --train.checkpoint_every=15 --train.eval_every=10 \
                --train.final_eval_tokens=16384
            losses=$(sed -E 's/,"(step_ms|tokens_per_s|mfu)":[^,}]*//g' "$run/metrics.jsonl" | grep -v replayed_steps |
                sha256sum | cut -c1-16)
            weights=$(sha256sum <"$run/checkpoints/step_$steps/model.safetensors" | cut -c1-16)
            [ $threads -ne 1 ] || first="$losses $weights"
            verdict=same
            [ "$losses $weights" = "$first" ] || { verdict=DIFFERENT; failed=1; }
            rows+="| $side | $precision | $threads | $losses | $weights | $verdict |"$'\n'
        done
    done
done
{
    echo "# The same bits on any number of threads"
    echo
    echo "\`make prove-threads\`: the demo's shapes and text, $steps steps, 20,000 unique tokens (several epochs), evaluations"
    echo "every 10 steps, checkpoints every 15. SHA-256 (first 16 digits) of metrics.jsonl without times, and of the final"
    echo "model.safetensors."
    echo
    circumstances
    echo
    echo "| side | precision | threads | metrics | weights | as on 1 thread |"
    echo "|---|---|---|---|---|---|"
    printf %s "$rows"
} >docs/evidence/threads.md
cat docs/evidence/threads.md
exit $failed
