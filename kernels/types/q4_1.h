// Q4_1: 32 columns, w = d · q + m, q in [0, 15].
//
//   d half [16] · m half [16] · quants words [4][16]                  320 bytes
#pragma once

#include "format.h"

namespace shoestring {
constexpr WeightFormat Q4_1_FORMAT{"Q4_1", 32, 20, 320, Activation::INT8_32};
}

#ifdef SHOESTRING_VARIANT

namespace SHOESTRING_VARIANT {
namespace {

template <>
struct Layout<WeightType::Q4_1> {
    static constexpr shoestring::WeightFormat FORMAT = shoestring::Q4_1_FORMAT;
    static constexpr bool SIGNED = false;
    static constexpr int OFFSET = 0, MIN_AT = 32;

    SHOESTRING_INLINE static void pack(Rows in, uint8_t* out) {
        Ints head[4];
        load_words(in.data, in.stride, head);
        store_halves(out, head[0]);
        spread(in, 4, 4, out + 64);
    }

    SHOESTRING_INLINE static Bytes quants(const uint8_t* block, int v, int place) {
        return nibbles(load_bytes(block + 64 + 64 * (v % 4) + place), v >= 4);
    }
};

}  // namespace
}  // namespace SHOESTRING_VARIANT

#else

namespace shoestring {
namespace {

template <>
struct Numbers<WeightType::Q4_1> {
    static void of_file(const uint8_t* block, float* out) {
        const float d = from_half(block), m = from_half(block + 2);
        for (int i = 0; i < 16; ++i) {
            out[i] = static_cast<float>(block[4 + i] & 15) * d + m;
            out[i + 16] = static_cast<float>(block[4 + i] >> 4) * d + m;
        }
    }
    static void of_packed(const uint8_t* packed, int row, float* out) {
        uint8_t block[20];
        std::memcpy(block, packed + 2 * row, 2);
        std::memcpy(block + 2, packed + 32 + 2 * row, 2);
        collect(packed + 64, 4, row, block + 4);
        of_file(block, out);
    }
};

}  // namespace
}  // namespace shoestring

#endif
