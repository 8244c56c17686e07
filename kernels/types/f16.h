// F16: per column half [16].
#pragma once

#include "format.h"

namespace shoestring {
constexpr WeightFormat F16_FORMAT{"F16", 1, 2, 32, Activation::FLOAT};
}

#ifdef SHOESTRING_VARIANT

namespace SHOESTRING_VARIANT {
namespace {

template <>
struct Layout<WeightType::F16> {
    static constexpr shoestring::WeightFormat FORMAT = shoestring::F16_FORMAT;

    // 16 bytes of each of 16 rows; 256 bytes.
    SHOESTRING_INLINE static void pack(Rows in, uint8_t* out) {
        Ints words[4];
        load_words(in.data, in.stride, words);
        for (int j = 0; j < 4; ++j) store_halves(out + 64 * j, words[j]);
    }
};

}  // namespace
}  // namespace SHOESTRING_VARIANT

#else

namespace shoestring {
namespace {

template <>
struct Numbers<WeightType::F16> {
    static void of_file(const uint8_t* element, float* out) { *out = from_half(element); }
    static void of_packed(const uint8_t* column, int row, float* out) { of_file(column + 2 * row, out); }
};

}  // namespace
}  // namespace shoestring

#endif
