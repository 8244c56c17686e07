// lanes.h on AVX-512 (F, BW, VL, DQ): 16 lanes are one register. Include lanes.h instead.
#pragma once

#include <immintrin.h>

namespace SHOESTRING_VARIANT {
namespace {

// Lanes that the registers hold; kernels size their tiles by it.
constexpr int LANE_REGISTERS = 32;

struct Lanes {
    __m512 all;
};
struct Ints {
    __m512i all;
};
struct Mask {
    __mmask16 all;
};

// Values of one lane, in scalar tails.
SHOESTRING_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
SHOESTRING_INLINE float widen_f16(uint16_t half) { return _cvtsh_ss(half); }
SHOESTRING_INLINE uint16_t narrow_f16(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }

SHOESTRING_INLINE Lanes set1(float x) { return {_mm512_set1_ps(x)}; }
SHOESTRING_INLINE Ints set1(int32_t x) { return {_mm512_set1_epi32(x)}; }
SHOESTRING_INLINE Ints lane_numbers() {
    return {_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)};
}
SHOESTRING_INLINE __mmask16 first(int n) { return static_cast<__mmask16>((1u << n) - 1); }

SHOESTRING_INLINE Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
SHOESTRING_INLINE Lanes load(const float* p, int n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
SHOESTRING_INLINE void store(float* p, Lanes a) { _mm512_storeu_ps(p, a.all); }
SHOESTRING_INLINE void store(float* p, Lanes a, int n) { _mm512_mask_storeu_ps(p, first(n), a.all); }

// Four registers of four rows' 16 bytes each → four registers of one word of all rows.
SHOESTRING_INLINE void transpose_words(const __m512i row[4], __m512i word[4]) {
    const __m512i a = _mm512_unpacklo_epi32(row[0], row[1]), b = _mm512_unpackhi_epi32(row[0], row[1]);
    const __m512i c = _mm512_unpacklo_epi32(row[2], row[3]), d = _mm512_unpackhi_epi32(row[2], row[3]);
    word[0] = _mm512_unpacklo_epi64(a, c);
    word[1] = _mm512_unpackhi_epi64(a, c);
    word[2] = _mm512_unpacklo_epi64(b, d);
    word[3] = _mm512_unpackhi_epi64(b, d);
}
// Rows i, i + 4, i + 8 and i + 12 in a register, so that the transposed words come out in order.
SHOESTRING_INLINE __m512i every_fourth_row(const uint8_t* p, int64_t stride) {
    const auto row = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i * stride)); };
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(row(0)), row(4), 1);
    const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(row(8)), row(12), 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}
// words[i] lane r = word i of the 16 bytes at p + r * stride, i < 4
SHOESTRING_INLINE void load_words(const uint8_t* p, int64_t stride, Ints words[4]) {
    __m512i row[4], word[4];
    for (int i = 0; i < 4; ++i) row[i] = every_fourth_row(p + i * stride, stride);
    transpose_words(row, word);
    for (int j = 0; j < 4; ++j) words[j] = {word[j]};
}
// column[j] lane i = p[4 i + j], j < 4
SHOESTRING_INLINE void load_columns(const float* p, Lanes column[4]) {
    Ints words[4];
    load_words(reinterpret_cast<const uint8_t*>(p), 16, words);
    for (int j = 0; j < 4; ++j) column[j] = {_mm512_castsi512_ps(words[j].all)};
}
SHOESTRING_INLINE Ints load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
SHOESTRING_INLINE void store(int32_t* p, Ints a) { _mm512_storeu_si512(p, a.all); }
SHOESTRING_INLINE void store(uint8_t* p, Ints a) { _mm512_storeu_si512(p, a.all); }
SHOESTRING_INLINE __m256i load_256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
SHOESTRING_INLINE void store_256(void* p, __m256i a) { _mm256_storeu_si256(static_cast<__m256i*>(p), a); }
SHOESTRING_INLINE Ints load_u16(const uint8_t* p) { return {_mm512_cvtepu16_epi32(load_256(p))}; }
// The low halves of the lanes, 32 bytes.
SHOESTRING_INLINE void store_u16(uint8_t* p, Ints a) { store_256(p, _mm512_cvtepi32_epi16(a.all)); }

SHOESTRING_INLINE Lanes load_f16(const uint16_t* p) { return {_mm512_cvtph_ps(load_256(p))}; }
SHOESTRING_INLINE Lanes load_f16(const uint16_t* p, int n) {
    return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p))};
}
SHOESTRING_INLINE __m256i to_f16(Lanes a) {
    return _mm512_cvtps_ph(a.all, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
SHOESTRING_INLINE void store_f16(uint16_t* p, Lanes a) { store_256(p, to_f16(a)); }
SHOESTRING_INLINE void store_f16(uint16_t* p, Lanes a, int n) { _mm256_mask_storeu_epi16(p, first(n), to_f16(a)); }
SHOESTRING_INLINE Lanes load_bf16(const uint16_t* p) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_256(p)), 16))};
}

