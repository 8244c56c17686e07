// lanes.h on AVX2 + FMA + F16C: 16 lanes are two registers. Include lanes.h
// instead.
#pragma once

#include <immintrin.h>

namespace SHOESTRING_VARIANT {
namespace {

// Lanes that the registers hold; kernels size their tiles by it.
constexpr int LANE_REGISTERS = 8;

struct Lanes {
    __m256 low, high;
};
struct Ints {
    __m256i low, high;
};
struct Mask {
    __m256 low, high;
};

// Values of one lane, in scalar tails.
SHOESTRING_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
SHOESTRING_INLINE float widen_f16(uint16_t half) { return _cvtsh_ss(half); }
SHOESTRING_INLINE uint16_t narrow_f16(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }

SHOESTRING_INLINE Lanes set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
SHOESTRING_INLINE Ints set1(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
SHOESTRING_INLINE Ints lane_numbers() {
    return {_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15)};
}
SHOESTRING_INLINE Ints first(int n) {
    const Ints lane = lane_numbers();
    const __m256i count = _mm256_set1_epi32(n);
    return {_mm256_cmpgt_epi32(count, lane.low), _mm256_cmpgt_epi32(count, lane.high)};
}

SHOESTRING_INLINE Lanes load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
SHOESTRING_INLINE Lanes load(const float* p, int n) {
    const Ints mask = first(n);
    return {_mm256_maskload_ps(p, mask.low), _mm256_maskload_ps(p + 8, mask.high)};
}
SHOESTRING_INLINE void store(float* p, Lanes a) {
    _mm256_storeu_ps(p, a.low);
    _mm256_storeu_ps(p + 8, a.high);
}
SHOESTRING_INLINE void store(float* p, Lanes a, int n) {
    const Ints mask = first(n);
    _mm256_maskstore_ps(p, mask.low, a.low);
    _mm256_maskstore_ps(p + 8, mask.high, a.high);
}
// column[j] lane i = p[4 i + j], j < 4
SHOESTRING_INLINE void load_columns(const float* p, Lanes column[4]) {
    auto eight = [](const float* q, __m256 to[4]) {
        // Rows i and i + 4 share a register, so that the transposed halves come out in order.
        __m256 row[4];
        for (int i = 0; i < 4; ++i)
            row[i] =
                _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(q + 4 * i)), _mm_loadu_ps(q + 16 + 4 * i), 1);
        const __m256 a = _mm256_unpacklo_ps(row[0], row[1]), b = _mm256_unpackhi_ps(row[0], row[1]);
        const __m256 c = _mm256_unpacklo_ps(row[2], row[3]), d = _mm256_unpackhi_ps(row[2], row[3]);
        to[0] = _mm256_shuffle_ps(a, c, 0x44);
        to[1] = _mm256_shuffle_ps(a, c, 0xee);
        to[2] = _mm256_shuffle_ps(b, d, 0x44);
        to[3] = _mm256_shuffle_ps(b, d, 0xee);
    };
    __m256 low[4], high[4];
    eight(p, low);
    eight(p + 32, high);
    for (int j = 0; j < 4; ++j) column[j] = {low[j], high[j]};
}
SHOESTRING_INLINE Ints load(const int32_t* p) {
    const auto* q = reinterpret_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
SHOESTRING_INLINE void store(int32_t* p, Ints a) {
    auto* q = reinterpret_cast<__m256i*>(p);
    _mm256_storeu_si256(q, a.low);
    _mm256_storeu_si256(q + 1, a.high);
}
// words[i] lane r = word i of the 16 bytes at p + r * stride, i < 4
SHOESTRING_INLINE void load_words(const uint8_t* p, int64_t stride, Ints words[4]) {
    auto eight = [stride](const uint8_t* q, __m256i to[4]) {
        // Rows i and i + 4 share a register, so that the transposed halves come out in order.
        __m256i row[4];
        for (int i = 0; i < 4; ++i)
            row[i] = _mm256_inserti128_si256(
                _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(q + i * stride))),
                _mm_loadu_si128(reinterpret_cast<const __m128i*>(q + (i + 4) * stride)), 1);
        const __m256i a = _mm256_unpacklo_epi32(row[0], row[1]), b = _mm256_unpackhi_epi32(row[0], row[1]);
        const __m256i c = _mm256_unpacklo_epi32(row[2], row[3]), d = _mm256_unpackhi_epi32(row[2], row[3]);
        to[0] = _mm256_unpacklo_epi64(a, c);
        to[1] = _mm256_unpackhi_epi64(a, c);
        to[2] = _mm256_unpacklo_epi64(b, d);
        to[3] = _mm256_unpackhi_epi64(b, d);
    };
    __m256i low[4], high[4];
    eight(p, low);
    eight(p + 8 * stride, high);
    for (int j = 0; j < 4; ++j) words[j] = {low[j], high[j]};
}
SHOESTRING_INLINE Ints load_u16(const uint8_t* p) {
    const auto* q = reinterpret_cast<const __m128i*>(p);
    return {_mm256_cvtepu16_epi32(_mm_loadu_si128(q)), _mm256_cvtepu16_epi32(_mm_loadu_si128(q + 1))};
}
// The low halves of the lanes, 32 bytes.
SHOESTRING_INLINE void store_u16(uint8_t* p, Ints a) {
    const __m256i low = _mm256_set1_epi32(0xffff);
    const __m256i halves = _mm256_packus_epi32(_mm256_and_si256(a.low, low), _mm256_and_si256(a.high, low));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(halves, 0xd8));
}
SHOESTRING_INLINE void store(uint8_t* p, Ints a) {
    auto* q = reinterpret_cast<__m256i*>(p);
    _mm256_storeu_si256(q, a.low);
    _mm256_storeu_si256(q + 1, a.high);
}

