# Timing itself can't be shown byte for byte: what is refused, how it answers a driver, two files side by side.
run isomoe bench --shape x9
run isomoe bench --shape nowhere.yaml
run isomoe bench --threads -1
run isomoe bench --repeat 0
run isomoe bench --precision fp16
run isomoe bench --print-config d7
isomoe bench --print-config m3 | grep -E '^  (hidden_size|num_experts|max_position_embeddings|batch_size):'
isomoe bench --print-config v3 | grep vocab_size
run isomoe bench --blocks
run isomoe bench --blocks --shape d1 m1

echo "a driver:"
printf 'run 1\npeak\nrun 0\n' | isomoe bench --shape m0 --threads 1 --blocks >answers
echo "[exit $?]"
sed -E 's/"(version|commit|executed_flops_per_token)": [^,}]*/"\1": .../g; s/^[0-9]+\.[0-9]+$/SECONDS or GFLOP\/S/' answers

echo "all that JSON has:"
isomoe bench --shape m0 --threads 1 --repeat 2 --json >m0.json 2>/dev/null
grep -oE '"[a-z_0-9]+":' m0.json | sort -u | tr -d '":' | tr '\n' ' ' | fold -sw 110
echo
isomoe bench --compare m0.json m0.json | sed -nE '/^m0/s/(m0 +fp32 +1).*  /\1 ... /p'

result() { # COMMIT RATE FRACTION, MIN and MAX 1 % around them
    awk -v c="$1" -v r="$2" -v f="$3" 'BEGIN {
        printf "{\"format\": \"isomoe bench 1\", \"commit\": \"%s\", \"machine\": {\"cpu\": \"%s\"}, \"results\": [{\"shape\": \"d2\", ", c, "a cpu"
        printf "\"precision\": \"fp32\", \"threads\": 2, \"micro_batch_size\": 8, "
        printf "\"tokens_per_s\": {\"median\": %g, \"min\": %g, \"max\": %g}, ", r, .99 * r, 1.01 * r
        printf "\"model_fraction\": {\"median\": %g, \"min\": %g, \"max\": %g}}]}\n", f, .99 * f, 1.01 * f }'
}
result aaaaaaa 1000 0.700 >a.json
result bbbbbbb 1200 0.805 >b.json
result ccccccc 1200 0.705 >c.json
run isomoe bench --compare a.json b.json
run isomoe bench --compare b.json a.json --json
isomoe bench --compare a.json c.json | tail -n 4 | head -n 1
sed 's/"threads": 2/"threads": 1/' a.json >one.json
run isomoe bench --compare a.json one.json
sed 's/"a cpu"/"another cpu"/' a.json >elsewhere.json
run isomoe bench --compare a.json elsewhere.json
run isomoe bench --compare a.json
run isomoe bench --compare a.json b.json c.json
run isomoe bench --compare a.json missing.json
echo '{"format": "other"}' >other.json
run isomoe bench --compare a.json other.json
echo '[1,' >broken.json
run isomoe bench --compare broken.json a.json
sed 's/"min": 0.693/"min": 7/' a.json >reversed.json
run isomoe bench --compare a.json reversed.json
sed 's/"median": 1000, //' a.json >without.json
run isomoe bench --compare without.json a.json
