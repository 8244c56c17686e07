// lanes.h on NEON: 16 lanes are four registers. Include lanes.h instead.
//
// Not vminq, vmaxq or a bare vcvtq: they mean something else for NaN, for two zeros and outside int32.
#pragma once

#include <arm_neon.h>

namespace SHOESTRING_VARIANT {
namespace {

// Lanes that the registers hold; kernels size their tiles by it.
constexpr int LANE_REGISTERS = 8;

struct Lanes {
    float32x4_t part[4];
};
struct Ints {
    int32x4_t part[4];
};
struct Mask {
    uint32x4_t part[4];
};

// {f(0), f(1), f(2), f(3)}
template <typename Result, typename Function>
SHOESTRING_INLINE Result parts(const Function& f) {
    return {{f(0), f(1), f(2), f(3)}};
}

// Values of one lane, in scalar tails.
SHOESTRING_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
SHOESTRING_INLINE float widen_f16(uint16_t half) {
    __fp16 x;
    std::memcpy(&x, &half, 2);
    return x;
}
SHOESTRING_INLINE uint16_t narrow_f16(float x) {
    const __fp16 half = static_cast<__fp16>(x);
    uint16_t bits;
    std::memcpy(&bits, &half, 2);
    return bits;
}

SHOESTRING_INLINE Lanes set1(float x) {
    return parts<Lanes>([=](int) { return vdupq_n_f32(x); });
}
SHOESTRING_INLINE Ints set1(int32_t x) {
    return parts<Ints>([=](int) { return vdupq_n_s32(x); });
}
SHOESTRING_INLINE Ints lane_numbers() {
    return parts<Ints>([](int i) { return int32x4_t{4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3}; });
}

SHOESTRING_INLINE Lanes load(const float* p) {
    return parts<Lanes>([=](int i) { return vld1q_f32(p + 4 * i); });
}
SHOESTRING_INLINE Lanes load(const float* p, int n) {
    float part[16] = {};
    std::memcpy(part, p, static_cast<size_t>(n) * 4);
    return load(part);
}
SHOESTRING_INLINE void store(float* p, Lanes a) {
    for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, a.part[i]);
}
SHOESTRING_INLINE void store(float* p, Lanes a, int n) {
    float part[16];
    store(part, a);
    std::memcpy(p, part, static_cast<size_t>(n) * 4);
}
// column[j] lane i = p[4 i + j], j < 4
SHOESTRING_INLINE void load_columns(const float* p, Lanes column[4]) {
    for (int i = 0; i < 4; ++i) {
        const float32x4x4_t four = vld4q_f32(p + 16 * i);
        for (int j = 0; j < 4; ++j) column[j].part[i] = four.val[j];
    }
}
SHOESTRING_INLINE Ints load(const int32_t* p) {
    return parts<Ints>([=](int i) { return vld1q_s32(p + 4 * i); });
}
SHOESTRING_INLINE void store(int32_t* p, Ints a) {
    for (int i = 0; i < 4; ++i) vst1q_s32(p + 4 * i, a.part[i]);
}
SHOESTRING_INLINE void store(uint8_t* p, Ints a) {
    for (int i = 0; i < 4; ++i) vst1q_u8(p + 16 * i, vreinterpretq_u8_s32(a.part[i]));
}
// words[i] lane r = word i of the 16 bytes at p + r * stride, i < 4
SHOESTRING_INLINE void load_words(const uint8_t* p, int64_t stride, Ints words[4]) {
    for (int i = 0; i < 4; ++i) {
        const auto row = [=](int r) { return vreinterpretq_s32_u8(vld1q_u8(p + (4 * i + r) * stride)); };
        const auto pairs = [](int32x4_t a) { return vreinterpretq_s64_s32(a); };
        const int64x2_t a = pairs(vtrn1q_s32(row(0), row(1))), b = pairs(vtrn2q_s32(row(0), row(1)));
        const int64x2_t c = pairs(vtrn1q_s32(row(2), row(3))), d = pairs(vtrn2q_s32(row(2), row(3)));
        words[0].part[i] = vreinterpretq_s32_s64(vtrn1q_s64(a, c));
        words[1].part[i] = vreinterpretq_s32_s64(vtrn1q_s64(b, d));
        words[2].part[i] = vreinterpretq_s32_s64(vtrn2q_s64(a, c));
        words[3].part[i] = vreinterpretq_s32_s64(vtrn2q_s64(b, d));
    }
}
SHOESTRING_INLINE uint16x4_t four_halves(const uint8_t* p) { return vreinterpret_u16_u8(vld1_u8(p)); }
SHOESTRING_INLINE Ints load_u16(const uint8_t* p) {
    return parts<Ints>([=](int i) { return vreinterpretq_s32_u32(vmovl_u16(four_halves(p + 8 * i))); });
}
// The low halves of the lanes, 32 bytes.
SHOESTRING_INLINE void store_u16(uint8_t* p, Ints a) {
    for (int i = 0; i < 4; ++i) vst1_u8(p + 8 * i, vreinterpret_u8_s16(vmovn_s32(a.part[i])));
}

SHOESTRING_INLINE Lanes load_f16(const uint16_t* p) {
    return parts<Lanes>([=](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))); });
}
SHOESTRING_INLINE Lanes load_f16(const uint16_t* p, int n) {
    uint16_t part[16] = {};
    std::memcpy(part, p, static_cast<size_t>(n) * 2);
    return load_f16(part);
}
SHOESTRING_INLINE void store_f16(uint16_t* p, Lanes a) {
    for (int i = 0; i < 4; ++i) vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(a.part[i])));
}
SHOESTRING_INLINE void store_f16(uint16_t* p, Lanes a, int n) {
    uint16_t part[16];
    store_f16(part, a);
    std::memcpy(p, part, static_cast<size_t>(n) * 2);
}
SHOESTRING_INLINE Lanes load_bf16(const uint16_t* p) {
    return parts<Lanes>([=](int i) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)); });
}

