// Q4_0: 32 columns, w = d · (q - 8), q in [0, 15].
//
//   d half [16] · quants words [4][16]                                288 bytes
#pragma once

#include "format.h"

namespace shoestring {
constexpr WeightFormat Q4_0_FORMAT{"Q4_0", 32, 18, 288, Activation::INT8_32};
}

#ifdef SHOESTRING_VARIANT

namespace SHOESTRING_VARIANT {
namespace {

template <>
struct Layout<WeightType::Q4_0> {
    static constexpr shoestring::WeightFormat FORMAT = shoestring::Q4_0_FORMAT;
    static constexpr bool SIGNED = false;
    static constexpr int OFFSET = 8, MIN_AT = 0;

    SHOESTRING_INLINE static void pack(Rows in, uint8_t* out) {
        Ints head[4];
        load_words(in.data, in.stride, head);
        store_u16(out, head[0]);
        spread(in, 2, 4, out + 32);
    }

    SHOESTRING_INLINE static Bytes quants(const uint8_t* block, int v, int place) {
        return nibbles(load_bytes(block + 32 + 64 * (v % 4) + place), v >= 4);
    }
};

}  // namespace
}  // namespace SHOESTRING_VARIANT

#else

namespace shoestring {
namespace {

template <>
struct Numbers<WeightType::Q4_0> {
    static void of_file(const uint8_t* block, float* out) {
        const float d = from_half(block);
        for (int i = 0; i < 16; ++i) {
            out[i] = static_cast<float>((block[2 + i] & 15) - 8) * d;
            out[i + 16] = static_cast<float>((block[2 + i] >> 4) - 8) * d;
        }
    }
    static void of_packed(const uint8_t* packed, int row, float* out) {
        uint8_t block[18];
        std::memcpy(block, packed + 2 * row, 2);
        collect(packed + 32, 4, row, block + 2);
        of_file(block, out);
    }
};

}  // namespace
}  // namespace shoestring

#endif
