// Panels of float weights, for every instruction set: some columns of the groups at a time, as floats that stay in the
// first-level cache while all tokens pass by. F16 and BF16 are widened once for them; F32 is read where it lies.
//
// The tokens of a tile lie side by side, column after column, so that a tile reads two streams: the panel and x. They
// are arranged so once for all groups (arrange_floats). Accumulators wait in memory from panel to panel:
// acc = fma(w, x, acc), columns ascending from acc = 0.
#pragma once

#include "dots.h"

namespace SHOESTRING_VARIANT {
namespace {

// Most tokens of a tile: the sums of its groups fill the registers.
constexpr int FLOAT_TILE = LANE_REGISTERS >= 32 ? 24 / TILE_GROUPS : float_tokens(WeightType::F32);
constexpr int LEAST_FLOAT_TILE = FLOAT_TILE / 2;  // of tokens cut into tiles of nearly equal size

// The plain variant has none: the others are compared with it.
constexpr bool HAS_FLOAT_PANELS = has_panel(WeightType::Q4_K);
constexpr int64_t FLOAT_PANEL_TOKENS = 48;                            // from which a panel pays
constexpr int64_t FLOAT_PANEL_COLUMNS = TILE_GROUPS > 1 ? 128 : 256;  // even: BF16 comes in pairs
constexpr int64_t FLOAT_PANEL_BYTES = FLOAT_PANEL_COLUMNS * shoestring::GROUP_ROWS * TILE_GROUPS * 4;

// take(first, size) for each tile of `count` tokens.
template <typename Take>
SHOESTRING_INLINE void each_float_tile(int64_t count, const Take& take) {
    for (int64_t first = 0; first < count;) {
        const int64_t left = count - first, tiles = (left + FLOAT_TILE - 1) / FLOAT_TILE;
        const int64_t size = (left + tiles - 1) / tiles;
        take(first, static_cast<int>(size));
        first += size;
    }
}

// Columns [begin, end) of `count` tokens, row(t) each, to where float_panel_product reads them: tile by tile, of a
// tile column by column. to: [count · columns], of the tokens of one product.
template <typename Row>
void arrange_floats(const Row& row, int64_t count, int64_t columns, int64_t begin, int64_t end, float* to) {
    alignas(64) float square[LANES * LANES] = {};  // 16 columns of each token of a tile
    each_float_tile(count, [&](int64_t first, int size) {
        float* tile = to + first * columns;
        for (int64_t k = begin; k < end; k += LANES) {
            const int width = static_cast<int>(end - k < LANES ? end - k : LANES);
            for (int t = 0; t < size; ++t) store(square + LANES * t, load(row(first + t) + k, width));
            for (int j = 0; j < width; j += 4) {
                Ints words[4];
                load_words(reinterpret_cast<const uint8_t*>(square + j), 4 * LANES, words);
                for (int i = 0; i < 4 && j + i < width; ++i)
                    store(tile + (k + j + i) * size, as_floats(words[i]), size);
            }
        }
    });
}

// `count` columns of a group; BF16: up to one more.
template <WeightType type>
SHOESTRING_INLINE void widen_columns(const uint8_t* group, int64_t count, float* panel) {
    static_assert(type == WeightType::F16 || type == WeightType::BF16);
    if constexpr (type == WeightType::F16) {
        const uint16_t* halves = reinterpret_cast<const uint16_t*>(group);
        for (int64_t k = 0; k < count; ++k) store(panel + LANES * k, load_f16(halves + LANES * k));
    } else {
        using L = Layout<WeightType::BF16>;
        const int32_t* pairs = reinterpret_cast<const int32_t*>(group);
        for (int64_t k = 0; k < count; k += 2) {
            const Ints pair = load(pairs + LANES / 2 * k);
            store(panel + LANES * k, L::even(pair));
            store(panel + LANES * (k + 1), L::odd(pair));
        }
    }
}

// What a tile asks for meanwhile: for each group of the next panel `step` bytes a column. Column by column where the
// instructions for it are few beside the others, else in one burst.
struct NextPanel {
    const uint8_t* data;
    int64_t stride, step;
};
constexpr bool ASKS_BY_COLUMN = TILE_GROUPS > 1;

// TOKENS tokens × the groups of a panel, which lie `stride` floats apart; goes on from `out`.
template <int GROUPS, int TOKENS>
void float_panel_tile(const float* x, const float* panel, int64_t stride, int64_t columns, NextPanel next, float* out) {
    constexpr int OUT = TILE_GROUPS * LANES;
    Lanes acc[TOKENS][GROUPS];
    SHOESTRING_UNROLL(24)
    for (int t = 0; t < TOKENS; ++t) {
        SHOESTRING_UNROLL(4)
        for (int g = 0; g < GROUPS; ++g) acc[t][g] = load(out + OUT * t + LANES * g);
    }
    for (int64_t k = 0; k < columns; ++k, panel += LANES, x += TOKENS) {
        Lanes w[GROUPS];
        SHOESTRING_UNROLL(4)
        for (int g = 0; g < GROUPS; ++g) {
            w[g] = load(panel + stride * g);
            if constexpr (ASKS_BY_COLUMN) prefetch_l2(next.data + next.stride * g);
        }
        next.data += next.step;
        prefetch(x + LANES * TOKENS);
        SHOESTRING_UNROLL(24)
        for (int t = 0; t < TOKENS; ++t) {
            const Lanes value = set1(x[t]);
            SHOESTRING_UNROLL(4)
            for (int g = 0; g < GROUPS; ++g) acc[t][g] = fma(w[g], value, acc[t][g]);
        }
    }
    SHOESTRING_UNROLL(24)
    for (int t = 0; t < TOKENS; ++t) {
        SHOESTRING_UNROLL(4)
        for (int g = 0; g < GROUPS; ++g) store(out + OUT * t + LANES * g, acc[t][g]);
    }
}

template <int GROUPS, int TOKENS = FLOAT_TILE>
SHOESTRING_INLINE void float_panel_tile_of_size(int size, const float* x, const float* panel, int64_t stride,
                                                int64_t columns, NextPanel next, float* out) {
    if (size == TOKENS) return float_panel_tile<GROUPS, TOKENS>(x, panel, stride, columns, next, out);
    if constexpr (TOKENS > LEAST_FLOAT_TILE)
        float_panel_tile_of_size<GROUPS, TOKENS - 1>(size, x, panel, stride, columns, next, out);
}

// As panel_product of panels.h. The first token's x: all tokens, arranged.
template <WeightType type, int GROUPS>
void float_panel_product(const TileRows& rows, int64_t columns, const Token* tokens, int64_t count, uint8_t* memory,
                         float* out) {
    constexpr int64_t column_bytes = Layout<type>::FORMAT.packed_bytes, OUT = TILE_GROUPS * shoestring::GROUP_ROWS;
    const float* x = tokens[0].x;
    std::memset(out, 0, static_cast<size_t>(count * OUT) * 4);
    for (int64_t column = 0; column < columns; column += FLOAT_PANEL_COLUMNS) {
        const int64_t width = columns - column < FLOAT_PANEL_COLUMNS ? columns - column : FLOAT_PANEL_COLUMNS;
        const uint8_t* data = rows.data + column * column_bytes;
        const float* panel = reinterpret_cast<const float*>(data);
        int64_t stride = rows.stride / 4;
        if constexpr (type != WeightType::F32) {
            float* widened = reinterpret_cast<float*>(memory);
            stride = FLOAT_PANEL_COLUMNS * LANES;
            for (int g = 0; g < GROUPS; ++g) widen_columns<type>(data + g * rows.stride, width, widened + g * stride);
            panel = widened;
        }
        // The next columns, or the first ones of the groups after these.
        const uint8_t* after =
            column + width < columns ? data + width * column_bytes : rows.data + GROUPS * rows.stride;
        each_float_tile(count, [&](int64_t first, int size) {
            const NextPanel next{after + width * column_bytes * first / count, rows.stride,
                                 column_bytes * size / count};
            if constexpr (!ASKS_BY_COLUMN)
                for (int64_t at = 0; at < width * next.step; at += 64)
                    for (int g = 0; g < GROUPS; ++g) prefetch_l2(next.data + next.stride * g + at);
            float_panel_tile_of_size<GROUPS>(size, x + first * columns + column * size, panel, stride, width, next,
                                             out + first * OUT);
        });
    }
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
