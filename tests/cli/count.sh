# The numbers themselves are tested in tests/arch and tests/train; here: what is printed, and that the
# two example configs are the equal pair that they say they are. What activations and scratch take is
# the kernels' affair and left out.
dense=$source/configs/dense_tiny.yaml
moe=$source/configs/moe_tiny.yaml
fixed() {
    isomoe count "$@" --train.threads=2 | grep -Ev 'activations|scratch|^sum .*B$|here: sum'
}
fixed "$dense"
echo "---"
fixed "$moe" --convention=full
echo "---"
fixed "$dense" "$moe" --convention=with-head
echo "---"
isomoe count "$moe" --json | jq 'del(.memory_bytes.training.here, .config)'
echo "---"
isomoe count "$dense" "$moe" --json |
    jq -c '{convention, models: [.models[] | {params_nonvocab, train_flops_per_token}]}'
isomoe count "$moe" --json | jq -c '.memory_bytes.training.here | keys, (.memory_bytes | keys)'
isomoe count "$moe" --model.num_experts_per_tok=4 --model.shared_expert_intermediate_size=128 | grep '^paper'
isomoe count "$moe" --convention with-head --json | grep -E 'convention"|^  "train_flops'
echo "---"
# A model alone, without a training section; one that can be counted but not trained; a wrong one.
sed '/^data:/,$d' "$moe" >model.yaml
isomoe count model.yaml | grep -A1 '^Here'
isomoe count model.yaml --model.max_position_embeddings=1e9 | grep '^Not'
cp "$dense" dense.yaml
run isomoe count dense.yaml model.yaml --model.num_experts_per_tok=45 | sed 's/ (config.*//'
run isomoe count model.yaml --model.max_position_embeddings=2147483647 --model.hidden_size=1048576 --model.num_hidden_layers=2048
echo "---"
# A micro-batch that is the whole batch says so; the paper's configs are cut.
isomoe count "$dense" | grep -o '^activations of [^-]* (all)'
isomoe count "$dense" --train.micro_batch_size=8 | grep -A1 '^Here'
isomoe count "$source/configs/paper/7b-dense.yaml" "$source/configs/paper/7b-moe-k6-e78.yaml" | grep 'at once'
