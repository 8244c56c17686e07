// Numbers as int8 in [-127, 127] with one scale: scale = amax / 127, quant = nearest even of x · (127 / amax).
//
// A block below TINY counts as zero; a block with an infinity or NaN has quants 0 and the scale NaN. Since |x| <= amax,
// the rounded product is at most 127 and needs no clamp.
#pragma once

#include "types/format.h"

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

}  // namespace
}  // namespace SHOESTRING_VARIANT
