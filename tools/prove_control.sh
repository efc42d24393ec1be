#!/bin/bash
# prove_control.sh - A/A: two configurations, dense and MoE, each against itself under 24 seeds in real, tiny
# trainings on the default corpus; how often the study's own rule calls two sides of one configuration
# different, with its binomial interval. Minutes. Keeps docs/evidence/control.md. Resumable.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/prove_lib.sh
. tools/prove_lib.sh
work=build/prove/control-$(build_key)
corpus=${CORPUS:-build/prove/corpus}
mkdir -p "$work"
[ -f "$corpus/complete" ] || { tools/fetch_corpus.sh "$corpus" && : >"$corpus/complete"; }
"$isomoe" data prepare --train "$corpus"/train_*.jsonl --val general="$corpus/val_general.jsonl" \
    --val maths="$corpus/val_maths.jsonl" --val code="$corpus/val_code.jsonl" --out "$work/data" >/dev/null
cat >"$work/control.yaml" <<END
format: 1
name: control
kind: control
config:
  model: {max_position_embeddings: 32}
  data: {dir: $work/data}
  train: {eval_tokens: 1024, final_eval_tokens: 16384, keep_last: 1}
budget: {params: 100K, data: 40K}
seeds: 24
machine: {parallel: ${PARALLEL:-2}}
END
"$isomoe" study run "$work/control.yaml" --out "$work/study"

"$isomoe" study report "$work/study" --out "$work/report" --json >"$work/findings.json"
python3 - "$work/findings.json" >"$work/control.part" <<'END'
"""The control's verdicts, one a configuration, and all pairs together with a Clopper-Pearson interval."""
import json, math, sys

def tail(k, n, p):  # P(X >= k)
    return sum(math.comb(n, i) * p**i * (1 - p)**(n - i) for i in range(k, n + 1))

def solve(f):  # f ascends in p
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if f(middle) < 0 else (low, middle)
    return low

findings = json.load(open(sys.argv[1]))
tables = [t for t in findings["tables"] if t["columns"][0]["label"] == "pair"]
pairs = [row[5] == "yes" for t in tables for row in t["rows"]]
n, k = len(pairs), sum(pairs)
low = 0.0 if k == 0 else solve(lambda p: tail(k, n, p) - 0.025)
high = 1.0 if k == n else solve(lambda p: 0.025 - (1 - tail(k + 1, n, p)))
for verdict in findings["verdicts"]:
    if verdict["key"].startswith("control"):
        print(f"- {verdict['sentence']}")
print(f"- together: {k} of {n} pairs called different, {k / n:.3f} (95 %: {low:.3f} to {high:.3f}); the rule's own rate is 0.05")
END
{
    echo "# A/A: a configuration against itself"
    echo
    echo "\`make prove-control\`: a dense model and an MoE of 100K parameters, 24 seeds each, on the default corpus. The seeds"
    echo "of a configuration are cut into sides of two and these into pairs; a pair is compared as MoE and dense are."
    echo
    circumstances
    echo
    cat "$work/control.part"
} >"$work/control.md"
cp "$work/control.md" docs/evidence/control.md
cat docs/evidence/control.md
