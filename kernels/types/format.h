// What every weight type says of itself, and what the files beside this one share.
//
// Owns: the enumeration of the types and the vocabulary of their files. A file here has all of one type:
//   - its WeightFormat, with the layout of a block of 16 rows in its head;
//   - inside a variant, a Layout: `pack` interleaves a block of 16 rows, `quants` unpacks bytes for the integer dots;
//   - elsewhere, its Numbers: `of_file` and `of_packed` dequantize a block, rounded as in ggml.
// A new type is a new file, a line in types.h, and a row of docs/numerics.md.
//
// "words" are 4-byte pieces of a row's block; "[n][16]" means n such pieces, each for the 16 rows in turn (64 bytes a
// piece of words). Bits inside a byte stay as the file has them, unless the type says otherwise.
#pragma once

#include <cstdint>
#include <cstring>

namespace shoestring {

enum class WeightType : int { F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q4_K, Q5_K, Q6_K };

constexpr int NUM_WEIGHT_TYPES = 10;
constexpr int GROUP_ROWS = 16;

// How a product reads the activations: as they are, or as int8 with a scale for each 32 or 256 of them.
enum class Activation : int { FLOAT, INT8_32, INT8_256 };

struct WeightFormat {
    const char* name;
    int block;         // columns of a block
    int file_bytes;    // of a row's block in a file
    int packed_bytes;  // of a group's block, 16 rows
    Activation activation;
};

}  // namespace shoestring

#ifdef SHOESTRING_VARIANT

#include "../bytes.h"

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::WeightType;

// 16 rows of a block: row r at data + r * stride.
struct Rows {
    const uint8_t* data;
    int64_t stride;
};

// `count` words of every row, a multiple of 4, from byte `at` of the block on.
SHOESTRING_INLINE void spread(Rows in, int64_t at, int count, uint8_t* out) {
    for (int i = 0; i < count; i += 4) {
        Ints words[4];
        load_words(in.data + at + 4 * i, in.stride, words);
        for (int j = 0; j < 4; ++j) store(out + 64 * (i + j), words[j]);
    }
}

// The low halves of all lanes, then the high ones.
SHOESTRING_INLINE void store_halves(uint8_t* out, Ints words) {
    store_u16(out, words);
    store_u16(out + 32, shift_right<16>(words));
}

// Specialised by each file. For types with quants it also says:
//   OFFSET         what the product subtracts from the bytes of `quants`; SIGNED: they are int8 and nothing is
//   MIN_AT         types of 32 columns: where m begins, 0 without one
//   SUB            types of 256 columns: the columns of a sub-scale
//   SCALES_AT, SIGNED_SCALES, MINS_AT: where pairs of sub-scales and of sub-mins begin, 0 without mins
template <WeightType>
struct Layout;

}  // namespace
}  // namespace SHOESTRING_VARIANT

#else

namespace shoestring {
namespace {

inline float as_float(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

// IEEE half to float, exact; NaN payloads kept.
inline float from_half(const uint8_t* p) {
    const uint32_t half = p[0] | static_cast<uint32_t>(p[1]) << 8;
    const uint32_t sign = (half & 0x8000) << 16;
    const uint32_t exponent = half >> 10 & 31, mantissa = half & 1023;
    if (exponent == 31) return as_float(sign | 0x7f800000 | mantissa << 13);
    if (exponent != 0) return as_float(sign | (exponent + 112) << 23 | mantissa << 13);
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
}

// One row's words and scale pairs out of a packed block; the inverse of packing.
inline void collect(const uint8_t* packed, int count, int row, uint8_t* words) {
    for (int i = 0; i < count; ++i) std::memcpy(words + 4 * i, packed + 64 * i + 4 * row, 4);
}

inline void collect_pairs(const uint8_t* packed, int count, int row, uint8_t* bytes) {
    for (int i = 0; i < count; i += 2) std::memcpy(bytes + i, packed + 16 * i + 2 * row, 2);
}

// Specialised by each file.
template <WeightType>
struct Numbers;

}  // namespace
}  // namespace shoestring

#endif
