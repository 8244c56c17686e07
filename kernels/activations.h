// Activations as the integer dots read them: int8 in [-127, 127] with one float scale a block of 32 or 256.
//
// Owns the quantization: scale = amax / 127, quant = nearest even of x · (127 / amax). A block below TINY counts as
// zero; a block with an infinity or NaN has quants 0 and the scale NaN, so that every output it touches is NaN.
// Since |x| <= amax, the rounded product is at most 127 and needs no clamp.
//
// Beside the quants stand sums of them, in int16 pairs: (sum where k mod 4 is 0 or 1, sum where it is 2 or 3), times
// minus the offset of an unsigned weight. A dot that starts from them instead of zero computes Σ (w - offset) a.
// Bounds: |8 · 127 · 16| = 16256 (Q4_0), |16 · 127 · 16| = 32512 (Q5_0, Q5_K), |32 · 127 · 8| = 32512 (Q6_K).
#pragma once

#include "lanes.h"
#include "dots.h"

namespace SHOESTRING_VARIANT {
namespace {

constexpr float TINY = 0x1p-110f;

// Quantizes x[0 .. 16 · VECTORS) and returns the scale.
template <int VECTORS>
SHOESTRING_INLINE float quantize_values(const float* x, int8_t* quants) {
    Lanes amax = zero(), not_finite = zero();
    for (int i = 0; i < VECTORS; ++i) {
        const Lanes v = load(x + 16 * i);
        amax = max(abs(v), amax);
        not_finite = fma(v, zero(), not_finite);
    }
    const float largest = largest_lane(amax);
    const bool finite = all(equal(not_finite, zero()));
    if (!finite || largest < TINY) {
        std::memset(quants, 0, 16 * VECTORS);
        return finite ? 0.0f : __builtin_nanf("");
    }
    const Lanes inverse = set1(127.0f / largest);
    for (int i = 0; i < VECTORS; ++i) store_int8(quants + 16 * i, to_ints(round_even(mul(load(x + 16 * i), inverse))));
    return largest / 127.0f;
}

SHOESTRING_INLINE int32_t pack_pair(int32_t first, int32_t second) {
    return static_cast<int32_t>((static_cast<uint32_t>(first) & 0xffff) | static_cast<uint32_t>(second) << 16);
}

void quantize_32(const float* x, int64_t columns, int8_t* quants, Block32* blocks) {
    for (int64_t b = 0; b < columns / 32; ++b) {
        Block32& block = blocks[b];
        block.scale = quantize_values<2>(x + 32 * b, quants + 32 * b);
        const PairSums low = pair_sums(quants + 32 * b), high = pair_sums(quants + 32 * b + 16);
        const int32_t first = low.first + high.first, second = low.second + high.second;
        block.scaled_sum = block.scale * static_cast<float>(first + second);
        block.minus_8 = pack_pair(-8 * first, -8 * second);
        block.minus_16 = pack_pair(-16 * first, -16 * second);
    }
}

void quantize_256(const float* x, int64_t columns, int8_t* quants, Block256* blocks) {
    for (int64_t b = 0; b < columns / 256; ++b) {
        Block256& block = blocks[b];
        block.scale = quantize_values<16>(x + 256 * b, quants + 256 * b);
        for (int pair = 0; pair < 4; ++pair) {
            int32_t sums[2];
            for (int i = 0; i < 2; ++i) {
                const int sub = 2 * pair + i;
                const PairSums low = pair_sums(quants + 256 * b + 32 * sub);
                const PairSums high = pair_sums(quants + 256 * b + 32 * sub + 16);
                block.minus_32[2 * sub] = pack_pair(-32 * low.first, -32 * low.second);
                block.minus_32[2 * sub + 1] = pack_pair(-32 * high.first, -32 * high.second);
                const int32_t first = low.first + high.first, second = low.second + high.second;
                block.minus_16[sub] = pack_pair(-16 * first, -16 * second);
                sums[i] = first + second;
            }
            block.sums[pair] = pack_pair(sums[0], sums[1]);
        }
    }
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
