#include "weights.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace shoestring {
namespace {

uint32_t word(const uint8_t* p) {
    uint32_t w;
    std::memcpy(&w, p, 4);
    return w;
}

void put_word(uint8_t* p, uint32_t w) { std::memcpy(p, &w, 4); }

// `count` words of one row to their places among 16 rows.
void spread(const uint8_t* words, int count, uint8_t* packed, int row) {
    for (int i = 0; i < count; ++i) put_word(packed + 64 * i + 4 * row, word(words + 4 * i));
}

void spread_half(const uint8_t* half, uint8_t* packed, int row) { std::memcpy(packed + 2 * row, half, 2); }

// Bytes i and i + 1 of a row, for all even i < count, to [count / 2][16][2].
void spread_pairs(const uint8_t* bytes, int count, uint8_t* packed, int row) {
    for (int i = 0; i < count; i += 2) std::memcpy(packed + 16 * i + 2 * row, bytes + i, 2);
}

// Fifth bits of 32 elements: bit 4v + b ↔ bit v of byte b.
uint32_t transpose_high_bits(uint32_t bits) {
    uint32_t out = 0;
    for (int v = 0; v < 8; ++v) out |= (((bits >> 4 * v & 15) * 0x00204081u) & 0x01010101u) << v;
    return out;
}

// The eight 6-bit scales, then the eight 6-bit mins of a Q4_K or Q5_K block, from their 12 bytes.
void unpack_scales(const uint8_t* packed, uint8_t* scales, uint8_t* mins) {
    const uint32_t a = word(packed), b = word(packed + 4), c = word(packed + 8);
    put_word(scales, a & 0x3f3f3f3f);
    put_word(scales + 4, (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030));
    put_word(mins, b & 0x3f3f3f3f);
    put_word(mins + 4, (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030));
}

void pack_block(WeightType type, const uint8_t* in, uint8_t* out, int row) {
    switch (type) {
        case WeightType::Q8_0:
            spread_half(in, out, row);
            return spread(in + 2, 8, out + 32, row);
        case WeightType::Q4_0:
            spread_half(in, out, row);
            return spread(in + 2, 4, out + 32, row);
        case WeightType::Q4_1:
            spread_half(in, out, row);
            spread_half(in + 2, out + 32, row);
            return spread(in + 4, 4, out + 64, row);
        case WeightType::Q5_0:
            spread_half(in, out, row);
            put_word(out + 32 + 4 * row, transpose_high_bits(word(in + 2)));
            return spread(in + 6, 4, out + 96, row);
        case WeightType::Q4_K:
        case WeightType::Q5_K: {
            uint8_t scales[8], mins[8];
            unpack_scales(in + 4, scales, mins);
            spread_half(in, out, row);
            spread_half(in + 2, out + 32, row);
            spread_pairs(scales, 8, out + 64, row);
            spread_pairs(mins, 8, out + 192, row);
            return spread(in + 16, type == WeightType::Q5_K ? 40 : 32, out + 320, row);
        }
        case WeightType::Q6_K:
            spread_half(in + 208, out, row);
            spread_pairs(in + 192, 16, out + 32, row);
            return spread(in, 48, out + 288, row);
        default:
            return;
    }
}

template <WeightType type>
void pack_block_rows(const Region& region, int64_t first_row, uint8_t* packed) {
    constexpr WeightFormat f = format(type);
    const int64_t rows = region.rows - first_row < GROUP_ROWS ? region.rows - first_row : GROUP_ROWS;
    for (int64_t block = 0; block < region.columns / f.block; ++block) {
        const uint8_t* in = region.data + first_row * region.row_stride + block * f.file_bytes;
        for (int row = 0; row < rows; ++row) pack_block(type, in + row * region.row_stride, packed, row);
        packed += f.packed_bytes;
    }
}

// Elements of `bytes` (2 or 4); BF16 pairs two columns.
template <typename Element>
void pack_float_rows(const Region& region, int64_t first_row, bool pairs, uint8_t* packed) {
    const int64_t rows = region.rows - first_row < GROUP_ROWS ? region.rows - first_row : GROUP_ROWS;
    const uint8_t* in = region.data + first_row * region.row_stride;
    constexpr int64_t STRIP = 64;  // columns at a time: 16 short streams in, one out
    for (int64_t strip = 0; strip < region.columns; strip += STRIP) {
        const int64_t end = strip + STRIP < region.columns ? strip + STRIP : region.columns;
        for (int64_t row = 0; row < rows; ++row) {
            for (int64_t c = strip; c < end; ++c) {
                const int64_t place = pairs ? (c / 2 * GROUP_ROWS + row) * 2 + c % 2 : c * GROUP_ROWS + row;
                std::memcpy(packed + place * static_cast<int64_t>(sizeof(Element)),
                            in + row * region.row_stride + c * region.column_stride, sizeof(Element));
            }
        }
    }
}

void drop(const uint8_t* begin, const uint8_t* end) {
    const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t first = (reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page;
    const uintptr_t last = reinterpret_cast<uintptr_t>(end) / page * page;
    if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace

void pack_groups(WeightType type, const Region& region, int64_t begin, int64_t end, uint8_t* packed, bool drop_pages) {
    const int64_t bytes = group_bytes(type, region.columns);
    for (int64_t group = begin; group < end; ++group) {
        uint8_t* out = packed + group * bytes;
        const int64_t row = group * GROUP_ROWS;
        const bool odd_pairs = type == WeightType::BF16 && region.columns % 2 != 0;
        if (row + GROUP_ROWS > region.rows || odd_pairs) std::memset(out, 0, static_cast<size_t>(bytes));
        switch (type) {
            case WeightType::F32:
                pack_float_rows<uint32_t>(region, row, false, out);
                break;
            case WeightType::F16:
                pack_float_rows<uint16_t>(region, row, false, out);
                break;
            case WeightType::BF16:
                pack_float_rows<uint16_t>(region, row, true, out);
                break;
            case WeightType::Q8_0:
                pack_block_rows<WeightType::Q8_0>(region, row, out);
                break;
            case WeightType::Q4_0:
                pack_block_rows<WeightType::Q4_0>(region, row, out);
                break;
            case WeightType::Q4_1:
                pack_block_rows<WeightType::Q4_1>(region, row, out);
                break;
            case WeightType::Q5_0:
                pack_block_rows<WeightType::Q5_0>(region, row, out);
                break;
            case WeightType::Q4_K:
                pack_block_rows<WeightType::Q4_K>(region, row, out);
                break;
            case WeightType::Q5_K:
                pack_block_rows<WeightType::Q5_K>(region, row, out);
                break;
            case WeightType::Q6_K:
                pack_block_rows<WeightType::Q6_K>(region, row, out);
                break;
        }
    }
    const bool contiguous_rows =
        region.column_stride == 0 || format(type).block > 1 || region.column_stride == format(type).file_bytes;
    if (drop_pages && contiguous_rows) {
        const int64_t last = end * GROUP_ROWS < region.rows ? end * GROUP_ROWS : region.rows;
        drop(region.data + begin * GROUP_ROWS * region.row_stride, region.data + last * region.row_stride);
    }
}

}  // namespace shoestring
