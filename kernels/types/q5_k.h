// Q5_K: 256 columns in 8 sub-blocks of 32, w = d · scale · q - dmin · min, q in [0, 31].
//
//   d half [16] · dmin half [16] · scales u8 [4][16][2] · mins u8 [4][16][2] · high words [8][16] · quants words
//   [32][16]
//                                                                     2880 bytes
#pragma once

#include "k_scales.h"

namespace shoestring {
constexpr WeightFormat Q5_K_FORMAT{"Q5_K", 256, 176, 2880, Activation::INT8_256};
}

#ifdef SHOESTRING_VARIANT

namespace SHOESTRING_VARIANT {
namespace {

template <>
struct Layout<WeightType::Q5_K> {
    static constexpr shoestring::WeightFormat FORMAT = shoestring::Q5_K_FORMAT;
    static constexpr bool SIGNED = false, SIGNED_SCALES = false;
    static constexpr int OFFSET = 0, SUB = 32, SCALES_AT = 64, MINS_AT = 192;

    SHOESTRING_INLINE static void pack(Rows in, uint8_t* out) {
        pack_k_head(in, out);
        spread(in, 16, 40, out + 320);
    }

    SHOESTRING_INLINE static Bytes quants(const uint8_t* block, int v, int place) {
        const Bytes low = nibbles(load_bytes(block + 832 + 64 * (v / 16 * 8 + v % 8) + place), v / 8 % 2);
        return either(low, moved_bits(load_bytes(block + 320 + 64 * (v % 8) + place), 4 - v / 8, 16));
    }
};

}  // namespace
}  // namespace SHOESTRING_VARIANT

#else

namespace shoestring {
namespace {

template <>
struct Numbers<WeightType::Q5_K> {
    static void of_file(const uint8_t* block, float* out) { dequantize_file_k(block, true, out); }
    static void of_packed(const uint8_t* packed, int row, float* out) { dequantize_packed_k(packed, row, true, out); }
};

}  // namespace
}  // namespace shoestring

#endif
