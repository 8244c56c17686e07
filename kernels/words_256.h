// Eight words of bytes.h in a register of AVX2: what sums_*.h have in common.
#pragma once

namespace SHOESTRING_VARIANT {
namespace {

using Words = __m256i;

SHOESTRING_INLINE void store_words(int32_t* p, Words a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a); }
SHOESTRING_INLINE Words quants_at(const int8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

// The even (odd) ones of the 16 words of a and b, both in the same order.
SHOESTRING_INLINE Words even_words(Words a, Words b) {
    return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88));
}
SHOESTRING_INLINE Words odd_words(Words a, Words b) {
    return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0xdd));
}
// Undoes their order.
SHOESTRING_INLINE Words in_order(Words a) { return _mm256_permute4x64_epi64(a, 0xd8); }

// Eight int32 below 2^15 as four pairs of int16.
SHOESTRING_INLINE void store_pairs(int32_t* p, Words totals) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm_packs_epi32(_mm256_castsi256_si128(totals), _mm256_extracti128_si256(totals, 1)));
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
