#!/bin/bash
# The whole method as one study of real, tiny trainings: rates swept, A/A control, scan, reuse, search,
# from one file into one folder; killed on the way, with the bits of one that was left alone; every run
# once. Then what goes wrong: runs that diverge, and candidates that are hopeless.
. "$(dirname "$0")/lib.sh"
echo "SEED=$SEED"
make_data data

cat >method.yaml <<'YAML'
format: 1
name: tiny-method
kind: method
config:
  model: {max_position_embeddings: 32}
  data: {dir: data}
  train: {eval_tokens: 500, final_eval_tokens: 1000, keep_last: 1}
budget: {params: 100K, data: 20K}
shapes: {own_experts: true}
seeds: 2
rules: {lr_multipliers: [0.25, 1]}
machine: {parallel: 2}
parts:
  sweep: {seeds: 1}
  control: {seeds: 3}
  scan: {axes: {activation_rates: [20%, 50%], dense_compute: [1, 2]}}
  reuse: {seeds: 1, axes: {activation_rates: [20%]}}
  search:
    seeds: 1
    axes: {activation_rates: [20%], layouts: [full, 1dense], shared_expert: [true], norm_topk: [false, true],
           granularity: [1, 2], zeta: [16], mu: [15], dense_zeta: [8, 32], dense_alpha: [2, 4], dense_head_dim: [16]}
YAML

files() { # folder
    find "$1/runs" -type f ! -name log.txt -printf '%P %T@ %s\n' | sort
}

# --- left alone ---

expect "method: planned part by part, before anything is trained" 0 'sweep +4 ' 'control +6 ' 'search' 'smallest gap' -- \
    isomoe study plan method.yaml --out calm
expect "method: run to its audits" 0 'audit of control: strict' 'audit of scan: strict' 'audit of reuse-strict: strict' \
    'audit of search: ' 'lr of dense' 'moe-layout: ' -- isomoe study run method.yaml --out calm
[ -f calm/manifest.json ] || finish
n_runs=$(jq '.runs | length' calm/manifest.json)
echo "figure runs: $n_runs"
check "method: no run is there twice, none is done twice" jq -e '.complete and
    ([.runs[].config_hash] | length == (unique | length)) and ([.runs[].name] | length == (unique | length)) and
    all(.runs[]; .state == "finished" and .attempts == 1)' calm/manifest.json
check "method: every run has its folder, and every folder its run" \
    diff <(jq -r '.runs[].name' calm/manifest.json | sort) <(ls calm/runs | sort)
check "method: parts share what they have in common" jq -e \
    '[.runs[] | select(.side | startswith("dense-lr")) | select(.parts | test("^sweep,control,scan,reuse"))] | length == 1' \
    calm/manifest.json
check "method: groups begin with their part" jq -e \
    'all(.runs[]; (.parts | split(",")) as $p | all(.groups | split(",")[] | select(. != ""); . as $g |
        any($p[]; . as $q | $g | startswith($q))))' calm/manifest.json
check "method: later parts train at the rates that the sweep chose" jq -e -s '
    (map(select(.step == "lr")) | map({(.side): .candidates[.chosen].lr_multiplier}) | add) as $best |
    ($best | length) == 2' calm/steps/lr-*.json
for side in dense moe-20; do
    best=$(jq '.candidates[.chosen].lr_multiplier' "calm/steps/lr-$side.json")
    check "method: $side takes its rate along" [ "$(jq -r '.runs[] | select(.parts | contains("control")) | .name' \
        calm/manifest.json | grep "^$side-" | while read -r run; do jq .lr_multiplier "calm/runs/$run/summary.json"; done |
        sort -u)" = "$best" ]
done
study_prints calm >calm.prints
files calm >calm.files
expect "method: again, there is nothing to do" 0 'audit of scan: strict' -- isomoe study run method.yaml --out calm
files calm >calm.again
same "method: and nothing is done" calm.files calm.again

# --- killed ---

mkdir killed
cp calm/speed.json killed
kills=0
for i in 1 2 3 4; do
    "$ISOMOE" study run method.yaml --out killed >killed.log 2>&1 &
    pid=$!
    sleep "$(awk -v r=$RANDOM 'BEGIN {printf "%.2f", 0.2 + 1.3 * r / 32767}')"
    # Every second time the trainings, too: otherwise they save as their parent dies.
    [ $((i % 2)) -eq 0 ] && trainings=$(pgrep -P $pid) || trainings=
    # shellcheck disable=SC2086
    kill -KILL $pid $trainings 2>/dev/null && kills=$((kills + 1))
    wait $pid 2>/dev/null >&2
