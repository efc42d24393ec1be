# The numbers themselves are tested in tests/arch; here: what is printed, and that the two example
# configs are the equal pair that they say they are.
dense=$source/configs/dense_tiny.yaml
moe=$source/configs/moe_tiny.yaml
isomoe count "$dense"
echo "---"
isomoe count "$moe" --convention=full
echo "---"
isomoe count "$moe" --json
echo "---"
isomoe count "$moe" --model.num_experts_per_tok=4 --model.shared_expert_intermediate_size=128 | grep '^paper'
isomoe count "$moe" --convention with-head --json | grep -E 'convention|train_flops'
