// F32: per column float [16].
#pragma once

#include "format.h"

namespace shoestring {
constexpr WeightFormat F32_FORMAT{"F32", 1, 4, 64, Activation::FLOAT};
}

#ifdef SHOESTRING_VARIANT

namespace SHOESTRING_VARIANT {
namespace {

template <>
struct Layout<WeightType::F32> {
    static constexpr shoestring::WeightFormat FORMAT = shoestring::F32_FORMAT;

    // 16 bytes of each of 16 rows; 256 bytes.
    SHOESTRING_INLINE static void pack(Rows in, uint8_t* out) { spread(in, 0, 4, out); }
};

}  // namespace
}  // namespace SHOESTRING_VARIANT

#else

namespace shoestring {
namespace {

template <>
struct Numbers<WeightType::F32> {
    static void of_file(const uint8_t* element, float* out) { std::memcpy(out, element, 4); }
    static void of_packed(const uint8_t* column, int row, float* out) { of_file(column + 4 * row, out); }
};

}  // namespace
}  // namespace shoestring

#endif
