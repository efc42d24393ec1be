# Everything wrong with a file is said at once, with line, key and the nearest name; exit 2.
cat >typo.yaml <<'END'
model:
  vocab_size: 257
  hidden_sise: 96
  num_hidden_layers: 4.5
  layer_layout: densely
trian:
  tokens: 5e6
data:
  lr: steplaw
END
run isomoe count typo.yaml

printf 'model:\n  hidden_size: 96\n  hidden_size: 64\n' >twice.yaml
run isomoe count twice.yaml

printf 'model: [1, 2\n' >broken.yaml
run isomoe count broken.yaml

printf 'train:\n  betas: [0.9, 1.0]\n  lr: fast\n  min_lr: -1\n  threads: 1000\n' >ranges.yaml
run isomoe count ranges.yaml

: >empty.yaml
run isomoe count empty.yaml
run isomoe count missing.yaml

cp "$source/configs/dense_tiny.yaml" good.yaml
run isomoe count good.yaml --model.hidden=4
run isomoe count good.yaml --mode.hidden_size=4
run isomoe count good.yaml --model.hidden_size=wide
run isomoe count good.yaml --train.hidden_size=4
