#!/bin/bash
# prove_kernels.sh - attention over 4,096 positions against the machine's peak of the moment, and experts of
# very unequal load against balanced ones, on two threads (half a minute). Keeps docs/evidence/kernels.md.
# Wants a quiet machine. CHECKOPS: another build's program.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/prove_lib.sh
. tools/prove_lib.sh
checkops=${CHECKOPS:-build/release/tests/ops/checkops}
if [ -z "${CHECKOPS-}" ]; then
    tools/setup.sh build test
    cmake --preset release -DISO_TESTS=ON >/dev/null
    cmake --build --preset release --target checkops
fi
work=build/prove/kernels.md
mkdir -p build/prove
{
    echo "# Long attention, skewed routing"
    echo
    echo "\`make prove-kernels\`: operations alone, on two threads; medians of 9 (least to most)."
    echo
    circumstances
    echo
    echo "Attention: hidden 512, one sequence, causal, RoPE. Counted is what is not masked: two products forward, four backward;"
    echo "in the next column five, as backward computes the scores again. Fractions are of the peak measured right before and after."
    echo "Skewed routing: 4,096 tokens, half of which choose one expert first, and a third of the experts have none, over balanced (random)"
    echo "routing of as many rows; the two in turn. m2: hidden 320, 64 experts, K 2, De 64; m3: 512, 80, 3, 64. Together: a layer's"
    echo "six products. Below 1 the skewed layer is faster: a large expert's product is more efficient than many small ones."
    echo
    "$checkops" prove --threads=2
} >$work
mv $work docs/evidence/kernels.md
cat docs/evidence/kernels.md
