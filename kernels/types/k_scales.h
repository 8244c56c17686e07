// What Q4_K and Q5_K share: eight 6-bit sub-scales and sub-mins in 12 bytes of a file; in the packed form a byte each.
#pragma once

#include "format.h"

#ifdef SHOESTRING_VARIANT

namespace SHOESTRING_VARIANT {
namespace {

// d, dmin, then the eight scales and the eight mins in pairs: 320 bytes.
SHOESTRING_INLINE void pack_k_head(Rows in, uint8_t* out) {
    Ints head[4];
    load_words(in.data, in.stride, head);
    const Ints six = set1(0x3f3f3f3f), four = set1(0x0f0f0f0f), two = set1(0x30303030);
    const Ints a = head[1], b = head[2], c = head[3];
    store_halves(out, head[0]);
    store_halves(out + 64, bit_and(a, six));
    store_halves(out + 128, bit_or(bit_and(c, four), bit_and(shift_right<2>(a), two)));
    store_halves(out + 192, bit_and(b, six));
    store_halves(out + 256, bit_or(bit_and(shift_right<4>(c), four), bit_and(shift_right<2>(b), two)));
}

}  // namespace
}  // namespace SHOESTRING_VARIANT

#else

namespace shoestring {
namespace {

// w = d · scale · q - dmin · min; high: the fifth bits of Q5_K, null for Q4_K.
inline void dequantize_k(float d, float dmin, const uint8_t* scales, const uint8_t* mins, const uint8_t* high,
                         const uint8_t* quants, float* out) {
    for (int sub = 0; sub < 8; ++sub) {
        const float scale = d * static_cast<float>(scales[sub]);
        const float offset = dmin * static_cast<float>(mins[sub]);
        for (int i = 0; i < 32; ++i) {
            const int byte = quants[sub / 2 * 32 + i];
            int quant = sub % 2 ? byte >> 4 : byte & 15;
            if (high != nullptr) quant |= (high[i] >> sub & 1) << 4;
            out[32 * sub + i] = scale * static_cast<float>(quant) - offset;
        }
    }
}

inline void dequantize_file_k(const uint8_t* block, bool five, float* out) {
    const uint8_t* bytes = block + 4;
    uint8_t scales[8], mins[8];
    for (int sub = 0; sub < 4; ++sub) {
        scales[sub] = bytes[sub] & 63;
        mins[sub] = bytes[sub + 4] & 63;
        scales[sub + 4] = static_cast<uint8_t>((bytes[sub + 8] & 15) | bytes[sub] >> 6 << 4);
        mins[sub + 4] = static_cast<uint8_t>(bytes[sub + 8] >> 4 | bytes[sub + 4] >> 6 << 4);
    }
    dequantize_k(from_half(block), from_half(block + 2), scales, mins, five ? block + 16 : nullptr,
                 block + (five ? 48 : 16), out);
}

inline void dequantize_packed_k(const uint8_t* packed, int row, bool five, float* out) {
    uint8_t scales[8], mins[8], words[160];
    collect_pairs(packed + 64, 8, row, scales);
    collect_pairs(packed + 192, 8, row, mins);
    collect(packed + 320, five ? 40 : 32, row, words);
    dequantize_k(from_half(packed + 2 * row), from_half(packed + 32 + 2 * row), scales, mins, five ? words : nullptr,
                 words + (five ? 32 : 0), out);
}

}  // namespace
}  // namespace shoestring

#endif
