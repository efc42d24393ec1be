# A study file's faults, and what the planner refuses, all at once with line and nearest name; exit 2,
# and nothing is made.
cat >typo.yaml <<'END'
format: 1
name: typo
kind: scan
config:
  model: {max_position_embeddings: 64, vocab_size: 257}
  train: {eval_tokns: 1000}
budget: {params: 200K, compute: 1e7}
axes:
  activation_rate: [20%, 50%]
  schemes: [strict]
rules: {retrys: 3}
seeds: [1, 1]
END
run isomoe study plan typo.yaml
run isomoe study run typo.yaml --out made
ls

cat >impossible.yaml <<'END'
format: 1
name: impossible
kind: scan
config: {model: {max_position_embeddings: 64, vocab_size: 257}}
budget: {params: 200K, data: 200K}
axes:
  activation_rates: [0.1%, 50%]
END
run isomoe study plan impossible.yaml

printf 'format: 1\nname: x\nkind: grid\nbase: nowhere.yaml\naxes: {train.lr: [fast], train.sede: [1]}\n' >grid.yaml
run isomoe study plan grid.yaml

printf 'format: 1\nname: x\nkind: scan\nruns:\n  - {name: dense, config: configs/dense.yaml}\n' >lost.yaml
run isomoe study plan lost.yaml
run isomoe study plan missing.yaml
run isomoe study run grid.yaml

cat >method.yaml <<'END'
format: 1
name: method
kind: method
config: {model: {max_position_embeddings: 64, vocab_size: 257}}
budget: {params: 200K, data: 200K}
axes: {activation_rates: [20%]}
parts:
  scann: {axes: {activation_rates: [20%]}}
  scan: {axes: {activation_rates: [0.1%, 50%], zeta: [16]}, retries: 3}
  control: {seeds: 1}
  search: {budget: {params: 200K, compute: 1e7}, axes: {activation_rates: [20%, 50%]}}
END
run isomoe study plan method.yaml
run isomoe study run method.yaml --out made
ls
