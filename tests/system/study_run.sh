#!/bin/bash
# A study of real, tiny trainings: killed with SIGKILL at random moments and gone on with, it ends with
# the bits of one that was left alone; the same after a full disk. STUDY (a file whose data.dir is
# `data`), DATA (a prepared folder) and KILLS set the size (tools/prove_study.sh); lines that begin with
# "figure" are measurements, which no check depends on.
. "$(dirname "$0")/lib.sh"
KILLS=${KILLS:-3} SPAN_S=${SPAN_S:-0.9}
echo "SEED=$SEED"

if [ -n "${DATA:-}" ]; then ln -s "$(realpath "$DATA")" data; else make_data data; fi
cat >tiny.yaml <<'YAML'
format: 1
name: tiny
kind: scan
config:
  model: {max_position_embeddings: 32}
  data: {dir: data}
  train: {eval_tokens: 1000, final_eval_tokens: 2000}
budget: {params: 100K, data: 50K}
axes: {activation_rates: [50%], dense_compute: [1, 2]}
seeds: 2
machine: {parallel: 2}
YAML
study=$(realpath "${STUDY:-tiny.yaml}")

states() { # folder: "finished 6"
    jq -r '.runs[].state' "$1/manifest.json" | sort | uniq -c | awk '{print $2, $1}'
}

