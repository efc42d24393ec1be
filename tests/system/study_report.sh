#!/bin/bash
# The report of a study of real, tiny trainings: under way, finished, unequal; its page, figures and data
# stand by themselves, and the same runs give the same bytes.
. "$(dirname "$0")/lib.sh"
echo "SEED=$SEED"

make_data data
cat >tiny.yaml <<'YAML'
format: 1
name: tiny
kind: scan
config:
  model: {max_position_embeddings: 32}
  data: {dir: data}
  train: {eval_tokens: 1000, final_eval_tokens: 2000}
budget: {params: 100K, data: 20K}
axes: {activation_rates: [30%, 50%, 70%]}
seeds: 2
machine: {parallel: 2}
YAML

# Every file is whole: markup that parses, a heading above the data, nothing fetched.
whole() { # report
    python3 - "$1" <<'PY'
import csv, html, json, pathlib, sys, xml.dom.minidom
report = pathlib.Path(sys.argv[1])
findings = json.loads((report / "findings.json").read_text())
page = (report / "index.html").read_text()
xml.dom.minidom.parseString(page.split("\n", 1)[1])
assert "<script" not in page and "http" not in page, "something is fetched"
for figure in findings["figures"]:
    drawing = (report / "figures" / (figure["key"] + ".svg")).read_text()
    xml.dom.minidom.parseString(drawing)
    assert drawing.count("http") == 1, "something is fetched"
    with open(report / "data" / (figure["key"] + ".csv"), newline="") as f:
        rows = list(csv.reader(f))
    points = [(s["name"], p) for s in figure["series"] for p in s["points"]]
    assert len(rows) == 1 + len(points), figure["key"]
    for row, (name, point) in zip(rows[1:], points):
        assert len(row) == 8 and row[0] == name
        if row[3]:
            assert float(row[3]) == point["y"], (figure["key"], row)
    assert 'href="figures/%s.svg"' % figure["key"] in page
for table in findings["tables"]:
    with open(report / "data" / ("table-" + table["key"] + ".csv"), newline="") as f:
        rows = list(csv.reader(f))
    assert len(rows) == 1 + len(table["rows"]), table["key"]
shown = html.unescape(page)
for verdict in findings["verdicts"]:
    assert verdict["question"] in shown and verdict["sentence"] in shown, verdict["key"]
PY
}

# --- not begun, under way ---

expect "report: no study there" 2 'nowhere' -- isomoe study report nowhere
expect "report: it is in the help" 0 'report' -- isomoe study --help
expect "study: trained" 0 'audit of scan: strict' -- isomoe study run tiny.yaml --out tiny
[ -f tiny/manifest.json ] || finish

cp -r tiny half
rm -r half/runs/moe-50-s2 half/runs/moe-70-s1 half/runs/moe-70-s2
expect "report: of a study under way" 0 'of [0-9]+ runs finished' -- isomoe study report half
check "report: its files are whole" whole half/report
check "report: the page says that it is under way" grep -q 'under way' half/report/index.html
check "report: one seed of a side is no fault" jq -e '.n_finished == 5 and .n_runs == 8' half/report/findings.json

# --- finished ---

expect "report: of a finished study" 0 'all 8 runs finished' 'Does an MoE beat dense' 'tiny/report/index.html' -- \
    isomoe study report tiny
check "report: its files are whole" whole tiny/report
check "report: experts by text, of every MoE" sh -c 'grep -q "Load by domain and layer: moe-30" tiny/report/index.html &&
    [ $(tail -n +2 tiny/report/data/specialisation.csv | cut -d, -f1 | sort -u | wc -l) -eq 6 ]'
isomoe study report tiny --out elsewhere/report --json >findings.json 2>json.log
check "report: --json prints what findings.json holds" diff <(jq -S . findings.json) <(jq -S . elsewhere/report/findings.json)
check "report: elsewhere, the same bytes" diff -r tiny/report elsewhere/report
check "report: no colours in a pipe" sh -c '! "$0" study report tiny | grep -q "$(printf "\033")"' "$ISOMOE"

mkdir -p site && echo mine >site/index.html
expect "report: someone else's page stays" 2 'site' '--out' -- isomoe study report tiny --out site
check "report: as it was" [ "$(cat site/index.html)" = mine ]

# --- unequal ---

cp -r tiny unequal
rm -r unequal/report
for run in unequal/runs/moe-*; do
    jq '.data_hash = "0000" | .subset_hash = "0000"' "$run/summary.json" >changed.json && cp changed.json "$run/summary.json"
done
expect "report: unequal runs are refused" 3 'No comparison: the runs were not equal' 'not an equal comparison' -- \
    isomoe study report unequal
check "report: the page says so first" sh -c 'grep -n "class=\"tag\"" unequal/report/index.html | head -n 1 | grep -q "No comparison"'
check "report: and is whole" whole unequal/report
finish
