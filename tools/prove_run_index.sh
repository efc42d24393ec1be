#!/bin/bash
# prove_run_index.sh - the index of 200 runs: how long a status and a rebuild take, whether it comes
# back equal, 50 SIGKILLs during a rebuild, 100 flipped bits, a full disk (tests/system/study_index.sh
# at full size). Keeps docs/evidence/run-index.md. Fails where a status takes 0.1 s or a rebuild 2 s.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/prove_lib.sh
. tools/prove_lib.sh
runs=200 kills=50 flips=100
work=build/prove/run-index-$(build_key)
mkdir -p "$work/tmp"
log=$work/log.txt
if [ ! -f "$log" ]; then
    # On a disk, with its fsyncs, and not in memory as in the tests.
    TMPDIR=$PWD/$work/tmp RUNS=$runs KILLS=$kills FLIPS=$flips tests/system/study_index.sh "$isomoe" >"$log.part" ||
        grep -q '^FAILED' "$log.part" || exit 1 # failed checks are figures, too
    mv "$log.part" "$log"
fi

median() { # what
    sed -n "s/^figure $1.*: median \([0-9.]*\) s.*/\1/p" "$log"
}
failed=$(grep -c '^FAILED' "$log" || true)
{
    echo "# The run index"
    echo
    echo "\`make prove-run-index\`: tests/system/study_index.sh with $runs runs: copies of two trained ones with"
    echo "other names, seeds and scores; one still going on with a torn line, one damaged."
    echo
    circumstances
    echo
    grep '^figure' "$log" | sed 's/^figure /- /'
    echo "- checks: $(grep -c '^ok' "$log") passed, $failed failed ($(sed -n 's/^\(SEED=.*\)/\1/p' "$log"))"
    echo
    echo "Times are those of whole commands, start of the process included, files in the page cache, the index on a disk"
    echo "with its fsyncs. \"Right\" means that every cell of every table is digit for digit what an index made from nothing"
    echo "has. After a SIGKILL the next command finds whole runs and reads the rest; a flipped bit anywhere in the file"
    echo "makes it read all of them. On a full disk the command ends with exit code 4, and the run folders keep their SHA-256."
} >"$work/run-index.md"
cp "$work/run-index.md" docs/evidence/run-index.md
cat docs/evidence/run-index.md
[ "$failed" -eq 0 ]
awk -v s="$(median 'status, nothing changed')" -v r="$(median 'status without an index')" \
    'BEGIN {exit !(s > 0 && s < 0.1 && r > 0 && r < 2)}' || {
    echo "prove_run_index: slower than promised: 0.1 s for a status, 2 s for a rebuild" >&2
    exit 1
}
