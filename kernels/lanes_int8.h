// 16 int8 as lanes. Apart from lanes.h, because only stored keys and values are read so.
#pragma once

#include "lanes.h"

namespace SHOESTRING_VARIANT {
namespace {

SHOESTRING_INLINE Ints load_int8(const int8_t* p) {
#if defined(__AVX512BW__)
    return {_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
#elif defined(__AVX2__)
    const auto* q = reinterpret_cast<const int64_t*>(p);
    return {_mm256_cvtepi8_epi32(_mm_loadu_si64(q)), _mm256_cvtepi8_epi32(_mm_loadu_si64(q + 1))};
#else
    int32_t wide[16];
    for (int i = 0; i < 16; ++i) wide[i] = p[i];
    return load(wide);
#endif
}
// Lanes past n are zero.
SHOESTRING_INLINE Ints load_int8(const int8_t* p, int n) {
    int8_t part[16] = {};
    std::memcpy(part, p, size_t(n));
    return load_int8(part);
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
