# What people write where the grammar is stricter than they are: taken where only one thing can be
# meant, else told in the words of what they wanted; exit 2. All forms: tests/arch/test_quantity.c.
budget() {
    echo "\$ isomoe plan --params 7B --compute '$1'"
    isomoe plan --params 7B --activation-rate 20% --compute "$1" 2>&1 | sed -n '/^error/p;s/^N [0-9].*, \(C [^ ]*\) .*/\1/p'
}
echo "--- compute"
for compute in '8 H100s for 10 days' '8xH100 10 days' 64xA100-80GBx2weeks 8xH100-SXMx10d \
    '8xH100@400TFLOP/s x 10d' '100 PF-days' 8xH100-NVLx10d '8 V100 for 10 days' \
    '8xBanana x 10d' '8xH100 at 40% x 10d' 8xH100@1000TFLOP/sx10d 2e9,3e9; do
    budget "$compute"
done
echo "--- counts"
run isomoe plan --params 7,000,000,000 --data 1B
run isomoe plan --params 2e9,3e9 --data 1B
run isomoe plan --params 7B --data 200,000,000
echo "--- rates"
isomoe plan --params 1M --data 10M --activation-rate 10..50%/5 --csv | wc -l
for rates in 10-50% 10%..50% 10,20% 0,2 '20%,'; do
    run isomoe plan --params 7B --data 1B --activation-rate "$rates"
done
echo "--- flags"
run isomoe plan --params 7B --tokens 68B
run isomoe plan --size 7B
run isomoe plan --flops 1e21
run isomoe plan --params 7B --data 1B --top-k 2
run isomoe count --tokens 1
echo "--- devices that docs/plan.md leaves out"
for device in $(isomoe plan --params 7B --compute 1xBananax1d 2>&1 | sed 's/.*known are //;s/,//g'); do
    grep -q "^  $device .* TFLOP/s .* GB$" "$source/docs/plan.md" || echo "$device"
done
