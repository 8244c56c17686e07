// Packing: the bytes of 16 rows of a file, interleaved as weights.h says. Moves bits, computes nothing.
#pragma once

#include "lanes.h"
#include "pack_table.h"

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::format;
using shoestring::GROUP_ROWS;
using shoestring::Region;
using shoestring::WeightFormat;
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

template <int BIT>
SHOESTRING_INLINE Ints high_bits(Ints bits) {
    const Ints nibble = bit_and(shift_right<4 * BIT>(bits), set1(15));
    return shift_left<BIT>(bit_and(mul(nibble, set1(0x00204081)), set1(0x01010101)));
}

// Fifth bits of 32 elements: bit 4v + b ↔ bit v of byte b.
SHOESTRING_INLINE Ints transpose_high_bits(Ints bits) {
    const Ints low =
        bit_or(bit_or(high_bits<0>(bits), high_bits<1>(bits)), bit_or(high_bits<2>(bits), high_bits<3>(bits)));
    const Ints high =
        bit_or(bit_or(high_bits<4>(bits), high_bits<5>(bits)), bit_or(high_bits<6>(bits), high_bits<7>(bits)));
    return bit_or(low, high);
}

// The eight 6-bit scales, then the eight 6-bit mins of Q4_K and Q5_K blocks, in pairs; `words`: the 12 bytes of each.
SHOESTRING_INLINE void unpack_scales(const Ints words[3], uint8_t* scales, uint8_t* mins) {
    const Ints six = set1(0x3f3f3f3f), four = set1(0x0f0f0f0f), two = set1(0x30303030);
    const Ints a = words[0], b = words[1], c = words[2];
    store_halves(scales, bit_and(a, six));
    store_halves(scales + 64, bit_or(bit_and(c, four), bit_and(shift_right<2>(a), two)));
    store_halves(mins, bit_and(b, six));
    store_halves(mins + 64, bit_or(bit_and(shift_right<4>(c), four), bit_and(shift_right<2>(b), two)));
}

template <WeightType TYPE>
SHOESTRING_INLINE void pack_block(Rows in, uint8_t* out) {
    Ints head[4];
    load_words(in.data, in.stride, head);
    if constexpr (TYPE == WeightType::Q8_0) {
        store_u16(out, head[0]);
        spread(in, 2, 8, out + 32);
    } else if constexpr (TYPE == WeightType::Q4_0) {
        store_u16(out, head[0]);
        spread(in, 2, 4, out + 32);
    } else if constexpr (TYPE == WeightType::Q4_1) {
        store_halves(out, head[0]);
        spread(in, 4, 4, out + 64);
    } else if constexpr (TYPE == WeightType::Q5_0) {
        store_u16(out, head[0]);
        Ints words[4];
        load_words(in.data + 2, in.stride, words);
        store(out + 32, transpose_high_bits(words[0]));
        spread(in, 6, 4, out + 96);
    } else if constexpr (TYPE == WeightType::Q4_K || TYPE == WeightType::Q5_K) {
        store_halves(out, head[0]);
        unpack_scales(head + 1, out + 64, out + 192);
        spread(in, 16, TYPE == WeightType::Q5_K ? 40 : 32, out + 320);
    } else {
        static_assert(TYPE == WeightType::Q6_K);
        Ints words[4];
        load_words(in.data + 194, in.stride, words);  // ends with d
        store_u16(out, shift_right<16>(words[3]));
        load_words(in.data + 192, in.stride, words);
        for (int i = 0; i < 4; ++i) store_halves(out + 32 + 64 * i, words[i]);
        spread(in, 0, 48, out + 288);
    }
}

template <WeightType TYPE>
void pack_blocks(const Region& tile, uint8_t* packed, int64_t group_stride) {
    constexpr WeightFormat f = format(TYPE);
    for (int64_t row = 0; row < tile.rows; row += GROUP_ROWS, packed += group_stride) {
        const int64_t rows = tile.rows - row < GROUP_ROWS ? tile.rows - row : GROUP_ROWS;
        const uint8_t* in = tile.data + row * tile.row_stride;
        uint8_t* out = packed;
        for (int64_t column = 0; column < tile.columns; column += f.block) {
            if (rows == GROUP_ROWS) {
                pack_block<TYPE>({in, tile.row_stride}, out);
            } else {
                uint8_t padded[GROUP_ROWS * f.file_bytes] = {};
                for (int64_t r = 0; r < rows; ++r)
                    std::memcpy(padded + r * f.file_bytes, in + r * tile.row_stride, size_t{f.file_bytes});
                pack_block<TYPE>({padded, f.file_bytes}, out);
            }
            in += f.file_bytes;
            out += f.packed_bytes;
        }
    }
}

// 16 bytes of each of 16 rows, interleaved; 256 bytes.
template <WeightType TYPE>
SHOESTRING_INLINE void pack_floats(Rows in, uint8_t* out) {
    if constexpr (TYPE == WeightType::F16) {
        Ints words[4];
        load_words(in.data, in.stride, words);
        for (int j = 0; j < 4; ++j) store_halves(out + 64 * j, words[j]);
    } else {
        spread(in, 0, 4, out);  // F32, or pairs of BF16
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
    pack_floats<TYPE>({padded, 16}, whole);
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
                    pack_floats<TYPE>({in + c * item, tile.row_stride}, out + c * column_bytes);
            }
            for (; c < end; c += step)
                pack_edge<TYPE>(in + c * tile.column_stride, tile.row_stride, tile.column_stride, rows,
                                end - c < step ? end - c : step, out + c * column_bytes);
        }
    }
}

void pack_tile(WeightType type, const Region& tile, uint8_t* packed, int64_t group_stride) {
    switch (type) {
        case WeightType::F32:
            return pack_float_tile<WeightType::F32>(tile, packed, group_stride);
        case WeightType::F16:
            return pack_float_tile<WeightType::F16>(tile, packed, group_stride);
        case WeightType::BF16:
            return pack_float_tile<WeightType::BF16>(tile, packed, group_stride);
        case WeightType::Q8_0:
            return pack_blocks<WeightType::Q8_0>(tile, packed, group_stride);
        case WeightType::Q4_0:
            return pack_blocks<WeightType::Q4_0>(tile, packed, group_stride);
        case WeightType::Q4_1:
            return pack_blocks<WeightType::Q4_1>(tile, packed, group_stride);
        case WeightType::Q5_0:
            return pack_blocks<WeightType::Q5_0>(tile, packed, group_stride);
        case WeightType::Q4_K:
            return pack_blocks<WeightType::Q4_K>(tile, packed, group_stride);
        case WeightType::Q5_K:
            return pack_blocks<WeightType::Q5_K>(tile, packed, group_stride);
        case WeightType::Q6_K:
            return pack_blocks<WeightType::Q6_K>(tile, packed, group_stride);
    }
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
