#!/bin/bash
# A plan can be trained as it stands: its configs run, and what the runs counted is what it said.
. "$(dirname "$0")/lib.sh"

make_data data
plan() {
    isomoe plan --params 1e5 --compute 2e10 --data data --activation-rate 30%,50% --seq-len 32 \
        --train.eval_tokens=500 --train.final_eval_tokens=2000 "$@"
}

# --- the file that other programs read ---

plan --json >plan.json 2>plan.log || cat plan.log
plan --json >again.json
same "json: the same bytes twice" plan.json again.json
check "json: a dense baseline first, then the MoEs" test "$(fact plan.json '[.models[].name] | join(" ")')" = "dense moe-30 moe-50"
check "json: every model has the sections of a config, and its counts" jq -e \
    'all(.models[]; .model.hidden_size > 0 and .data.unique_tokens > 0 and .train.steps > 0
        and .counts.params_nonvocab > 0 and .counts.train_flops_per_token > 0
        and .schemes.strict.epochs > 0 and .memory.training_bytes > 0)' plan.json
check "json: the vocabulary is that of the folder" jq -e 'all(.models[]; .model.vocab_size == 257)' plan.json
check "csv: a header and a row per model" test "$(plan --csv | wc -l)" -eq 4

# --- configs that train ---

expect "out: configs, study file, plan" 0 '3 configs, study.yaml and plan.md are in scan' -- plan --out scan
plan --out scan2 >/dev/null
sed -i 's/^name: .*//' scan/study.yaml scan2/study.yaml
sed -i 's/--out [a-z0-9]*//' scan/plan.md scan2/plan.md
same "out: the same bytes twice" <(cd scan && cat configs/* study.yaml plan.md) <(cd scan2 && cat configs/* study.yaml plan.md)
rm -rf scan scan2
plan --out scan >/dev/null
check "out: the study file names every run, its config and its seeds" grep -qz \
    'kind: scan.*  - name: dense.*    config: configs/dense.yaml.*    seeds: \[1\].*  - name: moe-50' scan/study.yaml
for name in dense moe-30 moe-50; do
    expect "train: $name as it stands" 0 -- isomoe train "scan/configs/$name.yaml" --out "run-$name" --quiet
    model=".models[] | select(.name == \"$name\")"
    fact plan.json "$model | .counts.params_nonvocab, .counts.params_active, .counts.train_flops_per_token,
        .counts.params_total, .tokens, .data.unique_tokens, .train.steps, .train.batch_size,
        .law.peak_lr, .counts.train_flops" >planned
    fact "run-$name/summary.json" '.params_nonvocab, .params_active, .train_flops_per_token,
        .params_total, .tokens, .unique_tokens, .steps, .batch, .lr, .train_flops' >counted
    same "train: $name counted what was planned: N, N_a, M, D, unique tokens, steps, batch, rate, C" planned counted
done
expect "audit: the runs of a plan are strictly equal" 0 'verdict: strict' -- \
    isomoe audit run-dense run-moe-30 run-moe-50 --require strict

# --- like a config ---

for name in dense moe-50; do
    isomoe plan --like "scan/configs/$name.yaml" --data data --activation-rate 30% --json >like.json
    model=".models[] | select(.as_given)"
    jq -S "$model | .model" like.json >like.model
    jq -S ".models[] | select(.name == \"$name\") | .model" plan.json >plan.model
    same "like: $name keeps its own shape" plan.model like.model
    fact like.json ".budget.params, ($model | .counts.params_nonvocab, .tokens)" >like.facts
    fact plan.json ".models[] | select(.name == \"$name\") | .counts.params_nonvocab, .counts.params_nonvocab, .tokens" >plan.facts
    same "like: $name gives N and its tokens again" plan.facts like.facts
done

# --- what is there stays there ---

mkdir scan/runs
expect "out: a plan that runs began from is kept" 2 'runs were started' -- plan --out scan
mkdir full && echo mine >full/file
expect "out: a folder of something else is kept" 2 'something else' -- plan --out full
expect "out: a file is no folder" 2 'a file is there' -- plan --out full/file
check "out: and holds what it held" test "$(cat full/file)" = mine
expect "plot: an SVG file" 0 -- plan --plot plan.svg
check "plot: of four panels" test "$(grep -c '<svg' plan.svg)" -ge 4
expect "predict: refused below the fitted runs, with the plan all the same" 0 '^no prediction' '--extrapolate' 'moe-30' -- plan --predict
expect "predict: --extrapolate says that it does" 0 'Not to be decided beforehand' 'extrapolated' -- plan --predict --extrapolate
expect "fit: too few runs say how many are needed" 2 'run' -- plan --fit run-dense run-moe-30
finish