done
expect "method: killed $kills times, it goes on" 0 'audit of scan: strict' -- isomoe study run method.yaml --out killed
study_prints killed >killed.prints
same "method: with the same bits in every run and choice" calm.prints killed.prints

# --- grown, changed ---

sed 's/control: {seeds: 3}/control: {seeds: 4}/' method.yaml >grown.yaml
expect "method: grown by seeds of its control" 0 "audit of control: strict, 8 runs" -- isomoe study run grown.yaml --out killed
sed 's/\[20%, 50%\]/[20%]/' method.yaml >shrunk.yaml
expect "method: without a rate that was trained it is another study" 2 'none of this one' -- \
    isomoe study run shrunk.yaml --out calm

# --- runs that diverge ---

# At a thousand times Step Law's rate the decay alone throws the weights out of the range of numbers.
cat >wild.yaml <<'YAML'
format: 1
name: wild
kind: sweep
config:
  model: {max_position_embeddings: 32}
  data: {dir: data}
  train: {eval_tokens: 500, final_eval_tokens: 1000, weight_decay: 10}
budget: {params: 100K, data: 20K}
rules: {lr_multipliers: [0.5, 1000], lr_extend: 0}
seeds: 1
YAML
mkdir wild
expect "diverged: no failure of the study" 0 'diverged: dense-lr1000-s1' 'lr of dense: dense-lr0.5-s1' -- \
    isomoe study run wild.yaml --out wild
check "diverged: the manifest has it, with its cause" jq -e \
    '.complete and any(.runs[]; .name == "dense-lr1000-s1" and .state == "diverged" and (.cause | test("step")))' \
    wild/manifest.json
check "diverged: so has the run" jq -e '.state == "diverged"' wild/runs/dense-lr1000-s1/summary.json
check "diverged: it loses the choice" jq -e '.chosen == 0 and .candidates[1].diverged and .candidates[1].bpc_choose == null' \
    wild/steps/lr-dense.json
files wild >wild.files
expect "diverged: again, it is not tried again" 0 'diverged: dense-lr1000-s1' -- isomoe study run wild.yaml --out wild
files wild >wild.again
same "diverged: and nothing has changed" wild.files wild.again
check "diverged: its cause stays in the manifest" jq -e 'any(.runs[]; .state == "diverged" and .cause != null)' wild/manifest.json
sed 's/\[0.5, 1000\]/[900, 1000]/' wild.yaml >lost.yaml
expect "diverged: at every rate, it is told" 1 'every rate diverged' 'lr_multipliers' -- isomoe study run lost.yaml --out lost
expect "diverged: status counts it" 0 '[0-9] diverged' -- isomoe study status wild

# --- hopeless candidates ---

# With no margin at all, whatever is behind the step's first one half way through is stopped.
cat >hopeless.yaml <<'YAML'
format: 1
name: hopeless
kind: search
config:
  model: {max_position_embeddings: 32}
  data: {dir: data}
  train: {eval_tokens: 500, final_eval_tokens: 1000}
budget: {params: 100K, data: 60K}
axes: {activation_rates: [20%], layouts: [1dense], shared_expert: [true], norm_topk: [false, true], granularity: [1, 2, 4],
       zeta: [8, 16, 32], mu: [15, 35], dense_zeta: [8, 16, 32], dense_alpha: [2, 4, 8], dense_head_dim: [8, 16, 32]}
rules: {stop_hopeless: 1e-9}
seeds: 1
YAML
expect "hopeless: the search ends" 0 'moe-mu: ' 'dense-head: ' -- isomoe study run hopeless.yaml --out hopeless
stopped=$(jq '[.runs[] | select(.state == "stopped")] | length' hopeless/manifest.json)
echo "figure hopeless: $stopped of $(jq '.runs | length' hopeless/manifest.json) runs stopped"
check "hopeless: some were stopped" [ "$stopped" -gt 0 ]
check "hopeless: with the step and the guard" jq -e \
    'all(.runs[] | select(.state == "stopped"); .hopeless_at_step > 0 and .guard != null)' hopeless/manifest.json
check "hopeless: none of them was chosen" jq -e -s 'all(.[]; .candidates[.chosen].bpc_choose != null)' hopeless/steps/*.json
mkdir hopeless-again
cp hopeless/speed.json hopeless-again
expect "hopeless: once more from the start" 0 'moe-mu: ' -- isomoe study run hopeless.yaml --out hopeless-again
cat hopeless/steps/* >steps
cat hopeless-again/steps/* >steps.again
same "hopeless: the same choices, whatever was stopped when" steps steps.again
finish
