#!/bin/bash
# prove_control.sh - A/A: two configurations, dense and MoE, each against itself under 32 seeds in real, tiny
# trainings on the default corpus; how often the study's own rule calls two sides of one configuration
# different, with its binomial interval. Minutes. Keeps docs/evidence/control.md. Resumable.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/prove_lib.sh
. tools/prove_lib.sh
work=build/prove/control-$(build_key)
corpus=${CORPUS:-build/prove/corpus}
mkdir -p "$work"
[ -f "$corpus/complete" ] || { tools/fetch_corpus.sh "$corpus" && : >"$corpus/complete"; }
"$isomoe" data prepare --train "$corpus"/train_*.jsonl --val general="$corpus/val_general.jsonl" \
    --val maths="$corpus/val_maths.jsonl" --val code="$corpus/val_code.jsonl" --out "$work/data" >/dev/null
cat >"$work/control.yaml" <<END
format: 1
name: control
kind: control
config:
  model: {max_position_embeddings: 32}
  data: {dir: $work/data}
  train: {eval_tokens: 1024, final_eval_tokens: 16384, keep_last: 1}
budget: {params: 100K, data: 100K}
seeds: 32
machine: {parallel: ${PARALLEL:-2}}
END
"$isomoe" study run "$work/control.yaml" --out "$work/study"

# The rule of the studies (src/study/seed_control.h) over sides of n seeds: |difference| of two means against
# t(0.975) s sqrt(2/n), s pooled over all sides of that size.
rate() { # side, seeds of a side: pairs, alarms, SD
    for run in "$work"/study/runs/"$1"-s*; do jq .bpc "$run/summary.json"; done |
        "$isomoe" study control --seeds "$2"
}
