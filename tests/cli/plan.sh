# A plan as a newcomer sees it, and everything that is refused: which flag, why, what would do; exit 2.
# Memory is the dry run's, which changes with every tensor that a model keeps: not fixed here.
run isomoe plan --params 1M --compute 8e13 --data 4M --activation-rate 20%,35% --throughput 1650tok/s |
    sed -E 's/ +[0-9.]+ [kMG]B /  (memory) /'

echo "--- as CSV"
isomoe plan --params 1M --data 10M --activation-rate 20% --csv | cut -d, -f1-14
echo "--- one of the budget"
run isomoe plan
run isomoe plan --params 7B
run isomoe plan --compute 1e21
run isomoe plan --data 200B
run isomoe plan --compute '1650tok/s x 3h' --data 1M
echo "--- quantities"
run isomoe plan --params 0 --data 1B
run isomoe plan --params=-7B --data 1B
run isomoe plan --params nan --data 1B
run isomoe plan --params 1e30 --data 1B
run isomoe plan --params 7Q --data 1B
run isomoe plan --params '7 bilion' --data 1B
run isomoe plan --params 7Bx --data 1B
run isomoe plan --params 2e12 --data 1B
run isomoe plan --params 7B --data twohundred
run isomoe plan --params 7B --data ./nodir
isomoe plan --params 7B --data '200B tokens' --json | grep -o '"text_tokens": [0-9]*'
run isomoe plan --params 7B --compute 8xH1000@40%x10d
run isomoe plan --params 7B --compute 8xH100@40%
run isomoe plan --params 7B --compute 8xH100@140%x1d
run isomoe plan --params 7B --compute 1e27
run isomoe plan --params 7B --data 1B --throughput 8xH100x1d
echo "--- rates"
run isomoe plan --params 7B --data 1B --activation-rate 20
run isomoe plan --params 7B --data 1B --activation-rate 0.1..0.5
run isomoe plan --params 7B --data 1B --activation-rate 20% 0.2
run isomoe plan --params 7B --data 1B --activation-rate 1
run isomoe plan --params 1M --data 10M --activation-rate 0.3%
echo "--- constraints"
run isomoe plan --params 7B --data 1B --expert-width 0
run isomoe plan --params 7B --data 1B --head-dim=-64
run isomoe plan --params 7B --data 1B --aspect 0
run isomoe plan --params 7B --data 1B --mu nan
run isomoe plan --params 7B --data 1B --micro-batch 12
run isomoe plan --params 7B --data 1B --layout dense
run isomoe plan --params 7B --data 1B --expert-width 64 --active-experts 4
run isomoe plan --params 7B --data 1B --expert-width 64 --own-experts
run isomoe plan --params 7B --data 1B --expert-width 100 --width-multiple 64
run isomoe plan --params 7B --data 1B --active-experts 2 --min-active-experts 4
run isomoe plan --params 7B --data 1B --model.hidden_size=4096
run isomoe plan --params 7B --data 1B --model.rope_thta=5
run isomoe plan --params 1M --data 10M --scheme unique
run isomoe plan --params 1M --data 100 --activation-rate 20%
echo "--- the rest"
run isomoe plan --params 1M --data 10M --json --csv
run isomoe plan --params 1M --data 10M --extrapolate
run isomoe plan --params 1M --data 10M extra
run isomoe plan --like missing.yaml
run isomoe plan --params 1M --data 10M --fit nowhere
mkdir mine
echo precious >mine/notes.txt
run isomoe plan --params 1M --data 10M --activation-rate 20% --out mine
cat mine/notes.txt
