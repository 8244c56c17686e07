// lanes.h in plain C++: the meaning of every function, and the variant for any
// CPU. Include lanes.h instead.
#pragma once

namespace SHOESTRING_VARIANT {
namespace {

// Lanes that the registers hold; kernels size their tiles by it.
constexpr int LANE_REGISTERS = 8;

struct Lanes {
    float lane[16];
};
struct Ints {
    int32_t lane[16];
};
struct Mask {
    bool lane[16];
};

#define SHOESTRING_EACH_LANE for (int i = 0; i < 16; ++i)

SHOESTRING_INLINE uint32_t float_bits(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}
SHOESTRING_INLINE float bits_float(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

SHOESTRING_INLINE float widen_f16(uint16_t half) {
    const uint32_t sign = uint32_t(half & 0x8000) << 16;
    const uint32_t exponent = (half >> 10) & 31, fraction = half & 1023;
    if (exponent == 31) return bits_float(sign | 0x7f800000 | (fraction ? fraction << 13 | 0x400000 : 0));
    if (exponent) return bits_float(sign | (exponent + 112) << 23 | fraction << 13);
    // Subnormal: fraction · 2^-24 is exact.
    return bits_float(sign | float_bits(float(fraction) * 0x1p-24f));
}

SHOESTRING_INLINE uint16_t narrow_f16(float x) {
    const uint32_t bits = float_bits(x), sign = bits >> 16 & 0x8000;
    const uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return uint16_t(sign | 0x7e00 | (magnitude >> 13 & 1023));
    if (magnitude >= 0x477ff000) return uint16_t(sign | 0x7c00);  // 65520 and up round to infinity
    if (magnitude < 0x38800000) {
        // Below 2^-14: adding 0.5 puts the subnormal's last bit at the float's last
        // bit, rounding to even.
        return uint16_t(sign | (float_bits(bits_float(magnitude) + 0.5f) - 0x3f000000));
    }
    const uint32_t even = magnitude >> 13 & 1;
    return uint16_t(sign | ((magnitude + 0xfff + even - 0x38000000) >> 13));
}

// Values of one lane, in scalar tails.
SHOESTRING_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

// --- whole vectors ---

SHOESTRING_INLINE Lanes set1(float x) {
    Lanes r;
    SHOESTRING_EACH_LANE r.lane[i] = x;
    return r;
}
SHOESTRING_INLINE Ints set1(int32_t x) {
    Ints r;
    SHOESTRING_EACH_LANE r.lane[i] = x;
    return r;
}
SHOESTRING_INLINE Ints lane_numbers() {
    Ints r;
    SHOESTRING_EACH_LANE r.lane[i] = i;
    return r;
}
SHOESTRING_INLINE Lanes load(const float* p) {
    Lanes r;
    std::memcpy(r.lane, p, 64);
    return r;
}
SHOESTRING_INLINE Lanes load(const float* p, int n) {
    Lanes r;
    SHOESTRING_EACH_LANE r.lane[i] = i < n ? p[i] : 0.0f;
    return r;
}
SHOESTRING_INLINE void store(float* p, Lanes a) { std::memcpy(p, a.lane, 64); }
SHOESTRING_INLINE void store(float* p, Lanes a, int n) {
    for (int i = 0; i < n; ++i) p[i] = a.lane[i];
}
// column[j] lane i = p[4 i + j], j < 4
SHOESTRING_INLINE void load_columns(const float* p, Lanes column[4]) {
    for (int j = 0; j < 4; ++j) SHOESTRING_EACH_LANE column[j].lane[i] = p[4 * i + j];
}
SHOESTRING_INLINE Ints load(const int32_t* p) {
    Ints r;
    std::memcpy(r.lane, p, 64);
    return r;
}
SHOESTRING_INLINE void store(int32_t* p, Ints a) { std::memcpy(p, a.lane, 64); }
// words[i] lane r = word i of the 16 bytes at p + r * stride, i < 4
SHOESTRING_INLINE void load_words(const uint8_t* p, int64_t stride, Ints words[4]) {
    SHOESTRING_EACH_LANE {
        int32_t row[4];
        std::memcpy(row, p + i * stride, 16);
        for (int j = 0; j < 4; ++j) words[j].lane[i] = row[j];
    }
}
SHOESTRING_INLINE Ints load_u16(const uint8_t* p) {
    Ints r;
    SHOESTRING_EACH_LANE r.lane[i] = p[2 * i] | p[2 * i + 1] << 8;
    return r;
}
// The low halves of the lanes, 32 bytes.
SHOESTRING_INLINE void store_u16(uint8_t* p, Ints a) { SHOESTRING_EACH_LANE std::memcpy(p + 2 * i, &a.lane[i], 2); }
SHOESTRING_INLINE void store(uint8_t* p, Ints a) { std::memcpy(p, a.lane, 64); }

SHOESTRING_INLINE Lanes load_f16(const uint16_t* p) {
    Lanes r;
    SHOESTRING_EACH_LANE r.lane[i] = widen_f16(p[i]);
    return r;
}
SHOESTRING_INLINE Lanes load_f16(const uint16_t* p, int n) {
    Lanes r;
    SHOESTRING_EACH_LANE r.lane[i] = i < n ? widen_f16(p[i]) : 0.0f;
    return r;
}
SHOESTRING_INLINE void store_f16(uint16_t* p, Lanes a) { SHOESTRING_EACH_LANE p[i] = narrow_f16(a.lane[i]); }
SHOESTRING_INLINE void store_f16(uint16_t* p, Lanes a, int n) {
    for (int i = 0; i < n; ++i) p[i] = narrow_f16(a.lane[i]);
}
SHOESTRING_INLINE Lanes load_bf16(const uint16_t* p) {
    Lanes r;
    SHOESTRING_EACH_LANE r.lane[i] = bits_float(uint32_t(p[i]) << 16);
    return r;
}

#define SHOESTRING_LANEWISE(name, expression)        \
    SHOESTRING_INLINE Lanes name(Lanes a, Lanes b) { \
        Lanes r;                                     \
        SHOESTRING_EACH_LANE r.lane[i] = expression; \
        return r;                                    \
    }
SHOESTRING_LANEWISE(add, a.lane[i] + b.lane[i])
SHOESTRING_LANEWISE(sub, a.lane[i] - b.lane[i])
SHOESTRING_LANEWISE(mul, a.lane[i] * b.lane[i])
SHOESTRING_LANEWISE(div, a.lane[i] / b.lane[i])
SHOESTRING_LANEWISE(min, a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i])
SHOESTRING_LANEWISE(max, a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i])
#undef SHOESTRING_LANEWISE

SHOESTRING_INLINE Lanes fma(Lanes a, Lanes b, Lanes c) {
    Lanes r;
    SHOESTRING_EACH_LANE r.lane[i] = __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i]);
    return r;
}
SHOESTRING_INLINE Lanes sqrt(Lanes a) {
    Lanes r;
    SHOESTRING_EACH_LANE r.lane[i] = __builtin_sqrtf(a.lane[i]);
    return r;
}
SHOESTRING_INLINE Lanes round_even(Lanes a) {
    // Adding and taking away 2^23 rounds what is smaller; the sign is put back
    // for -0.
    Lanes r;
    SHOESTRING_EACH_LANE {
        const float x = a.lane[i], magnitude = bits_float(float_bits(x) & 0x7fffffff);
        volatile float shifted = magnitude + 0x1p23f;
        const float rounded = magnitude < 0x1p23f ? shifted - 0x1p23f : magnitude;
        r.lane[i] = bits_float(float_bits(rounded) | (float_bits(x) & 0x80000000));
    }
    return r;
}
SHOESTRING_INLINE Ints to_ints(Lanes a) {
    Ints r;
    SHOESTRING_EACH_LANE {
        const float x = a.lane[i];
        r.lane[i] = x >= -0x1p31f && x < 0x1p31f ? int32_t(x) : INT32_MIN;
    }
    return r;
}
SHOESTRING_INLINE Lanes to_floats(Ints a) {
    Lanes r;
    SHOESTRING_EACH_LANE r.lane[i] = float(a.lane[i]);
    return r;
}

