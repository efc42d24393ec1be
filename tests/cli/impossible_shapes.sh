# Shapes that can't exist: the key, the value, what would be legal; exit 2.
cp "$source/configs/dense_tiny.yaml" dense.yaml
cp "$source/configs/moe_tiny.yaml" moe.yaml
run isomoe count dense.yaml --model.num_attention_heads=5
run isomoe count dense.yaml --model.hidden_size=0
run isomoe count dense.yaml --model.num_experts=4
run isomoe count dense.yaml --model.hidden_size=90 --model.position=rope
run isomoe count moe.yaml --model.num_experts_per_tok=45
run isomoe count moe.yaml --model.num_experts_per_tok=0
run isomoe count moe.yaml --model.num_hidden_layers=1
run isomoe count moe.yaml --model.hidden_size=2147483647 --model.num_attention_heads=1
run isomoe count moe.yaml --model.hidden_size=2147483648
