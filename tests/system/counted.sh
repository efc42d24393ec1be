#!/bin/bash
# What a run counted is what was planned, to the last unit; and the audit knows equal from unequal.
. "$(dirname "$0")/lib.sh"

make_data data
make_configs
sed 's/steps: 60, //' moe.yaml >moe_flops.yaml

train() { # run, config, overrides...
    local run=$1
    shift
    isomoe train "$@" --out "$run" --quiet 2>train.log || { cat train.log; exit 1; }
}

# --- counted = planned ---

# The same facts from three sources: arithmetic, dry run, and what the run did.
planned_and_counted() { # run, config, overrides...
    local run=$1 ledger=$1/summary.json
    shift
    isomoe count "$@" --json >count.json
    isomoe count "$@" --json --convention with-head >head.json
    isomoe train "$@" --dry-run --json 2>/dev/null >dry.json
    local facts='.params_nonvocab, .params_active, .train_flops_per_token'
    fact count.json ".params_total, $facts" >count.facts
    fact "$ledger" ".params_total, $facts" >ledger.facts
    same "$run: N, N_a and FLOPs per token as isomoe count has them" count.facts ledger.facts
    fact dry.json ".plan | $facts, .tokens, .train_flops" >dry.facts
    fact "$ledger" "$facts, .tokens, .train_flops" >ledger.facts
    same "$run: N, N_a, C and D as the dry run planned" dry.facts ledger.facts

    # Forward and backward of every component, from the op wrappers.
    jq -r --argjson tokens "$(fact dry.json .plan.tokens)" \
        '.components | to_entries[] | select(.value.forward_flops > 0)
         | "\(.key) \(3 * .value.forward_flops * $tokens)"' head.json >planned.flops
    cut -d' ' -f1 planned.flops | while read -r component; do
        echo "$component $(fact "$ledger" ".counted.model_flops.$component")"
    done >counted.flops
    same "$run: counted FLOPs of $(wc -l <planned.flops) components" planned.flops counted.flops
    fact count.json '.memory_bytes.training.here.memory_bytes' >count.facts
    fact "$ledger" '.counted.memory_bytes' >ledger.facts
    same "$run: bytes of weights, gradients, moments, activations, scratch as isomoe count has them" \
        count.facts ledger.facts
    fact count.json ".memory_bytes.training.here.step_flops.executed * $(fact dry.json .train.steps)" >count.facts
    fact "$ledger" .counted.executed_flops >ledger.facts
    same "$run: executed FLOPs as isomoe count has them" count.facts ledger.facts
    fact count.json '.memory_bytes.training.fp32.weights' >count.facts
    fact "$run/checkpoints/$(newest_checkpoint "$run")/manifest.json" '.files["model.safetensors"].bytes' >file.bytes
    check "$run: the file of the weights is their bytes and a header ($(cat count.facts) of $(cat file.bytes))" \
        test "$(($(cat file.bytes) - $(cat count.facts)))" -gt 0 -a \
        "$(($(cat file.bytes) - $(cat count.facts)))" -lt 20000
    fact dry.json '(.data.unique_tokens / .model.max_position_embeddings | floor)
        * .model.max_position_embeddings, .train.steps' >planned.data
    fact "$ledger" '.unique_tokens, .steps' >counted.data
    same "$run: unique tokens and steps" planned.data counted.data
}

train dense dense.yaml
C=$(fact dense/summary.json '.train_flops_per_token * .tokens')
train moe moe_flops.yaml --train.flops="$C"
planned_and_counted dense dense.yaml
planned_and_counted moe moe_flops.yaml --train.flops="$C"
full=(--model.layer_layout=full --model.intermediate_size=0 --model.tie_word_embeddings=true
    --model.position=rope --train.steps=4 --train.micro_batch_size=24 --train.threads=1 --data.unique_tokens=960)
interleave=(--model.layer_layout=interleave --model.shared_expert_intermediate_size=0
    --model.num_experts_per_tok=9 --train.steps=4 --train.batch_size=8 --data.unique_tokens=640)
train full moe.yaml "${full[@]}"
planned_and_counted full moe.yaml "${full[@]}"
train interleave moe.yaml "${interleave[@]}"
planned_and_counted interleave moe.yaml "${interleave[@]}"

# --- the audit ---

unequal() { # what, quantity, run, run
    expect "audit: $1 is not equal" 3 "verdict: not equal" "the runs are not equal: .*$2" -- isomoe audit "$3" "$4"
}

expect "audit: an honest pair is strict" 0 "verdict: strict" -- isomoe audit dense moe --require strict
expect "audit: which is more than unique-data" 0 "verdict: strict" -- isomoe audit dense moe --require unique-data
expect "audit: --json says so, too" 0 '"verdict": "strict"' -- isomoe audit dense moe --json

train wider moe_flops.yaml --train.flops="$C" --model.shared_expert_intermediate_size=18
check "(N of that run is 1 % larger: $(fact wider/summary.json .params_nonvocab))" test \
    "$(jq -n "$(fact wider/summary.json .params_nonvocab) / $(fact dense/summary.json .params_nonvocab) * 1000 | round")" -eq 1010
unequal "1 % more parameters" "parameters N" dense wider
expect "audit: unless that is tolerated" 0 "verdict: strict" -- isomoe audit dense wider --tol-params 0.02

train longer dense.yaml --train.steps=66
unequal "the same model on more tokens" "compute C" dense longer

train order dense.yaml --data.seed=2
unequal "another choice of the data" "subset|corpus|D-hat" dense order
train more dense.yaml --data.unique_tokens=9000
unequal "a larger choice of the data" "subset|corpus|D-hat" dense more

train sample dense.yaml --train.final_eval_tokens=2000
unequal "another validation sample" "validation sample" dense sample

isomoe tokenizer train text/train --vocab-size 400 --out bpe.model >tokenizer.log 2>&1 || cat tokenizer.log
make_data bpe --tokenizer bpe.model
train bpe-run dense.yaml --data.dir=bpe --model.vocab_size="$(fact bpe/dataset.json .tokenizer.n_ids)"
unequal "another tokenizer" "tokenizer" dense bpe-run

train dense-all dense.yaml --data.unique_tokens=all
train moe-all moe_flops.yaml --train.flops="$C" --data.unique_tokens=all
expect "audit: one epoch at most on each side is unique-data" 0 "verdict: unique-data" -- isomoe audit dense-all moe-all
expect "audit: which is not strict" 3 "only in the sense of unique-data" "strict was required" -- \
    isomoe audit dense-all moe-all --require strict

jq '.params_nonvocab += 1' dense/summary.json >forged.json && cp -r dense forged && mv forged.json forged/summary.json
expect "audit: a ledger changed by hand is found out" 3 "sound run" 'inconsistent: params_nonvocab is 44065' -- isomoe audit dense forged
finish