#define SHOESTRING_COMPARE(name, operation)                             \
    SHOESTRING_INLINE Mask name(Lanes a, Lanes b) {                     \
        Mask r;                                                         \
        SHOESTRING_EACH_LANE r.lane[i] = a.lane[i] operation b.lane[i]; \
        return r;                                                       \
    }
SHOESTRING_COMPARE(less, <)
SHOESTRING_COMPARE(less_equal, <=)
SHOESTRING_COMPARE(equal, ==)
#undef SHOESTRING_COMPARE

SHOESTRING_INLINE Mask less(Ints a, Ints b) {
    Mask r;
    SHOESTRING_EACH_LANE r.lane[i] = a.lane[i] < b.lane[i];
    return r;
}
SHOESTRING_INLINE Mask both(Mask a, Mask b) {
    Mask r;
    SHOESTRING_EACH_LANE r.lane[i] = a.lane[i] && b.lane[i];
    return r;
}
SHOESTRING_INLINE bool any(Mask a) {
    bool r = false;
    SHOESTRING_EACH_LANE r |= a.lane[i];
    return r;
}
SHOESTRING_INLINE bool all(Mask a) {
    bool r = true;
    SHOESTRING_EACH_LANE r &= a.lane[i];
    return r;
}
// Where the mask is set a, elsewhere b.
SHOESTRING_INLINE Lanes select(Mask mask, Lanes a, Lanes b) {
    Lanes r;
    SHOESTRING_EACH_LANE r.lane[i] = mask.lane[i] ? a.lane[i] : b.lane[i];
    return r;
}

