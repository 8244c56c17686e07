// Weight matrices in the kernels' form: 16 rows interleaved, one group after the other.
//
// Owns the layouts, the packing from file bytes, and the numbers that a block stands for. A group of 16 rows is
// contiguous; inside it blocks ascend; missing rows of the last group are zero bytes. `words` are 4-byte pieces of
// a row's block; "[n][16]" means n such pieces, each for the 16 rows in turn (64 bytes a piece of words).
//
//   F32   per k: float [16]                         F16  per k: half [16]
//   BF16  per k pair: bf16 [16][2]; an odd last k is followed by zeros
//   Q8_0  d half [16] · quants words [8][16]                            544 bytes for 32 columns
//   Q4_0  d half [16] · quants words [4][16]                            288
//   Q4_1  d half [16] · m half [16] · quants words [4][16]              320
//   Q5_0  d half [16] · high words [1][16] · quants words [4][16]       352
//   Q4_K  d half [16] · dmin half [16] · scales u8 [4][16][2] · mins u8 [4][16][2] · quants [32][16]
//                                                                       2368 for 256 columns
//   Q5_K  as Q4_K, then high words [8][16] before the quants            2880
//   Q6_K  d half [16] · scales s8 [8][16][2] · low words [32][16] · high words [16][16]    3360
//
// Bits inside a byte stay as the file has them, but for Q5_0, whose fifth bit of element 4v + b (v = 0 … 7) is bit
// v of byte b. Scales of K-quants are unpacked to bytes, sub-blocks in pairs.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shoestring {

enum class WeightType : int { F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q4_K, Q5_K, Q6_K };

constexpr int NUM_WEIGHT_TYPES = 10;
constexpr int GROUP_ROWS = 16;

struct WeightFormat {
    const char* name;
    int block;         // columns of a block
    int file_bytes;    // of a row's block in a file
    int packed_bytes;  // of a group's block, 16 rows
};

// TENSOR_TYPES of checkpoint/tensors.py has the same sizes for use without the extension; a test compares them.
constexpr WeightFormat FORMATS[NUM_WEIGHT_TYPES] = {
    {"F32", 1, 4, 64},        {"F16", 1, 2, 32},        {"BF16", 1, 2, 32},    {"Q8_0", 32, 34, 544},
    {"Q4_0", 32, 18, 288},    {"Q4_1", 32, 20, 320},    {"Q5_0", 32, 22, 352}, {"Q4_K", 256, 144, 2368},
    {"Q5_K", 256, 176, 2880}, {"Q6_K", 256, 210, 3360},
};

static constexpr const WeightFormat& format(WeightType type) { return FORMATS[static_cast<int>(type)]; }

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
