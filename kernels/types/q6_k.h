// Q6_K: 256 columns in 16 sub-blocks of 16, w = d · scale · (q - 32), q in [0, 63].
//
//   d half [16] · scales s8 [8][16][2] · low words [32][16] · high words [16][16]      3360 bytes
#pragma once

#include "format.h"

namespace shoestring {
constexpr WeightFormat Q6_K_FORMAT{"Q6_K", 256, 210, 3360, Activation::INT8_256};
}

#ifdef SHOESTRING_VARIANT

namespace SHOESTRING_VARIANT {
namespace {

template <>
struct Layout<WeightType::Q6_K> {
    static constexpr shoestring::WeightFormat FORMAT = shoestring::Q6_K_FORMAT;
    static constexpr bool SIGNED = false, SIGNED_SCALES = true;
    static constexpr int OFFSET = 32, SUB = 16, SCALES_AT = 32, MINS_AT = 0;

    SHOESTRING_INLINE static void pack(Rows in, uint8_t* out) {
        Ints words[4];
        load_words(in.data + 194, in.stride, words);  // ends with d
        store_u16(out, shift_right<16>(words[3]));
        load_words(in.data + 192, in.stride, words);
        for (int i = 0; i < 4; ++i) store_halves(out + 32 + 64 * i, words[i]);
        spread(in, 0, 48, out + 288);
    }

    SHOESTRING_INLINE static Bytes quants(const uint8_t* block, int v, int place) {
        const int part = v / 32, quarter = v / 8 % 4;
        const Bytes low =
            nibbles(load_bytes(block + 288 + 64 * (part * 16 + quarter % 2 * 8 + v % 8) + place), quarter >= 2);
        return either(low, moved_bits(load_bytes(block + 2336 + 64 * (part * 8 + v % 8) + place), 4 - 2 * quarter, 48));
    }
};

}  // namespace
}  // namespace SHOESTRING_VARIANT

#else

namespace shoestring {
namespace {

template <>
struct Numbers<WeightType::Q6_K> {
    static void of_file(const uint8_t* block, float* out) {
        dequantize(from_half(block + 208), reinterpret_cast<const int8_t*>(block + 192), block, block + 128, out);
    }
    static void of_packed(const uint8_t* packed, int row, float* out) {
        uint8_t scales[16], words[192];
        collect_pairs(packed + 32, 16, row, scales);
        collect(packed + 288, 48, row, words);
        dequantize(from_half(packed + 2 * row), reinterpret_cast<const int8_t*>(scales), words, words + 128, out);
    }

  private:
    static void dequantize(float d, const int8_t* scales, const uint8_t* low, const uint8_t* high, float* out) {
        for (int i = 0; i < 256; ++i) {
            const int half = i / 128, quarter = i / 32 % 4, place = i % 32;
            const int byte = low[half * 64 + quarter % 2 * 32 + place];
            const int top = high[half * 32 + place] >> (2 * quarter) & 3;
            const int quant = ((quarter >= 2 ? byte >> 4 : byte & 15) | top << 4) - 32;
            out[i] = d * static_cast<float>(scales[i / 16]) * static_cast<float>(quant);
        }
    }
};

}  // namespace
}  // namespace shoestring

#endif
