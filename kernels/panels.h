// Many tokens: groups unpacked once, some columns at a time, to a panel of bytes that tiles of the dots read.
//
// The columns of a panel are so few that it stays in the cache while all tokens pass by; their accumulators wait in
// memory. Another instruction set may have panels of its own (panels_amx.h, panels_i8mm.h). All give:
//
//   PANEL_TOKENS         tokens from which a panel pays
//   PANEL_BYTES          memory of panel_product, 64-byte aligned
//   panel_product<type, GROUPS>(rows, columns, tokens, count, memory, out)   out [MOST_PANEL_TOKENS][TILE_GROUPS][16]
//   arrange(tokens, count, columns, memory)   prepares tokens for many products; `memory`: arranged_bytes(most
//                        tokens, columns)
#pragma once

#include "dots.h"

namespace SHOESTRING_VARIANT {
namespace {

// Most tokens of a call.
constexpr int64_t MOST_PANEL_TOKENS = 240;

constexpr int64_t PANEL_TOKENS = TILE_TOKENS + 1;
constexpr int64_t PANEL_COLUMNS = 2048;
constexpr int64_t PANEL_BYTES = PANEL_COLUMNS * shoestring::GROUP_ROWS * TILE_GROUPS;
// More than TILE_TOKENS tokens, cut into tiles of nearly equal size, leave none with fewer than this. The last part of
// many tokens may have fewer: its last token then takes the empty places as well.
constexpr int LEAST_PANEL_TOKENS = TILE_TOKENS / 2;

using PanelProduct = void (*)(const TileRows& rows, int64_t columns, const Token* tokens, int64_t count,
                              uint8_t* memory, float* out);

constexpr int64_t arranged_bytes(int64_t, int64_t) { return 0; }
SHOESTRING_INLINE void arrange(Token*, int64_t, int64_t, int8_t*) {}

template <WeightType type>
void unpack_panel(const uint8_t* group, int64_t columns, uint8_t* panel) {
    using L = Layout<type>;
    constexpr int vectors = L::FORMAT.block / 4;
    for (int64_t b = 0; b < columns / L::FORMAT.block; ++b, group += L::FORMAT.packed_bytes) {
        for (int part = 0; part < GROUP_PARTS; ++part) {
            uint8_t* out = panel + VECTOR_ROWS * (part * columns + b * L::FORMAT.block);
            SHOESTRING_UNROLL(64)
            for (int v = 0; v < vectors; ++v)
                store_bytes(out + VECTOR_BYTES * v, prepare<L::SIGNED>(L::quants(group, v, VECTOR_BYTES * part)));
        }
    }
}

template <WeightType type>
SHOESTRING_INLINE Token token_at(const Token& token, int64_t column) {
    constexpr int sums = 256 / starts_of(type).columns;
    if constexpr (Layout<type>::FORMAT.activation == shoestring::Activation::INT8_32)
        return {nullptr, token.quants + column, token.blocks_32 + column / 32, nullptr, nullptr};
    return {nullptr, token.quants + column, nullptr, token.blocks_256 + column / 256,
            token.starts == nullptr ? nullptr : token.starts + column / 256 * sums};
}

template <WeightType type, int GROUPS, int TOKENS>
SHOESTRING_INLINE void tile_of_size(int size, const TileRows& rows, int64_t columns, const Token* tokens, float* out) {
    if (size == TOKENS) return tile<type, GROUPS, TOKENS, true>(rows, columns, tokens, out);
    if constexpr (TOKENS > LEAST_PANEL_TOKENS) tile_of_size<type, GROUPS, TOKENS - 1>(size, rows, columns, tokens, out);
}

template <WeightType type, int GROUPS>
void panel_product(const TileRows& rows, int64_t columns, const Token* tokens, int64_t count, uint8_t* memory,
                   float* out) {
    constexpr shoestring::WeightFormat format = Layout<type>::FORMAT;
    const int64_t last = count - 1;
    if (count < LEAST_PANEL_TOKENS) count = LEAST_PANEL_TOKENS;
    std::memset(out, 0, static_cast<size_t>(count * TILE_GROUPS * shoestring::GROUP_ROWS) * 4);
    for (int64_t column = 0; column < columns; column += PANEL_COLUMNS) {
        const int64_t width = columns - column < PANEL_COLUMNS ? columns - column : PANEL_COLUMNS;
        const TileRows part{rows.data + column / format.block * format.packed_bytes, rows.stride, memory,
                            width * shoestring::GROUP_ROWS};
        for (int g = 0; g < GROUPS; ++g)
            unpack_panel<type>(part.data + g * part.stride, width, memory + g * part.panel_stride);
        for (int64_t first = 0; first < count;) {
            const int64_t left = count - first, tiles = (left + TILE_TOKENS - 1) / TILE_TOKENS;
            const int size = static_cast<int>((left + tiles - 1) / tiles);
            Token at[TILE_TOKENS];
            for (int i = 0; i < size; ++i) at[i] = token_at<type>(tokens[first + i < last ? first + i : last], column);
            tile_of_size<type, GROUPS, TILE_TOKENS>(size, part, width, at,
                                                    out + first * TILE_GROUPS * shoestring::GROUP_ROWS);
            first += size;
        }
    }
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
