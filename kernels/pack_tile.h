// Packing whole tiles of a matrix, with edges, by the `pack` of each type. Moves bits, computes nothing.
#pragma once

#include "pack_table.h"

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::format;
using shoestring::GROUP_ROWS;
using shoestring::Region;
using shoestring::WeightFormat;

template <WeightType TYPE>
void pack_blocks(const Region& tile, uint8_t* packed, int64_t group_stride) {
    constexpr WeightFormat f = format(TYPE);
    for (int64_t row = 0; row < tile.rows; row += GROUP_ROWS, packed += group_stride) {
        const int64_t rows = tile.rows - row < GROUP_ROWS ? tile.rows - row : GROUP_ROWS;
        const uint8_t* in = tile.data + row * tile.row_stride;
        uint8_t* out = packed;
        for (int64_t column = 0; column < tile.columns; column += f.block) {
            if (rows == GROUP_ROWS) {
                Layout<TYPE>::pack({in, tile.row_stride}, out);
            } else {
                uint8_t padded[GROUP_ROWS * f.file_bytes] = {};
                for (int64_t r = 0; r < rows; ++r)
                    std::memcpy(padded + r * f.file_bytes, in + r * tile.row_stride, size_t{f.file_bytes});
                Layout<TYPE>::pack({padded, f.file_bytes}, out);
            }
            in += f.file_bytes;
            out += f.packed_bytes;
        }
    }
}

// Up to 16 rows and as many columns as 16 bytes have, wherever the elements lie.
template <WeightType TYPE>
void pack_edge(const uint8_t* in, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t columns,
               uint8_t* out) {
    constexpr int64_t item = format(TYPE).file_bytes;
    uint8_t padded[GROUP_ROWS * 16] = {}, whole[256];
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c)
            std::memcpy(padded + 16 * r + item * c, in + r * row_stride + c * column_stride, size_t{item});
    Layout<TYPE>::pack({padded, 16}, whole);
    const int64_t even = TYPE == WeightType::BF16 ? (columns + 1) / 2 * 2 : columns;
    std::memcpy(out, whole, static_cast<size_t>(even * GROUP_ROWS * item));
}

// Columns that are contiguous: 16 rows of `columns` columns, an even number for BF16.
template <WeightType TYPE>
SHOESTRING_INLINE void pack_columns(const uint8_t* in, int64_t column_stride, int64_t columns, uint8_t* out) {
    if constexpr (TYPE == WeightType::BF16) {
        for (int64_t c = 0; c < columns; c += 2, in += 2 * column_stride, out += 64)
            store(out, bit_or(load_u16(in), shift_left<16>(load_u16(in + column_stride))));
    } else {
        constexpr size_t bytes = size_t{format(TYPE).packed_bytes};
        for (int64_t c = 0; c < columns; ++c, in += column_stride, out += bytes) std::memcpy(out, in, bytes);
    }
}

template <WeightType TYPE>
void pack_float_tile(const Region& tile, uint8_t* packed, int64_t group_stride) {
    constexpr int64_t item = format(TYPE).file_bytes, column_bytes = format(TYPE).packed_bytes, step = 16 / item;
    constexpr int64_t STRIP = 64;  // columns at a time: a cache line of a contiguous column serves several groups
    for (int64_t strip = 0; strip < tile.columns; strip += STRIP) {
        const int64_t end = strip + STRIP < tile.columns ? strip + STRIP : tile.columns;
        for (int64_t row = 0; row < tile.rows; row += GROUP_ROWS) {
            const int64_t rows = tile.rows - row < GROUP_ROWS ? tile.rows - row : GROUP_ROWS;
            const uint8_t* in = tile.data + row * tile.row_stride;
            uint8_t* out = packed + row / GROUP_ROWS * group_stride;
            int64_t c = strip;
            if (rows == GROUP_ROWS && tile.row_stride == item && tile.column_stride != item) {
                const int64_t columns = (end - c) / 2 * 2;
                pack_columns<TYPE>(in + c * tile.column_stride, tile.column_stride, columns, out + c * column_bytes);
                c += columns;
            } else if (rows == GROUP_ROWS && tile.column_stride == item) {
                for (; c + step <= end; c += step)
                    Layout<TYPE>::pack({in + c * item, tile.row_stride}, out + c * column_bytes);
            }
            for (; c < end; c += step)
                pack_edge<TYPE>(in + c * tile.column_stride, tile.row_stride, tile.column_stride, rows,
                                end - c < step ? end - c : step, out + c * column_bytes);
        }
    }
}

void pack_tile(WeightType type, const Region& tile, uint8_t* packed, int64_t group_stride) {
    switch (type) {
#define SHOESTRING_PACK_FLOATS(name) \
    case WeightType::name:           \
        return pack_float_tile<WeightType::name>(tile, packed, group_stride);
#define SHOESTRING_PACK_BLOCKS(name) \
    case WeightType::name:           \
        return pack_blocks<WeightType::name>(tile, packed, group_stride);
        SHOESTRING_FLOAT_TYPES(SHOESTRING_PACK_FLOATS)
        SHOESTRING_QUANTIZED_TYPES(SHOESTRING_PACK_BLOCKS)
#undef SHOESTRING_PACK_FLOATS
#undef SHOESTRING_PACK_BLOCKS
    }
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