SHOESTRING_INLINE Lanes load_f16(const uint16_t* p) {
    const auto* q = reinterpret_cast<const __m128i*>(p);
    return {_mm256_cvtph_ps(_mm_loadu_si128(q)), _mm256_cvtph_ps(_mm_loadu_si128(q + 1))};
}
SHOESTRING_INLINE Lanes load_f16(const uint16_t* p, int n) {
    uint16_t part[16] = {};
    std::memcpy(part, p, size_t(n) * 2);
    return load_f16(part);
}
SHOESTRING_INLINE void store_f16(uint16_t* p, Lanes a) {
    auto* q = reinterpret_cast<__m128i*>(p);
    _mm_storeu_si128(q, _mm256_cvtps_ph(a.low, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(q + 1, _mm256_cvtps_ph(a.high, _MM_FROUND_TO_NEAREST_INT));
}
SHOESTRING_INLINE void store_f16(uint16_t* p, Lanes a, int n) {
    uint16_t part[16];
    store_f16(part, a);
    std::memcpy(p, part, size_t(n) * 2);
}
SHOESTRING_INLINE Lanes load_bf16(const uint16_t* p) {
    const auto* q = reinterpret_cast<const __m128i*>(p);
    const __m256i low = _mm256_cvtepu16_epi32(_mm_loadu_si128(q));
    const __m256i high = _mm256_cvtepu16_epi32(_mm_loadu_si128(q + 1));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(low, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(high, 16))};
}

SHOESTRING_INLINE Lanes add(Lanes a, Lanes b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
SHOESTRING_INLINE Lanes sub(Lanes a, Lanes b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
SHOESTRING_INLINE Lanes mul(Lanes a, Lanes b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
SHOESTRING_INLINE Lanes div(Lanes a, Lanes b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
SHOESTRING_INLINE Lanes min(Lanes a, Lanes b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
SHOESTRING_INLINE Lanes max(Lanes a, Lanes b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
SHOESTRING_INLINE Lanes fma(Lanes a, Lanes b, Lanes c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
SHOESTRING_INLINE Lanes sqrt(Lanes a) { return {_mm256_sqrt_ps(a.low), _mm256_sqrt_ps(a.high)}; }
SHOESTRING_INLINE Lanes round_even(Lanes a) {
    constexpr int mode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(a.low, mode), _mm256_round_ps(a.high, mode)};
}
SHOESTRING_INLINE Ints to_ints(Lanes a) { return {_mm256_cvttps_epi32(a.low), _mm256_cvttps_epi32(a.high)}; }
SHOESTRING_INLINE Lanes to_floats(Ints a) { return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)}; }

SHOESTRING_INLINE Mask less(Lanes a, Lanes b) {
    return {_mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ)};
}
SHOESTRING_INLINE Mask less_equal(Lanes a, Lanes b) {
    return {_mm256_cmp_ps(a.low, b.low, _CMP_LE_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_LE_OQ)};
}
SHOESTRING_INLINE Mask equal(Lanes a, Lanes b) {
    return {_mm256_cmp_ps(a.low, b.low, _CMP_EQ_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_EQ_OQ)};
}
SHOESTRING_INLINE Mask less(Ints a, Ints b) {
    return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(b.low, a.low)),
            _mm256_castsi256_ps(_mm256_cmpgt_epi32(b.high, a.high))};
}
SHOESTRING_INLINE Mask both(Mask a, Mask b) { return {_mm256_and_ps(a.low, b.low), _mm256_and_ps(a.high, b.high)}; }
SHOESTRING_INLINE bool any(Mask a) { return (_mm256_movemask_ps(a.low) | _mm256_movemask_ps(a.high)) != 0; }
SHOESTRING_INLINE bool all(Mask a) { return (_mm256_movemask_ps(a.low) & _mm256_movemask_ps(a.high)) == 255; }
// Where the mask is set a, elsewhere b.
SHOESTRING_INLINE Lanes select(Mask mask, Lanes a, Lanes b) {
    return {_mm256_blendv_ps(b.low, a.low, mask.low), _mm256_blendv_ps(b.high, a.high, mask.high)};
}

SHOESTRING_INLINE Ints add(Ints a, Ints b) {
    return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}
SHOESTRING_INLINE Ints sub(Ints a, Ints b) {
    return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
}
SHOESTRING_INLINE Ints mul(Ints a, Ints b) {
    return {_mm256_mullo_epi32(a.low, b.low), _mm256_mullo_epi32(a.high, b.high)};
}
SHOESTRING_INLINE Ints bit_and(Ints a, Ints b) {
    return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
}
SHOESTRING_INLINE Ints bit_or(Ints a, Ints b) {
    return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)};
}
SHOESTRING_INLINE Ints bit_xor(Ints a, Ints b) {
    return {_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)};
}
template <int BITS>
SHOESTRING_INLINE Ints shift_left(Ints a) {
    return {_mm256_slli_epi32(a.low, BITS), _mm256_slli_epi32(a.high, BITS)};
}
// The sign moves in.
template <int BITS>
SHOESTRING_INLINE Ints shift_right(Ints a) {
    return {_mm256_srai_epi32(a.low, BITS), _mm256_srai_epi32(a.high, BITS)};
}
SHOESTRING_INLINE Ints as_ints(Lanes a) { return {_mm256_castps_si256(a.low), _mm256_castps_si256(a.high)}; }
SHOESTRING_INLINE Lanes as_floats(Ints a) { return {_mm256_castsi256_ps(a.low), _mm256_castsi256_ps(a.high)}; }

// The fold tree: lanes i and i + 8, then i and i + 4, i + 2, i + 1.
SHOESTRING_INLINE float fold_sum(Lanes a) {
    const __m256 eight = _mm256_add_ps(a.low, a.high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
SHOESTRING_INLINE float fold_max(Lanes a) {
    const __m256 eight = _mm256_max_ps(a.low, a.high);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
SHOESTRING_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
SHOESTRING_INLINE void prefetch_l2(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }

}  // namespace
}  // namespace SHOESTRING_VARIANT
