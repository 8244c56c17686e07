// Q8_0: 32 columns, w = d · q, q in [-128, 127].
//
//   d half [16] · quants words [8][16]                                544 bytes
#pragma once

#include "format.h"

namespace shoestring {
constexpr WeightFormat Q8_0_FORMAT{"Q8_0", 32, 34, 544, Activation::INT8_32};
}

#ifdef SHOESTRING_VARIANT

namespace SHOESTRING_VARIANT {
namespace {

template <>
struct Layout<WeightType::Q8_0> {
    static constexpr shoestring::WeightFormat FORMAT = shoestring::Q8_0_FORMAT;
    static constexpr bool SIGNED = true;
    static constexpr int OFFSET = 0, MIN_AT = 0;

    SHOESTRING_INLINE static void pack(Rows in, uint8_t* out) {
        Ints head[4];
        load_words(in.data, in.stride, head);
        store_u16(out, head[0]);
        spread(in, 2, 8, out + 32);
    }

    SHOESTRING_INLINE static Bytes quants(const uint8_t* block, int v, int place) {
        return load_bytes(block + 32 + 64 * v + place);
    }
};

}  // namespace
}  // namespace SHOESTRING_VARIANT

#else

namespace shoestring {
namespace {

template <>
struct Numbers<WeightType::Q8_0> {
    static void of_file(const uint8_t* block, float* out) {
        const float d = from_half(block);
        for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * d;
    }
    static void of_packed(const uint8_t* packed, int row, float* out) {
        uint8_t block[34];
        std::memcpy(block, packed + 2 * row, 2);
        collect(packed + 32, 8, row, block + 2);
        of_file(block, out);
    }
};

}  // namespace
}  // namespace shoestring

#endif