# What must not be touched again: the ledgers of finished runs, with their times.
finished() { # folder
    local run
    for run in "$1"/runs/*; do
        jq -e '.state == "finished"' "$run/summary.json" >/dev/null 2>&1 &&
            stat -c '%n %i %Y %s' "$run/summary.json"
    done
}

# --- left alone ---

started=$SECONDS
expect "study: run to its audit" 0 'audit of scan: strict' -- isomoe study run "$study" --out calm
[ -f calm/manifest.json ] || finish
echo "figure undisturbed: $((SECONDS - started)) s, $(ls calm/runs | wc -l) runs"
n_runs=$(jq '.runs | length' calm/manifest.json)
check "study: the manifest is complete" jq -e '.complete and all(.runs[]; .state == "finished" and .attempts == 1)' \
    calm/manifest.json
check "study: every run has its folder, and every folder its run" \
    diff <(jq -r '.runs[].name' calm/manifest.json | sort) <(ls calm/runs | sort)
study_prints calm >calm.prints
find calm/runs -type f -printf '%p %T@ %s\n' | sort >calm.files
expect "study: again, there is nothing to do" 0 'audit of scan: strict' -- isomoe study run "$study" --out calm
find calm/runs -type f -printf '%p %T@ %s\n' | sort >calm.files.again
same "study: no run is done twice" calm.files calm.files.again

# --- killed ---

kills=0 tries=0
mkdir -p killed
cp calm/speed.json killed # not to be killed while it measures
while [ $kills -lt "$KILLS" ] && [ $((tries++)) -lt $((4 * KILLS)) ]; do
    "$ISOMOE" study run "$study" --out killed >killed.log 2>&1 &
    pid=$!
    sleep "$(awk -v r=$RANDOM -v span="$SPAN_S" 'BEGIN {printf "%.2f", 0.2 + span * r / 32767}')"
    # Every second time the trainings, too: otherwise they save as their parent dies.
    [ $((tries % 2)) -eq 0 ] && trainings=$(pgrep -P $pid) || trainings=
    # shellcheck disable=SC2086
    kill -KILL $pid $trainings 2>/dev/null && kills=$((kills + 1))
    wait $pid 2>/dev/null >&2
    finished killed >>killed.finished
    states killed 2>/dev/null | grep -qx "finished $n_runs" && break
done
echo "figure killed: $kills SIGKILLs"
expect "study: killed $kills times, it goes on at once" 0 'audit of scan: strict' -- isomoe study run "$study" --out killed
study_prints killed >killed.prints
same "study: killed, with the same bits in every run" calm.prints killed.prints
check "study: killed, none is lost" [ "$(states killed)" = "finished $n_runs" ]
finished killed | sort >killed.at-end
check "study: killed, none that had finished is done again" \
    [ -z "$(sort -u killed.finished | comm -23 - killed.at-end)" ]
check "study: killed, its plan is the calm one's" diff \
    <(jq -S '[.runs[] | {name, side, parts, groups, stage, needs, config_hash}]' calm/manifest.json) \
    <(jq -S '[.runs[] | {name, side, parts, groups, stage, needs, config_hash}]' killed/manifest.json)

# --- asked to stop; two at once; another study ---

mkdir -p asked
cp calm/speed.json asked
"$ISOMOE" study run "$study" --out asked >asked.log 2>&1 &
pid=$!
until [ -d asked/runs ] || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
expect "study: a second one in the same folder" 5 'asked' -- isomoe study run "$study" --out asked
kill -INT $pid
wait $pid
check "study: Ctrl-C ends with 75" test $? -eq 75
check "study: and says how to go on" grep -q 'run the same command to go on' asked.log
if [ -z "${STUDY:-}" ]; then
    expect "study: goes on" 0 'audit of scan: strict' -- isomoe study run "$study" --out asked
    study_prints asked >asked.prints
    same "study: asked to stop, with the same bits" calm.prints asked.prints
fi
sed 's/data: 50K}/data: 60K}/; s/data: 1M}/data: 2M}/' "$study" >other.yaml
expect "study: another budget in the same folder" 2 'calm' 'another --out' -- isomoe study run other.yaml --out calm
mkdir -p full && : >full/notes.txt
expect "study: a folder with something else" 2 'full' 'something else' -- isomoe study run "$study" --out full

# A seed more is the same study, grown.
if [ -z "${STUDY:-}" ]; then
    sed 's/^seeds: 2/seeds: 3/' tiny.yaml >grown.yaml
    cp -r asked grown
    expect "study: grown by a seed" 0 'audit of scan: strict, 6 runs' -- isomoe study run grown.yaml --out grown
    find grown/runs/dense-s1 asked/runs/dense-s1 -name evaluation.json -exec sha256sum {} + | cut -d' ' -f1 | uniq |
        wc -l >n_kinds
    check "study: and the others stay" [ "$(cat n_kinds)" = 1 ]
fi

# --- a folder of another run ---

if [ -z "${STUDY:-}" ]; then
    cp -r calm swapped
    rm -r swapped/runs/dense-s1
    cp -r calm/runs/dense-s2 swapped/runs/dense-s1
    expect "study: a run folder of another config" 2 'runs/dense-s1' 'not trained with' -- isomoe study run "$study" --out swapped
fi

# --- failures ---

# A run whose folder cannot be one: told with its cause, the others finish.
if [ -z "${STUDY:-}" ]; then
    mkdir -p broken/runs/dense-s1/checkpoints
    cp calm/speed.json broken
    cp calm/manifest.json broken
    echo 'rubbish' >broken/runs/dense-s1/checkpoints/step_3
    echo 'rules: {retries: 1}' | cat tiny.yaml - >retries.yaml
    expect "study: a run that fails is told with its cause" 1 'dense-s1' 'exit code' -- \
        isomoe study run retries.yaml --out broken
    check "study: the manifest has the cause and the attempts" jq -e \
        '.runs[] | select(.name == "dense-s1") | .state == "failed" and .cause != "" and .attempts >= 2' broken/manifest.json
    check "study: the others are done" [ "$(states broken | grep finished)" = "finished $((n_runs - 1))" ]
    rm -r broken/runs/dense-s1
    expect "study: the cause gone, it ends well" 0 'audit of scan: strict' -- isomoe study run retries.yaml --out broken
fi

# --- full disk ---

full_disk() {
    mkdir -p disk
    if [ "$(id -u)" -ne 0 ] || ! mount -t tmpfs -o size=1g tmpfs disk 2>mount.log; then
        skip "full disk" "a small tmpfs needs root: $(cat mount.log 2>/dev/null)"
        return
    fi
    at_exit+=("umount -l $work/disk")
    mkdir disk/study
    cp calm/speed.json disk/study
    "$ISOMOE" study run "$study" --out disk/study >disk.log 2>&1 &
    local pid=$!
    # In the middle: after the first run has ended.
    until grep -qs '"state": "finished"' disk/study/runs/*/summary.json || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
    dd if=/dev/zero of=disk/ballast bs=1M >dd.log 2>&1
    wait $pid
    local code=$?
    check "full disk: exit code 4 (was $code)" [ $code -eq 4 ]
    check "full disk: it says so" grep -qi 'space\|disk is full' disk.log
    rm disk/ballast
    expect "full disk: with room again it goes on" 0 'audit of scan: strict' -- isomoe study run "$study" --out disk/study
    study_prints disk/study >disk.prints
    same "full disk: with the same bits" calm.prints disk.prints
}
full_disk
finish
