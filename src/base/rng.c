/* Philox 4x32-10: a bijection of a 128-bit counter under a 64-bit key that passes BigCrush (Salmon
 * et al., "Parallel random numbers: as easy as 1, 2, 3", SC11). The key is seed and stream, the
 * counter is lane and index, so draws with different arguments never share an input:
 *
 * (I1) the stream sits in the top byte of the key, so (seed, stream) -> key is one-to-one for seeds
 *      below 2^56;
 * (I2) draws own the counters with index < 2^63, the permutation's round function those above.
 */
#include "base/rng.h"

#include "base/status.h"

#include <Random123/philox.h>
#include <math.h>
#include <stdbool.h>

static philox4x32_ctr_t draw(uint64_t seed, iso_rng_stream stream, uint64_t lane, uint64_t index) {
    uint64_t key_bits = seed ^ (uint64_t)stream << 56;
    philox4x32_key_t key = {{(uint32_t)key_bits, (uint32_t)(key_bits >> 32)}};
    philox4x32_ctr_t counter = {
        {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)lane, (uint32_t)(lane >> 32)}};
    return philox4x32_R(10, counter, key);
}

static uint64_t word64(philox4x32_ctr_t bits, int i) {
    return bits.v[2 * i] | (uint64_t)bits.v[2 * i + 1] << 32;
}

uint64_t iso_rng_u64(uint64_t seed, iso_rng_stream stream, uint64_t lane, uint64_t index) {
    return word64(draw(seed, stream, lane, index), 0);
}

double iso_rng_uniform(uint64_t seed, iso_rng_stream stream, uint64_t lane, uint64_t index) {
    return (double)(iso_rng_u64(seed, stream, lane, index) >> 11) * 0x1p-53;
}

double iso_rng_normal(uint64_t seed, iso_rng_stream stream, uint64_t lane, uint64_t index) {
    philox4x32_ctr_t bits = draw(seed, stream, lane, index);
    /* The radius from (0, 1], so that the logarithm is finite. */
    double u = (double)((word64(bits, 0) >> 11) + 1) * 0x1p-53;
    double v = (double)(word64(bits, 1) >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586476925 * v);
}

/* An alternating Feistel network on n_bits bits: the two halves (which may differ by one bit) are
 * changed in turn by a pseudo-random function of the other one, which is invertible whatever that
 * function is. Four rounds are pseudo-random in the sense of Luby and Rackoff when halves are wide;
 * for the narrow halves of small data sets we take twice as many. */
enum { FEISTEL_ROUNDS = 8 };

static uint64_t feistel(uint64_t seed, iso_rng_stream stream, uint64_t lane, int n_bits,
                        uint64_t value) {
    int low_bits = (n_bits + 1) / 2;
    uint64_t low_mask = (UINT64_C(1) << low_bits) - 1;
    uint64_t high_mask = (UINT64_C(1) << (n_bits - low_bits)) - 1;
    uint64_t low = value & low_mask, high = value >> low_bits;
    for (uint64_t round = 0; round < FEISTEL_ROUNDS; round++) {
        bool to_low = round % 2 == 0;
        /* Halves have at most 31 bits: half, round and the mark of (I2) fit one index. */
        uint64_t index = UINT64_C(1) << 63 | round << 32 | (to_low ? high : low);
        uint64_t mix = iso_rng_u64(seed, stream, lane, index);
        if (to_low)
            low ^= mix & low_mask;
        else
            high ^= mix & high_mask;
    }
    return high << low_bits | low;
}

int64_t iso_rng_permute(uint64_t seed, iso_rng_stream stream, uint64_t lane, int64_t n,
                        int64_t index) {
    ISO_ASSERT(n <= INT64_C(1) << 62 && 0 <= index && index < n);
    if (n == 1) return 0;
    int n_bits = 64 - __builtin_clzll((uint64_t)n - 1);
    /* Cycle walking: follow the permutation of 0..2^n_bits-1 until it is back below n. That
     * restricts it to a permutation of 0..n-1, in fewer than two steps on average since 2^n_bits <
     * 2n. */
    uint64_t value = (uint64_t)index;
    do {
        value = feistel(seed, stream, lane, n_bits, value);
    } while (value >= (uint64_t)n);
    return (int64_t)value;
}
