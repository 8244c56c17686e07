// The integer dots of block-quantized weights with quantized activations: what a tile is, and which file has it.
//
// A tile is 16 rows (a group of a packed matrix) times 1 … TILE_TOKENS tokens over the whole inner dimension. Every
// variant gives the same bits: the integer sum of a block (Q8_0, Q4_0, Q4_1, Q5_0: 32 columns; K-quants: 256, with
// their integer sub-scales) is exact, and the float steps are, blocks ascending, from acc = 0:
//
//   Q8_0, Q4_0, Q5_0   acc = fma(float(Σ w a), d · da, acc)
//   Q4_1               the same with unsigned w, then acc = fma(m, da · float(Σ a), acc)
//   Q6_K               acc = fma(float(Σ sub-scale · Σ w a), d · da, acc)
//   Q4_K, Q5_K         the same with unsigned w, then acc = fma(-float(Σ sub-min · Σ a), dmin · da, acc)
//
// Bounds of the super-block's int32: Q4_K 63 · 15 · 127 · 256 = 30.7 M, Q5_K 63.5 M, Q6_K 128 · 32 · 127 · 256 =
// 133 M, mins 63 · 127 · 256 = 2.05 M. Past 2^24 float() rounds to nearest even, everywhere alike.
#pragma once

#include "lanes.h"
#include "weights.h"

// Loops over registers. Sanitized and debug builds stay rolled: unrolled they take minutes to compile.
#if defined(__clang__) && defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SHOESTRING_UNROLL(n)
#endif
#endif
#if !defined(SHOESTRING_UNROLL)
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
#define SHOESTRING_PRAGMA(text) _Pragma(#text)
#define SHOESTRING_UNROLL(n) SHOESTRING_PRAGMA(GCC unroll n)
#else
#define SHOESTRING_UNROLL(n)
#endif
#endif

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::WeightType;

constexpr int TILE_TOKENS = 6;

// Quantized activations of 32 columns; see activations.h for the pairs.
struct Block32 {
    float scale;
    float scaled_sum;
    int32_t minus_8;
    int32_t minus_16;
};

// Of 256 columns: pairs for each 16, each 32; sums of neighbouring 32s.
struct Block256 {
    float scale;
    int32_t minus_32[16];
    int32_t minus_16[8];
    int32_t sums[4];
};

struct PairSums {
    int32_t first, second;
};

// One token as a tile reads it; the members that the weight's type does not use may be null.
struct Token {
    const float* x;
    const int8_t* quants;
    const Block32* blocks_32;
    const Block256* blocks_256;
};

}  // namespace
}  // namespace SHOESTRING_VARIANT

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "dots_avx2.h"
#else
#include "dots_scalar.h"
#endif
