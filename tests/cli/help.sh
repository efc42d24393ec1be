# What a newcomer types first, and slips.
run isomoe --version
isomoe | grep -E '^usage|^  count |^  doctor ' | tr -s ' '
isomoe --help | grep -c ' count '
isomoe help count | sed '/^model:/,$d'
isomoe count --help | grep -A1 -E '^(model|data|train):|^  (vocab_size|betas|lr|tokens):'
run isomoe cuont
run isomoe frobnicate
run isomoe count
run isomoe generate a b
run isomoe count a.yaml --convention
run isomoe count a.yaml --convention papers
run isomoe count a.yaml --jsn
run isomoe count a.yaml --json=yes
run isomoe count a.yaml -j
run isomoe count a.yaml --model.hidden_size 64
run isomoe doctor extra
isomoe doctor --json | grep -c '"libraries"'
echo "product refused:"
isomoe count "$source/configs/dense_tiny.yaml" >/dev/full
echo "[exit $?]"
