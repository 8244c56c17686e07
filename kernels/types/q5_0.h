// Q5_0: 32 columns, w = d · (q - 16), q in [0, 31].
//
//   d half [16] · high words [1][16] · quants words [4][16]           352 bytes
//
// The fifth bit of element 4v + b (v = 0 … 7) is bit v of byte b; a file has it at bit 4v + b.
#pragma once

#include "format.h"

namespace shoestring {
constexpr WeightFormat Q5_0_FORMAT{"Q5_0", 32, 22, 352, Activation::INT8_32};
}

#ifdef SHOESTRING_VARIANT

namespace SHOESTRING_VARIANT {
namespace {

template <>
struct Layout<WeightType::Q5_0> {
    static constexpr shoestring::WeightFormat FORMAT = shoestring::Q5_0_FORMAT;
    static constexpr bool SIGNED = false;
    static constexpr int OFFSET = 16, MIN_AT = 0;

    SHOESTRING_INLINE static void pack(Rows in, uint8_t* out) {
        Ints head[4], words[4];
        load_words(in.data, in.stride, head);
        store_u16(out, head[0]);
        load_words(in.data + 2, in.stride, words);
        store(out + 32, transpose_high_bits(words[0]));
        spread(in, 6, 4, out + 96);
    }

    SHOESTRING_INLINE static Bytes quants(const uint8_t* block, int v, int place) {
        const Bytes low = nibbles(load_bytes(block + 96 + 64 * (v % 4) + place), v >= 4);
        return either(low, moved_bits(load_bytes(block + 32 + place), 4 - v, 16));
    }

  private:
    template <int BIT>
    SHOESTRING_INLINE static Ints high_bits(Ints bits) {
        const Ints nibble = bit_and(shift_right<4 * BIT>(bits), set1(15));
        return shift_left<BIT>(bit_and(mul(nibble, set1(0x00204081)), set1(0x01010101)));
    }

    SHOESTRING_INLINE static Ints transpose_high_bits(Ints bits) {
        const Ints low =
            bit_or(bit_or(high_bits<0>(bits), high_bits<1>(bits)), bit_or(high_bits<2>(bits), high_bits<3>(bits)));
        const Ints high =
            bit_or(bit_or(high_bits<4>(bits), high_bits<5>(bits)), bit_or(high_bits<6>(bits), high_bits<7>(bits)));
        return bit_or(low, high);
    }
};

}  // namespace
}  // namespace SHOESTRING_VARIANT

#else

namespace shoestring {
namespace {

template <>
struct Numbers<WeightType::Q5_0> {
    static void of_file(const uint8_t* block, float* out) {
        const float d = from_half(block);
        uint32_t high;
        std::memcpy(&high, block + 2, 4);
        for (int i = 0; i < 16; ++i) {
            const int low = (block[6 + i] & 15) | static_cast<int>(high >> i & 1) << 4;
            const int top = (block[6 + i] >> 4) | static_cast<int>(high >> (i + 16) & 1) << 4;
            out[i] = static_cast<float>(low - 16) * d;
            out[i + 16] = static_cast<float>(top - 16) * d;
        }
    }
    static void of_packed(const uint8_t* packed, int row, float* out) {
        uint8_t block[22];
        std::memcpy(block, packed + 2 * row, 2);
        const uint8_t* bits = packed + 32 + 4 * row;
        uint32_t high = 0;
        for (int e = 0; e < 32; ++e) high |= static_cast<uint32_t>(bits[e % 4] >> e / 4 & 1) << e;
        std::memcpy(block + 2, &high, 4);
        collect(packed + 96, 4, row, block + 6);
        of_file(block, out);
    }
};

}  // namespace
}  // namespace shoestring

#endif