#define SHOESTRING_INTEGER(name, operation)                                                          \
    SHOESTRING_INLINE Ints name(Ints a, Ints b) {                                                    \
        Ints r;                                                                                      \
        SHOESTRING_EACH_LANE r.lane[i] = int32_t(uint32_t(a.lane[i]) operation uint32_t(b.lane[i])); \
        return r;                                                                                    \
    }
SHOESTRING_INTEGER(add, +)
SHOESTRING_INTEGER(sub, -)
SHOESTRING_INTEGER(mul, *)
SHOESTRING_INTEGER(bit_and, &)
SHOESTRING_INTEGER(bit_or, |)
SHOESTRING_INTEGER(bit_xor, ^)
#undef SHOESTRING_INTEGER

template <int BITS>
SHOESTRING_INLINE Ints shift_left(Ints a) {
    Ints r;
    SHOESTRING_EACH_LANE r.lane[i] = int32_t(uint32_t(a.lane[i]) << BITS);
    return r;
}
// The sign moves in.
template <int BITS>
SHOESTRING_INLINE Ints shift_right(Ints a) {
    Ints r;
    SHOESTRING_EACH_LANE r.lane[i] = a.lane[i] >> BITS;
    return r;
}

SHOESTRING_INLINE Ints as_ints(Lanes a) {
    Ints r;
    std::memcpy(r.lane, a.lane, 64);
    return r;
}
SHOESTRING_INLINE Lanes as_floats(Ints a) {
    Lanes r;
    std::memcpy(r.lane, a.lane, 64);
    return r;
}

// The fold tree: lanes i and i + 8, then i and i + 4, i + 2, i + 1.
SHOESTRING_INLINE float fold_sum(Lanes a) {
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; ++i) a.lane[i] = a.lane[i] + a.lane[i + half];
    return a.lane[0];
}
SHOESTRING_INLINE float fold_max(Lanes a) {
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; ++i) a.lane[i] = a.lane[i] > a.lane[i + half] ? a.lane[i] : a.lane[i + half];
    return a.lane[0];
}
SHOESTRING_INLINE void prefetch(const void*) {}
SHOESTRING_INLINE void prefetch_l2(const void*) {}

}  // namespace
}  // namespace SHOESTRING_VARIANT