SHOESTRING_INLINE float32x4_t lesser(float32x4_t a, float32x4_t b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
SHOESTRING_INLINE float32x4_t greater(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }

#define SHOESTRING_PARTWISE(Result, name, Operand, function)                         \
    SHOESTRING_INLINE Result name(Operand a, Operand b) {                            \
        return parts<Result>([=](int i) { return function(a.part[i], b.part[i]); }); \
    }
SHOESTRING_PARTWISE(Lanes, add, Lanes, vaddq_f32)
SHOESTRING_PARTWISE(Lanes, sub, Lanes, vsubq_f32)
SHOESTRING_PARTWISE(Lanes, mul, Lanes, vmulq_f32)
SHOESTRING_PARTWISE(Lanes, div, Lanes, vdivq_f32)
SHOESTRING_PARTWISE(Lanes, min, Lanes, lesser)
SHOESTRING_PARTWISE(Lanes, max, Lanes, greater)
SHOESTRING_PARTWISE(Mask, less, Lanes, vcltq_f32)
SHOESTRING_PARTWISE(Mask, less_equal, Lanes, vcleq_f32)
SHOESTRING_PARTWISE(Mask, equal, Lanes, vceqq_f32)
SHOESTRING_PARTWISE(Mask, less, Ints, vcltq_s32)
SHOESTRING_PARTWISE(Mask, both, Mask, vandq_u32)
SHOESTRING_PARTWISE(Ints, add, Ints, vaddq_s32)
SHOESTRING_PARTWISE(Ints, sub, Ints, vsubq_s32)
SHOESTRING_PARTWISE(Ints, mul, Ints, vmulq_s32)
SHOESTRING_PARTWISE(Ints, bit_and, Ints, vandq_s32)
SHOESTRING_PARTWISE(Ints, bit_or, Ints, vorrq_s32)
SHOESTRING_PARTWISE(Ints, bit_xor, Ints, veorq_s32)
#undef SHOESTRING_PARTWISE

SHOESTRING_INLINE Lanes fma(Lanes a, Lanes b, Lanes c) {
    return parts<Lanes>([=](int i) { return vfmaq_f32(c.part[i], a.part[i], b.part[i]); });
}
SHOESTRING_INLINE Lanes sqrt(Lanes a) {
    return parts<Lanes>([=](int i) { return vsqrtq_f32(a.part[i]); });
}
SHOESTRING_INLINE Lanes round_even(Lanes a) {
    return parts<Lanes>([=](int i) { return vrndnq_f32(a.part[i]); });
}
SHOESTRING_INLINE Ints to_ints(Lanes a) {
    const float32x4_t end = vdupq_n_f32(0x1p31f);
    return parts<Ints>(
        [=](int i) { return vbslq_s32(vcltq_f32(a.part[i], end), vcvtq_s32_f32(a.part[i]), vdupq_n_s32(INT32_MIN)); });
}
SHOESTRING_INLINE Lanes to_floats(Ints a) {
    return parts<Lanes>([=](int i) { return vcvtq_f32_s32(a.part[i]); });
}

SHOESTRING_INLINE bool any(Mask a) {
    return vmaxvq_u32(vorrq_u32(vorrq_u32(a.part[0], a.part[1]), vorrq_u32(a.part[2], a.part[3]))) != 0;
}
SHOESTRING_INLINE bool all(Mask a) {
    return vminvq_u32(vandq_u32(vandq_u32(a.part[0], a.part[1]), vandq_u32(a.part[2], a.part[3]))) != 0;
}
// Where the mask is set a, elsewhere b.
SHOESTRING_INLINE Lanes select(Mask mask, Lanes a, Lanes b) {
    return parts<Lanes>([=](int i) { return vbslq_f32(mask.part[i], a.part[i], b.part[i]); });
}

template <int BITS>
SHOESTRING_INLINE Ints shift_left(Ints a) {
    return parts<Ints>([=](int i) { return vshlq_n_s32(a.part[i], BITS); });
}
// The sign moves in.
template <int BITS>
SHOESTRING_INLINE Ints shift_right(Ints a) {
    if constexpr (BITS == 0)
        return a;
    else
        return parts<Ints>([=](int i) { return vshrq_n_s32(a.part[i], BITS); });
}
SHOESTRING_INLINE Ints as_ints(Lanes a) {
    return parts<Ints>([=](int i) { return vreinterpretq_s32_f32(a.part[i]); });
}
SHOESTRING_INLINE Lanes as_floats(Ints a) {
    return parts<Lanes>([=](int i) { return vreinterpretq_f32_s32(a.part[i]); });
}

// The fold tree: lanes i and i + 8, then i and i + 4, i + 2, i + 1.
SHOESTRING_INLINE float fold_sum(Lanes a) {
    const float32x4_t four = vaddq_f32(vaddq_f32(a.part[0], a.part[2]), vaddq_f32(a.part[1], a.part[3]));
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
SHOESTRING_INLINE float fold_max(Lanes a) {
    const float32x4_t four = greater(greater(a.part[0], a.part[2]), greater(a.part[1], a.part[3]));
    const float32x4_t two = greater(four, vextq_f32(four, four, 2));
    return vgetq_lane_f32(greater(two, vextq_f32(two, two, 1)), 0);
}
SHOESTRING_INLINE void prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }
SHOESTRING_INLINE void prefetch_l2(const void* p) { __builtin_prefetch(p, 0, 2); }

}  // namespace
}  // namespace SHOESTRING_VARIANT
