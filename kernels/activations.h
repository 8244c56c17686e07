// Activations as the integer dots read them: int8 in [-127, 127] with one float scale a block of 32 or 256.
//
// Blocks are quantized as in quantize.h; a block with an infinity or NaN makes every output it touches NaN.
//
// Beside the quants stand sums of them, and from these the words with which the dots of each variant start (bytes.h).
#pragma once

#include "dots.h"
#include "quantize.h"

namespace SHOESTRING_VARIANT {
namespace {

// Words of 256 quants: of 8, 16 and 32 columns.
struct ColumnWords {
    Words eights[4], sixteens[2], all;

    SHOESTRING_INLINE explicit ColumnWords(const int8_t* quants) {
        for (int i = 0; i < 4; ++i) eights[i] = eight_columns(quants + 64 * i);
        for (int i = 0; i < 2; ++i) sixteens[i] = halved(eights[2 * i], eights[2 * i + 1]);
        all = halved(sixteens[0], sixteens[1]);
    }
    SHOESTRING_INLINE const Words* of(int columns) const {
        return columns == 32 ? &all : columns == 16 ? sixteens : eights;
    }
};

// The sums of `count` blocks (up to 8), whose quants are followed by zeros up to 256.
SHOESTRING_INLINE void sum_blocks_32(const int8_t* quants, int count, Block32* blocks) {
    const Words all = ColumnWords(quants).all;
    int32_t sums[8], starts[length(OFFSETS_32)][8];
    store_words(sums, totals(all));
    for (int i = 0; i < length(OFFSETS_32); ++i) store_words(starts[i], start_words(OFFSETS_32[i], all));
    for (int b = 0; b < count; ++b) {
        blocks[b].scaled_sum = blocks[b].scale * static_cast<float>(sums[b]);
        for (int i = 0; i < length(OFFSETS_32); ++i) blocks[b].start[i] = starts[i][b];
    }
}

void quantize_32(const float* x, int64_t columns, int8_t* quants, Block32* blocks) {
    for (int64_t b = 0; b < columns / 32; ++b) blocks[b].scale = quantize_values<2>(x + 32 * b, quants + 32 * b);
    int64_t k = 0;
    for (; k + 256 <= columns; k += 256) sum_blocks_32(quants + k, 8, blocks + k / 32);
    if (k < columns) {
        int8_t rest[256] = {};
        std::memcpy(rest, quants + k, static_cast<size_t>(columns - k));
        sum_blocks_32(rest, static_cast<int>((columns - k) / 32), blocks + k / 32);
    }
}

// The start words of each class, blocks ascending; null: not wanted.
using StartsOfClasses = int32_t * [length(STARTS_256)];

void quantize_256(const float* x, int64_t columns, int8_t* quants, Block256* blocks, const StartsOfClasses& starts) {
    for (int64_t b = 0; b < columns / 256; ++b) {
        Block256& block = blocks[b];
        block.scale = quantize_values<16>(x + 256 * b, quants + 256 * b);
        const ColumnWords words(quants + 256 * b);
        store_pairs(block.sums, totals(words.all));
        for (int c = 0; c < length(STARTS_256); ++c) {
            if (starts[c] == nullptr) continue;
            const int registers = 32 / STARTS_256[c].columns;
            const Words* from = words.of(STARTS_256[c].columns);
            int32_t* to = starts[c] + 8 * registers * b;
            for (int i = 0; i < registers; ++i) store_words(to + 8 * i, start_words(STARTS_256[c].offset, from[i]));
        }
    }
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
