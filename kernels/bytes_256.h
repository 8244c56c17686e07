// bytes.h on AVX2: the bytes of 8 rows a register.
#pragma once

#include <immintrin.h>

// g++ would compute all products first and spill them; a barrier after each addition keeps the order written.
#define SHOESTRING_PIN(x) asm volatile("" : "+x"(x))

namespace SHOESTRING_VARIANT {
namespace {

constexpr int VECTOR_ROWS = 8;
// The largest tile: 6 tokens fill the registers.
constexpr int TILE_TOKENS = 6, TILE_GROUPS = 1;
// Registers of a group that a tile takes in one pass. Up to three tokens take all: they stream from memory.
constexpr int parts_at_once(int tokens, bool panel) { return tokens <= 3 && !panel ? 2 : 1; }
// Tokens of the fastest tile of float weights.
constexpr int float_tokens(shoestring::WeightType type) {
    return type == shoestring::WeightType::BF16 ? 5 : TILE_TOKENS;
}

using Bytes = __m256i;
using Floats = __m256;

SHOESTRING_INLINE float largest_lane(Lanes a) {
    const __m256 both = _mm256_max_ps(a.low, a.high);
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

SHOESTRING_INLINE void store_int8(int8_t* p, Ints a) {
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.low, a.high), 0xd8);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}

SHOESTRING_INLINE Bytes load_bytes(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
SHOESTRING_INLINE void store_bytes(uint8_t* p, Bytes a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a); }
SHOESTRING_INLINE __m128i load_half_bytes(const uint8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
SHOESTRING_INLINE Bytes words(int32_t word) { return _mm256_set1_epi32(word); }
SHOESTRING_INLINE Bytes bytes(int byte) { return _mm256_set1_epi8(static_cast<char>(byte)); }
SHOESTRING_INLINE Bytes nibbles(Bytes a, bool high) {
    return _mm256_and_si256(high ? _mm256_srli_epi16(a, 4) : a, bytes(15));
}
// Bits moved to the left (to the right: negative), those of the mask.
SHOESTRING_INLINE Bytes moved_bits(Bytes a, int left, int mask) {
    return _mm256_and_si256(left >= 0 ? _mm256_slli_epi16(a, left) : _mm256_srli_epi16(a, -left), bytes(mask));
}
SHOESTRING_INLINE Bytes either(Bytes a, Bytes b) { return _mm256_or_si256(a, b); }
SHOESTRING_INLINE Bytes flip_signs(Bytes a) { return _mm256_xor_si256(a, bytes(0x80)); }
SHOESTRING_INLINE Bytes magnitude(Bytes a) { return _mm256_abs_epi8(a); }
SHOESTRING_INLINE Bytes with_sign_of(Bytes w, Bytes x) { return _mm256_sign_epi8(x, w); }

template <bool SIGNED>
SHOESTRING_INLINE Bytes load_pairs(const uint8_t* p) {
    return SIGNED ? _mm256_cvtepi8_epi16(load_half_bytes(p)) : _mm256_cvtepu8_epi16(load_half_bytes(p));
}
SHOESTRING_INLINE Bytes times_pairs(Bytes pairs, int factor) {
    return _mm256_mullo_epi16(pairs, _mm256_set1_epi16(static_cast<int16_t>(factor)));
}
SHOESTRING_INLINE Bytes add_16(Bytes a, Bytes b) { return _mm256_add_epi16(a, b); }
SHOESTRING_INLINE Bytes add_32(Bytes a, Bytes b) { return _mm256_add_epi32(a, b); }
SHOESTRING_INLINE Bytes multiply_bytes(Bytes w, Bytes x) { return _mm256_maddubs_epi16(w, x); }
SHOESTRING_INLINE Bytes multiply_pairs(Bytes a, Bytes b) { return _mm256_madd_epi16(a, b); }
#if defined(__AVXVNNI__)
SHOESTRING_INLINE Bytes add_byte_products(Bytes sum, Bytes w, Bytes x) { return _mm256_dpbusd_avx_epi32(sum, w, x); }
SHOESTRING_INLINE Bytes add_pair_products(Bytes sum, Bytes a, Bytes b) { return _mm256_dpwssd_avx_epi32(sum, a, b); }
#endif
SHOESTRING_INLINE Bytes first_of_pair(Bytes a) { return _mm256_and_si256(a, words(0xffff)); }
SHOESTRING_INLINE Bytes second_of_pair(Bytes a) { return _mm256_srli_epi32(a, 16); }
// Both int16 of every pair := its first (or second).
SHOESTRING_INLINE Bytes twice(Bytes pairs, int which) {
    const int place = which * 2;
    const __m128i from =
        _mm_setr_epi8(place, place + 1, place, place + 1, place + 4, place + 5, place + 4, place + 5, place + 8,
                      place + 9, place + 8, place + 9, place + 12, place + 13, place + 12, place + 13);
    return _mm256_shuffle_epi8(pairs, _mm256_broadcastsi128_si256(from));
}

SHOESTRING_INLINE Floats load_halves(const uint8_t* p) { return _mm256_cvtph_ps(load_half_bytes(p)); }
SHOESTRING_INLINE Floats add_product(Bytes n, Floats d, float s, Floats acc) {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(n), _mm256_mul_ps(d, _mm256_set1_ps(s)), acc);
}
SHOESTRING_INLINE Floats subtract_product(Bytes n, Floats d, float s, Floats acc) {
    return _mm256_fnmadd_ps(_mm256_cvtepi32_ps(n), _mm256_mul_ps(d, _mm256_set1_ps(s)), acc);
}
SHOESTRING_INLINE Floats add_multiple(Floats m, float s, Floats acc) {
    return _mm256_fmadd_ps(m, _mm256_set1_ps(s), acc);
}
SHOESTRING_INLINE Floats load_floats(const float* p) { return _mm256_loadu_ps(p); }
SHOESTRING_INLINE void store_floats(float* p, Floats a) { _mm256_storeu_ps(p, a); }

}  // namespace
}  // namespace SHOESTRING_VARIANT
