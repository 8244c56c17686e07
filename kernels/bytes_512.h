// bytes.h on AVX-512 (F, BW, VL, DQ): the bytes of 16 rows a register.
#pragma once

#include <immintrin.h>

#define SHOESTRING_PIN(x) asm volatile("" : "+v"(x))

namespace SHOESTRING_VARIANT {
namespace {

constexpr int VECTOR_ROWS = 16;
// The largest tile: two groups of 16 rows times 6 tokens.
constexpr int TILE_TOKENS = 6, TILE_GROUPS = 2;
constexpr int parts_at_once(int, bool) { return 1; }
// Tokens of the fastest tile of float weights.
constexpr int float_tokens(shoestring::WeightType) { return TILE_TOKENS; }

using Bytes = __m512i;
using Floats = __m512;

SHOESTRING_INLINE float largest_lane(Lanes a) { return fold_max(a); }
SHOESTRING_INLINE void store_int8(int8_t* p, Ints a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(a.all));
}

SHOESTRING_INLINE Bytes load_bytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
SHOESTRING_INLINE void store_bytes(uint8_t* p, Bytes a) { _mm512_storeu_si512(p, a); }
SHOESTRING_INLINE Bytes words(int32_t word) { return _mm512_set1_epi32(word); }
SHOESTRING_INLINE Bytes bytes(int byte) { return _mm512_set1_epi8(static_cast<char>(byte)); }
SHOESTRING_INLINE Bytes nibbles(Bytes a, bool high) {
    return _mm512_and_si512(high ? _mm512_srli_epi16(a, 4) : a, bytes(15));
}
// Bits moved to the left (to the right: negative), those of the mask.
SHOESTRING_INLINE Bytes moved_bits(Bytes a, int left, int mask) {
    const unsigned by = static_cast<unsigned>(left >= 0 ? left : -left);
    return _mm512_and_si512(left >= 0 ? _mm512_slli_epi16(a, by) : _mm512_srli_epi16(a, by), bytes(mask));
}
SHOESTRING_INLINE Bytes either(Bytes a, Bytes b) { return _mm512_or_si512(a, b); }
SHOESTRING_INLINE Bytes flip_signs(Bytes a) { return _mm512_xor_si512(a, bytes(0x80)); }
SHOESTRING_INLINE Bytes magnitude(Bytes a) { return _mm512_abs_epi8(a); }
SHOESTRING_INLINE Bytes with_sign_of(Bytes w, Bytes x) {
    return _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(w), _mm512_setzero_si512(), x);
}

template <bool SIGNED>
SHOESTRING_INLINE Bytes load_pairs(const uint8_t* p) {
    return SIGNED ? _mm512_cvtepi8_epi16(load_256(p)) : _mm512_cvtepu8_epi16(load_256(p));
}
SHOESTRING_INLINE Bytes times_pairs(Bytes pairs, int factor) {
    return _mm512_mullo_epi16(pairs, _mm512_set1_epi16(static_cast<int16_t>(factor)));
}
SHOESTRING_INLINE Bytes add_16(Bytes a, Bytes b) { return _mm512_add_epi16(a, b); }
SHOESTRING_INLINE Bytes add_32(Bytes a, Bytes b) { return _mm512_add_epi32(a, b); }
SHOESTRING_INLINE Bytes multiply_bytes(Bytes w, Bytes x) { return _mm512_maddubs_epi16(w, x); }
SHOESTRING_INLINE Bytes multiply_pairs(Bytes a, Bytes b) { return _mm512_madd_epi16(a, b); }
#if defined(__AVX512VNNI__)
SHOESTRING_INLINE Bytes add_byte_products(Bytes sum, Bytes w, Bytes x) { return _mm512_dpbusd_epi32(sum, w, x); }
SHOESTRING_INLINE Bytes add_pair_products(Bytes sum, Bytes a, Bytes b) { return _mm512_dpwssd_epi32(sum, a, b); }
#endif
SHOESTRING_INLINE Bytes first_of_pair(Bytes a) { return _mm512_maskz_mov_epi16(0x55555555, a); }
SHOESTRING_INLINE Bytes second_of_pair(Bytes a) { return _mm512_srli_epi32(a, 16); }
// Both int16 of every pair := its first (or second).
SHOESTRING_INLINE Bytes twice(Bytes pairs, int which) {
    const int place = which * 2;
    const __m128i from =
        _mm_setr_epi8(place, place + 1, place, place + 1, place + 4, place + 5, place + 4, place + 5, place + 8,
                      place + 9, place + 8, place + 9, place + 12, place + 13, place + 12, place + 13);
    return _mm512_shuffle_epi8(pairs, _mm512_broadcast_i32x4(from));
}

SHOESTRING_INLINE Floats load_halves(const uint8_t* p) { return _mm512_cvtph_ps(load_256(p)); }
SHOESTRING_INLINE Floats add_product(Bytes n, Floats d, float s, Floats acc) {
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(n), _mm512_mul_ps(d, _mm512_set1_ps(s)), acc);
}
SHOESTRING_INLINE Floats subtract_product(Bytes n, Floats d, float s, Floats acc) {
    return _mm512_fnmadd_ps(_mm512_cvtepi32_ps(n), _mm512_mul_ps(d, _mm512_set1_ps(s)), acc);
}
SHOESTRING_INLINE Floats add_multiple(Floats m, float s, Floats acc) {
    return _mm512_fmadd_ps(m, _mm512_set1_ps(s), acc);
}
SHOESTRING_INLINE Floats load_floats(const float* p) { return _mm512_loadu_ps(p); }
SHOESTRING_INLINE void store_floats(float* p, Floats a) { _mm512_storeu_ps(p, a); }

}  // namespace
}  // namespace SHOESTRING_VARIANT
