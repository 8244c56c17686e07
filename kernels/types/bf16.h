// BF16: per pair of columns bf16 [16][2]; an odd last column is followed by zeros.
#pragma once

#include "format.h"

namespace shoestring {
constexpr WeightFormat BF16_FORMAT{"BF16", 1, 2, 32, Activation::FLOAT};
}

#ifdef SHOESTRING_VARIANT

namespace SHOESTRING_VARIANT {
namespace {

template <>
struct Layout<WeightType::BF16> {
    static constexpr shoestring::WeightFormat FORMAT = shoestring::BF16_FORMAT;

    // 16 bytes of each of 16 rows; 256 bytes.
    SHOESTRING_INLINE static void pack(Rows in, uint8_t* out) { spread(in, 0, 4, out); }

    // The numbers of both columns of a pair.
    SHOESTRING_INLINE static Lanes even(Ints pairs) { return as_floats(shift_left<16>(pairs)); }
    SHOESTRING_INLINE static Lanes odd(Ints pairs) {
        return as_floats(bit_and(pairs, set1(static_cast<int32_t>(0xffff0000))));
    }
};

}  // namespace
}  // namespace SHOESTRING_VARIANT

#else

namespace shoestring {
namespace {

template <>
struct Numbers<WeightType::BF16> {
    static void of_file(const uint8_t* p, float* out) {
        *out = as_float(static_cast<uint32_t>(p[0]) << 16 | static_cast<uint32_t>(p[1]) << 24);
    }
    // `pair`: that of the column; `odd`: its second.
    static void of_packed(const uint8_t* pair, int row, bool odd, float* out) {
        of_file(pair + 4 * row + (odd ? 2 : 0), out);
    }
};

}  // namespace
}  // namespace shoestring

#endif
