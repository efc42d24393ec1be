#!/bin/bash
# bf16: the same bits on any number of threads and after a resume, float masters in checkpoints, a
# loss that stays with fp32's; and refused, by name, before anything is begun, where the processor
# may not.
. "$(dirname "$0")/lib.sh"

make_data data
make_configs

expect "refused where it is not allowed" 2 train.precision AVX512-BF16 ONEDNN_MAX_CPU_ISA -- \
    env ONEDNN_MAX_CPU_ISA=AVX512_CORE "$ISOMOE" train dense.yaml --out refused --train.precision=bf16
check "and nothing was begun" test ! -e refused
ONEDNN_MAX_CPU_ISA=AVX2 isomoe doctor --json >doctor.avx2
check "the limit reaches the kernels" test "$(fact doctor.avx2 .kernel_isa)" != avx512
isomoe doctor --json >doctor.json
if [ "$(fact doctor.json .kernel_isa_bf16)" = none ]; then
    skip "bf16" "this processor has no AVX512-BF16"
    finish
fi

for side in dense moe; do
    for threads in 1 2 3; do
        isomoe train $side.yaml --out $side-$threads --quiet --train.threads=$threads \
            --train.precision=bf16 2>train.log || { cat train.log; exit 1; }
        fingerprint $side-$threads >$side-$threads.print
    done
    for threads in 2 3; do
        same "$side: the same bits on $threads threads as on 1" $side-1.print $side-$threads.print
    done
    check "$side: the profile names it" test "$(fact $side-1/summary.json \
        '.numeric_profile | .precision + " " + .isa')" = "bf16 avx512bf16"
    weights=$side-1/checkpoints/step_60/model.safetensors
    check "$side: checkpoints hold floats" grep -aq '"dtype":"F32"' $weights
    check "$side: and nothing less" sh -c "! head -c 4096 $weights | grep -aq BF16"

    rm -rf $side-2/checkpoints/step_60 $side-2/summary.json
    isomoe train $side.yaml --out $side-2 --quiet --train.precision=bf16 2>/dev/null
    fingerprint $side-2 >resumed.print
    same "$side: resumed, the same bits" $side-1.print resumed.print

    isomoe train $side.yaml --out $side-fp32 --quiet 2>/dev/null
    bf16=$(fact $side-1/summary.json .bpb) fp32=$(fact $side-fp32/summary.json .bpb)
    check "$side: $bf16 bits per byte, $fp32 in fp32" \
        awk "BEGIN { d = $bf16 - $fp32; exit !(d != 0 && d < 0.02 && d > -0.02) }"
done
finish
