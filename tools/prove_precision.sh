#!/bin/bash
# prove_precision.sh - 300 steps of d2 and m2 on the default corpus in fp32 and in bf16, three seeds each: does bf16
# change the validation loss by more than another seed does? About 75 minutes on two cores, two runs at a time on
# a thread each; PRECISIONS=fp32 runs that half alone. Resumable: a run goes on where it was. Keeps
# docs/evidence/precision.md.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/prove_lib.sh
. tools/prove_lib.sh
corpus=demo/corpus work=build/prove/precision
[ -f "$corpus/complete" ] || { tools/fetch_corpus.sh "$corpus" && : >"$corpus/complete"; }
mkdir -p "$work"
[ -d "$work/data" ] || "$isomoe" data prepare --tokenizer bytes --train "$corpus"/train_*.jsonl --val code="$corpus/val_code.jsonl" \
    general="$corpus/val_general.jsonl" maths="$corpus/val_maths.jsonl" --out "$work/data"

one() { # shape precision seed
    local out="$work/$1-$2-s$3"
    grep -qs '"state": *"finished"' "$out/summary.json" && return
    echo "prove_precision: $1, $2, seed $3"
    "$isomoe" train "configs/bench/$1.yaml" --out "$out" --quiet --data.dir="$work/data" --train.precision="$2" --train.seed="$3" \
        --data.seed="$3" --train.threads=1
}
export -f one
export isomoe work
for precision in ${PRECISIONS:-fp32 bf16}; do
    for shape in d2 m2; do
        for seed in 1 2 3; do echo "$shape $precision $seed"; done
    done
done | xargs -P 2 -L 1 bash -c 'one "$@"' one
[ -z "${PRECISIONS-}" ] || exit 0

python3 tools/precision_table.py "$work" >"$work/precision.md.part"
{
    echo "# bf16 beside fp32"
    echo
    echo "\`make prove-precision\`: 300 steps of 4,096 tokens of d2 and m2 (configs/bench) on the default corpus, bytes as tokens, Step"
    echo "Law's learning rate; a seed draws the initial weights and the order of the data. Bits per byte of validation text, 262,144"
    echo "tokens of three domains and the hold-out."
    echo
    circumstances
    echo
    cat "$work/precision.md.part"
} >"$work/precision.md"
cp "$work/precision.md" docs/evidence/precision.md
cat docs/evidence/precision.md
