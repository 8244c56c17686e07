// Weight matrices in the kernels' form: 16 rows interleaved, one group after the other.
//
// Owns what a matrix is, the packing from file bytes, and reading numbers back. A group of 16 rows is contiguous;
// inside it blocks ascend, laid out as each file of types/ says; missing rows of the last group are zero bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "types.h"

namespace shoestring {

// What a kernel sees of a packed matrix; computes y = x · Wᵀ, W [rows, columns].
struct MatrixView {
    WeightType type;
    int64_t rows;
    int64_t columns;
    const uint8_t* data;
};

static inline int64_t num_groups(int64_t rows) { return (rows + GROUP_ROWS - 1) / GROUP_ROWS; }

static inline int64_t group_bytes(WeightType type, int64_t columns) {
    if (type == WeightType::BF16) return (columns + 1) / 2 * 64;
    return columns / format(type).block * format(type).packed_bytes;
}

// Where a matrix lies in a file's bytes: element (r, c) at data + r * row_stride + c * column_stride (float types),
// row r of blocks at data + r * row_stride (block types). Strides in bytes.
struct Region {
    const uint8_t* data;
    int64_t rows;
    int64_t columns;
    int64_t row_stride;
    int64_t column_stride;
};

// Packs groups [begin, end) to `packed`, which is the matrix' first byte. drop_pages: the source is a read-only
// mapping of a file whose pages are not needed any more.
void pack_groups(WeightType type, const Region& region, int64_t begin, int64_t end, uint8_t* packed, bool drop_pages);

// The numbers of rows [begin, end) of a file's region, as ggml's dequantizers round them; out [end - begin, columns].
void dequantize_rows(WeightType type, const Region& region, int64_t begin, int64_t end, float* out);

// The numbers of one row of a packed matrix, the same bits.
void dequantize_packed_row(const MatrixView& matrix, int64_t row, float* out);

// e4m3 × the scale of its 128 × 128 block, rounded once; scale [ceil(rows / 128), ceil(columns / 128)].
void widen_fp8_rows(const Region& region, const float* scale, int64_t begin, int64_t end, float* out);

}  // namespace shoestring