SHOESTRING_INLINE Lanes add(Lanes a, Lanes b) { return {_mm512_add_ps(a.all, b.all)}; }
SHOESTRING_INLINE Lanes sub(Lanes a, Lanes b) { return {_mm512_sub_ps(a.all, b.all)}; }
SHOESTRING_INLINE Lanes mul(Lanes a, Lanes b) { return {_mm512_mul_ps(a.all, b.all)}; }
SHOESTRING_INLINE Lanes div(Lanes a, Lanes b) { return {_mm512_div_ps(a.all, b.all)}; }
SHOESTRING_INLINE Lanes min(Lanes a, Lanes b) { return {_mm512_min_ps(a.all, b.all)}; }
SHOESTRING_INLINE Lanes max(Lanes a, Lanes b) { return {_mm512_max_ps(a.all, b.all)}; }
SHOESTRING_INLINE Lanes fma(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.all, b.all, c.all)}; }
SHOESTRING_INLINE Lanes sqrt(Lanes a) { return {_mm512_sqrt_ps(a.all)}; }
SHOESTRING_INLINE Lanes round_even(Lanes a) {
    return {_mm512_roundscale_ps(a.all, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
SHOESTRING_INLINE Ints to_ints(Lanes a) { return {_mm512_cvttps_epi32(a.all)}; }
SHOESTRING_INLINE Lanes to_floats(Ints a) { return {_mm512_cvtepi32_ps(a.all)}; }

SHOESTRING_INLINE Mask less(Lanes a, Lanes b) { return {_mm512_cmp_ps_mask(a.all, b.all, _CMP_LT_OQ)}; }
SHOESTRING_INLINE Mask less_equal(Lanes a, Lanes b) { return {_mm512_cmp_ps_mask(a.all, b.all, _CMP_LE_OQ)}; }
SHOESTRING_INLINE Mask equal(Lanes a, Lanes b) { return {_mm512_cmp_ps_mask(a.all, b.all, _CMP_EQ_OQ)}; }
SHOESTRING_INLINE Mask less(Ints a, Ints b) { return {_mm512_cmplt_epi32_mask(a.all, b.all)}; }
SHOESTRING_INLINE Mask both(Mask a, Mask b) { return {static_cast<__mmask16>(a.all & b.all)}; }
SHOESTRING_INLINE bool any(Mask a) { return a.all != 0; }
SHOESTRING_INLINE bool all(Mask a) { return a.all == 0xffff; }
// Where the mask is set a, elsewhere b.
SHOESTRING_INLINE Lanes select(Mask mask, Lanes a, Lanes b) { return {_mm512_mask_blend_ps(mask.all, b.all, a.all)}; }

SHOESTRING_INLINE Ints add(Ints a, Ints b) { return {_mm512_add_epi32(a.all, b.all)}; }
SHOESTRING_INLINE Ints sub(Ints a, Ints b) { return {_mm512_sub_epi32(a.all, b.all)}; }
SHOESTRING_INLINE Ints mul(Ints a, Ints b) { return {_mm512_mullo_epi32(a.all, b.all)}; }
SHOESTRING_INLINE Ints bit_and(Ints a, Ints b) { return {_mm512_and_si512(a.all, b.all)}; }
SHOESTRING_INLINE Ints bit_or(Ints a, Ints b) { return {_mm512_or_si512(a.all, b.all)}; }
SHOESTRING_INLINE Ints bit_xor(Ints a, Ints b) { return {_mm512_xor_si512(a.all, b.all)}; }
template <int BITS>
SHOESTRING_INLINE Ints shift_left(Ints a) {
    return {_mm512_slli_epi32(a.all, BITS)};
}
// The sign moves in.
template <int BITS>
SHOESTRING_INLINE Ints shift_right(Ints a) {
    return {_mm512_srai_epi32(a.all, BITS)};
}
SHOESTRING_INLINE Ints as_ints(Lanes a) { return {_mm512_castps_si512(a.all)}; }
SHOESTRING_INLINE Lanes as_floats(Ints a) { return {_mm512_castsi512_ps(a.all)}; }

// The fold tree: lanes i and i + 8, then i and i + 4, i + 2, i + 1.
SHOESTRING_INLINE float fold_sum(Lanes a) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.all), _mm512_extractf32x8_ps(a.all, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
SHOESTRING_INLINE float fold_max(Lanes a) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a.all), _mm512_extractf32x8_ps(a.all, 1));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
SHOESTRING_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
SHOESTRING_INLINE void prefetch_l2(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }

}  // namespace
}  // namespace SHOESTRING_VARIANT
