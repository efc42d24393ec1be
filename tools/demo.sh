#!/bin/sh
# demo.sh [OUT_DIR] - the main job on the default corpus: fetch, compare, report (make demo).
# Stopped at any time, it goes on where it was.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-demo}
cd "$root"
[ -f "$out/corpus/complete" ] || { tools/fetch_corpus.sh "$out/corpus" && : >"$out/corpus/complete"; }
exec build/release/cli/isomoe compare "$out"/corpus/train_*.jsonl --params 400000 --out "$out" \
    --val general="$out/corpus/val_general.jsonl" \
    --val maths="$out/corpus/val_maths.jsonl" \
    --val code="$out/corpus/val_code.jsonl"
