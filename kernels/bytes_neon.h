// bytes.h on NEON with dot products: the bytes of 4 rows a register, sums in int32.
//
// sdot adds four products of int8 to an int32, exactly; unsigned weights stay below 64, so they are int8 as well.
#pragma once

#include <arm_neon.h>

#include "sums_int32.h"

#define SHOESTRING_PIN(x) asm volatile("" : "+w"(x))

namespace SHOESTRING_VARIANT {
namespace {

constexpr int VECTOR_ROWS = 4;
// The largest tile: 32 registers hold 2 x 6 sums with their accumulators, or 4 x 3. By count; measured on no machine.
constexpr int TILE_TOKENS = 6, TILE_GROUPS = 1;
constexpr int parts_at_once(int tokens, bool) { return tokens <= 3 ? 4 : 2; }
// Tokens of the fastest tile of float weights: 5 x 16 sums leave room for a column.
constexpr int float_tokens(shoestring::WeightType) { return 5; }

constexpr bool has_panel(shoestring::WeightType) { return true; }

using Bytes = int32x4_t;
using Floats = float32x4_t;

SHOESTRING_INLINE float largest_lane(Lanes a) {
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(a.part[0], a.part[1]), vmaxq_f32(a.part[2], a.part[3])));
}
SHOESTRING_INLINE void store_int8(int8_t* p, Ints a) {
    const int16x8_t low = vcombine_s16(vmovn_s32(a.part[0]), vmovn_s32(a.part[1]));
    const int16x8_t high = vcombine_s16(vmovn_s32(a.part[2]), vmovn_s32(a.part[3]));
    vst1q_s8(p, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}

SHOESTRING_INLINE int8x16_t as_int8(Bytes a) { return vreinterpretq_s8_s32(a); }
SHOESTRING_INLINE int16x8_t as_int16(Bytes a) { return vreinterpretq_s16_s32(a); }

SHOESTRING_INLINE Bytes load_bytes(const uint8_t* p) { return vreinterpretq_s32_u8(vld1q_u8(p)); }
SHOESTRING_INLINE void store_bytes(uint8_t* p, Bytes a) { vst1q_u8(p, vreinterpretq_u8_s32(a)); }
SHOESTRING_INLINE Bytes words(int32_t word) { return vdupq_n_s32(word); }
// Bits moved to the left (to the right: negative), those of the mask.
SHOESTRING_INLINE Bytes moved_bits(Bytes a, int left, int mask) {
    const uint8x16_t bytes = vreinterpretq_u8_s32(a);
    const uint8x16_t moved = left >= 0 ? bytes << left : bytes >> -left;
    return vreinterpretq_s32_u8(vandq_u8(moved, vdupq_n_u8(static_cast<uint8_t>(mask))));
}
SHOESTRING_INLINE Bytes nibbles(Bytes a, bool high) {
    return high ? vreinterpretq_s32_u8(vshrq_n_u8(vreinterpretq_u8_s32(a), 4)) : moved_bits(a, 0, 15);
}
SHOESTRING_INLINE Bytes either(Bytes a, Bytes b) { return vorrq_s32(a, b); }

template <bool SIGNED>
SHOESTRING_INLINE Bytes load_pairs(const uint8_t* p) {
    if constexpr (SIGNED) return vreinterpretq_s32_s16(vmovl_s8(vreinterpret_s8_u8(vld1_u8(p))));
    return vreinterpretq_s32_u16(vmovl_u8(vld1_u8(p)));
}
SHOESTRING_INLINE Bytes times_pairs(Bytes pairs, int factor) {
    return vreinterpretq_s32_s16(vmulq_n_s16(as_int16(pairs), static_cast<int16_t>(factor)));
}

SHOESTRING_INLINE Bytes start(int32_t word) { return words(word); }
template <bool SIGNED>
SHOESTRING_INLINE Bytes prepare(Bytes w) {
    return w;
}
template <bool SIGNED>
SHOESTRING_INLINE Bytes dot(Bytes sum, Bytes w, Bytes x) {
    return vdotq_s32(sum, as_int8(w), as_int8(x));
}
template <bool SIGNED>
SHOESTRING_INLINE Bytes whole(Bytes sum) {
    return sum;
}
SHOESTRING_INLINE Bytes pick(Bytes pairs, int which) {
    return vshrq_n_s32(which == 0 ? vshlq_n_s32(pairs, 16) : pairs, 16);
}
SHOESTRING_INLINE Bytes add_scaled(Bytes total, Bytes sum, Bytes scale) { return vmlaq_s32(total, sum, scale); }
SHOESTRING_INLINE Bytes add_pairs(Bytes total, Bytes pairs, int32_t word) {
    const int16x8_t a = as_int16(pairs), b = as_int16(words(word));
    return vaddq_s32(total, vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b)));
}

struct Words {
    int32x4_t low, high;
};
SHOESTRING_INLINE void store_words(int32_t* p, Words a) {
    vst1q_s32(p, a.low);
    vst1q_s32(p + 4, a.high);
}
// Eight int32 below 2^15 as four pairs of int16.
SHOESTRING_INLINE void store_pairs(int32_t* p, Words a) {
    vst1q_s32(p, vreinterpretq_s32_s16(vcombine_s16(vmovn_s32(a.low), vmovn_s32(a.high))));
}
SHOESTRING_INLINE Words halved(Words a, Words b) { return {vpaddq_s32(a.low, a.high), vpaddq_s32(b.low, b.high)}; }
SHOESTRING_INLINE Words eight_columns(const int8_t* p) {
    const auto fours = [p](int at) { return vpaddlq_s16(vpaddlq_s8(vld1q_s8(p + at))); };
    return halved({fours(0), fours(16)}, {fours(32), fours(48)});
}
SHOESTRING_INLINE Words start_words(int offset, Words a) {
    return {vmulq_n_s32(a.low, -offset), vmulq_n_s32(a.high, -offset)};
}
SHOESTRING_INLINE Words totals(Words a) { return a; }

SHOESTRING_INLINE Floats load_halves(const uint8_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(four_halves(p))); }
SHOESTRING_INLINE Floats add_product(Bytes n, Floats d, float s, Floats acc) {
    return vfmaq_f32(acc, vcvtq_f32_s32(n), vmulq_n_f32(d, s));
}
SHOESTRING_INLINE Floats subtract_product(Bytes n, Floats d, float s, Floats acc) {
    return vfmsq_f32(acc, vcvtq_f32_s32(n), vmulq_n_f32(d, s));
}
SHOESTRING_INLINE Floats add_multiple(Floats m, float s, Floats acc) { return vfmaq_n_f32(acc, m, s); }
SHOESTRING_INLINE Floats load_floats(const float* p) { return vld1q_f32(p); }
SHOESTRING_INLINE void store_floats(float* p, Floats a) { vst1q_f32(p, a); }

}  // namespace
}  // namespace SHOESTRING_VARIANT
