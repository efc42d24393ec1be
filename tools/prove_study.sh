#!/bin/bash
# prove_study.sh - the method's small sibling on the default corpus (about 10 minutes), left alone and then
# killed with SIGKILL 20 times at random moments, every second time with its trainings; then a full disk in
# the middle, and room again: the same bits in every run (tests/system/study_run.sh at full size). About 35
# minutes in all. Keeps docs/evidence/study.md. Resumable: text that is prepared and a proof that is done with
# this build are not done again.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/prove_lib.sh
. tools/prove_lib.sh
kills=20
work=build/prove/study-$(build_key)
corpus=build/prove/corpus
mkdir -p "$work/tmp"
[ -f "$corpus/complete" ] || { tools/fetch_corpus.sh "$corpus" && : >"$corpus/complete"; }
"$isomoe" data prepare --train "$corpus"/train_*.jsonl --val general="$corpus/val_general.jsonl" \
    --val maths="$corpus/val_maths.jsonl" --val code="$corpus/val_code.jsonl" --out "$work/data" >/dev/null
log=$work/log.txt
if [ ! -f "$log" ]; then
    # On a disk, with its fsyncs. A kill every 40 s or less: so many in two thirds of the study's own time.
    circumstances >"$work/when.md"
    TMPDIR=$PWD/$work/tmp STUDY=$PWD/configs/studies/small.yaml DATA=$PWD/$work/data KILLS=$kills SPAN_S=${SPAN_S:-40} \
        tests/system/study_run.sh "$isomoe" >"$log.part" || grep -q '^FAILED' "$log.part" || exit 1
    mv "$log.part" "$log"
fi
failed=$(grep -c '^FAILED' "$log" || true)
grep -qx "figure killed: $kills SIGKILLs" "$log" ||
    { echo "the study ended before $kills kills; remove $log and give a shorter SPAN_S" >&2; exit 1; }
{
    echo "# A study, killed"
    echo
    echo "\`make prove-study\`: tests/system/study_run.sh with configs/studies/small.yaml on the default corpus."
    echo
    cat "$work/when.md"
    echo
    grep '^figure' "$log" | sed 's/^figure /- /'
    echo "- checks: $(grep -c '^ok' "$log") passed, $failed failed, $(grep -c '^skipped' "$log" || true) skipped" \
        "($(sed -n 's/^\(SEED=.*\)/\1/p' "$log"))"
    echo
    echo "The same bits means, for every run: every loss, gradient norm, rate and evaluation row digit by digit; weights,"
    echo "moments and seen sequences by SHA-256; the final evaluation window by window; tokens, steps and FLOPs of the"
    echo "ledger; and for the study: the rates that its sweep chose."
} >"$work/study.md"
cp "$work/study.md" docs/evidence/study.md
cat docs/evidence/study.md
[ "$failed" -eq 0 ]
