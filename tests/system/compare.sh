#!/bin/bash
# The main job at toy size, from text to the report: equal runs, a second call that has nothing to do,
# and a kill in the middle that changes nothing.
. "$(dirname "$0")/lib.sh"

make_text
compare() { # folder, further flags...
    isomoe compare text/train --val words=text/words.txt --params 200000 --tokens-per-param 0.04 --jobs 2 --out "$@"
}
answer() { # log
    sed -n '/^audit:/,/^report:/p' "$1" | grep -v '^report:'
}
# What every run came to; the runs' folders differ.
all_prints() { # folder
    local run
    for run in "$1"/runs/*; do
        echo "== $(basename "$run")"
        fingerprint "$run" | sed "s|\"$1/data\"|\"data\"|"
    done
}

expect "compare: plans first, if asked" 0 'dense' 'moe-20' 'moe-50' -- compare calm --plan-only
check "compare: a config for each run" test "$(find calm/configs -name '*.yaml' | wc -l)" -eq 16
check "compare: and nothing is trained" test ! -e calm/runs

# --- in which precision ---

all_in() { # folder precision
    [ "$(grep -lx "  precision: $2" "$1"/configs/*.yaml | wc -l)" -eq 16 ]
}

best=fp32
isomoe doctor 2>/dev/null | grep -q 'cpu (fp32 bf16)' && best=bf16
check "compare: in what the processor is best at" all_in calm $best
expect "compare: fp32, if asked" 0 'training in fp32' -- compare plain --plan-only --precision fp32
check "compare: every side in it" all_in plain fp32
expect "compare: fp32 where the processor has no more" 0 'training in fp32' -- \
    env ONEDNN_MAX_CPU_ISA=AVX2 "$ISOMOE" compare text/train --val words=text/words.txt --params 200000 --tokens-per-param 0.04 \
    --out older --plan-only
check "compare: there, too" all_in older fp32
expect "compare: another precision in the same folder" 2 'plain holds a comparison' -- compare plain --plan-only
expect "compare: bf16 where the processor has none" 2 'AVX512-BF16' -- \
    env ONEDNN_MAX_CPU_ISA=AVX2 "$ISOMOE" compare text/train --val words=text/words.txt --params 200000 --tokens-per-param 0.04 \
    --out none --precision bf16

expect "compare: from text to the report" 0 'audit: strict' 'report: calm/report\.html' -- compare calm
cp expect.log first.log
check "compare: the report is a page" grep -q '</html>' calm/report.html
expect "compare: audit says the same" 0 'verdict: strict' -- isomoe audit calm/runs/* --require strict
all_prints calm >calm.prints
find calm/runs -name summary.json -printf '%p %T@\n' | sort >calm.times
expect "compare: a second call" 0 'audit: strict' -- compare calm
answer first.log >first.answer
answer expect.log >second.answer
same "compare: says the same" first.answer second.answer
find calm/runs -name summary.json -printf '%p %T@\n' | sort >again.times
same "compare: and trains nothing" calm.times again.times

# --- killed in the middle ---

compare killed --plan-only >/dev/null 2>&1
cp calm/plan.json killed/plan.json # its expected times were measured: the only thing that may differ
"$ISOMOE" compare text/train --val words=text/words.txt --params 200000 --tokens-per-param 0.04 --jobs 2 --out killed \
    >killed.log 2>&1 &
pid=$!
# At a random moment after the first runs have begun.
while kill -0 $pid 2>/dev/null && [ "$(find killed/runs -name metrics.jsonl 2>/dev/null | wc -l)" -lt $((RANDOM % 6 + 2)) ]; do
    sleep 0.05
done
kill -KILL $pid
wait $pid 2>/dev/null >&2
check "compare: killed before the end" test "$(grep -l '"state": "finished"' killed/runs/*/summary.json | wc -l)" -lt "$(ls calm/runs | wc -l)"
expect "compare: called again at once, it goes on" 0 'audit: strict' -- compare killed
answer expect.log >killed.answer
same "compare: to the same answer" first.answer killed.answer
all_prints killed >killed.prints
same "compare: with the same bits in every run" calm.prints killed.prints

# --- politely stopped, before the runs can listen ---

for delay in 0 0.005 0.1; do
    rm -rf killed/runs
    "$ISOMOE" compare text/train --val words=text/words.txt --params 200000 --tokens-per-param 0.04 --jobs 2 --out killed \
        >killed.log 2>&1 &
    pid=$!
    until [ -d killed/runs ] || ! kill -0 $pid 2>/dev/null; do :; done
    sleep $delay
    kill -INT $pid
    wait $pid
    check "compare: SIGINT $delay s after the first run's start ends with 75" test $? -eq 75
    check "compare: and says how to go on" grep -q 'run the same command to go on' killed.log
done

# --- another question in the same folder ---

expect "compare: another budget in the same folder" 2 'calm holds a comparison' 'another --out' -- compare calm --params 210000
echo '/* more */' >>text/train/loop.c
expect "compare: changed text in the same folder" 2 'calm' 'another --out|remove|--force' -- compare calm
expect "compare: too little text" 1 'tokens' 'give at least' -- \
    isomoe compare text/words.txt text/docs.txt --params 200000 --tokens-per-param 10 --out little
expect "compare: no text" 2 'TEXT' -- isomoe compare
expect "compare: text that is not there" 1 'nowhere' -- isomoe compare nowhere --out none
finish
