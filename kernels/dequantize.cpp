// The numbers that the blocks of a file stand for, rounded as ggml's dequantizers round them.
#include "weights.h"

#include <cstring>

namespace shoestring {
namespace {

float from_e4m3(uint8_t byte) {
    const int exponent = byte >> 3 & 15, mantissa = byte & 7;
    float magnitude;
    if (exponent == 15 && mantissa == 7) {
        magnitude = as_float(0x7fc00000);
    } else if (exponent == 0) {
        magnitude = static_cast<float>(mantissa) * 0x1p-9f;
    } else {
        magnitude = as_float(static_cast<uint32_t>(exponent + 120) << 23 | static_cast<uint32_t>(mantissa) << 20);
    }
    return byte & 0x80 ? -magnitude : magnitude;
}

// Elements of a float type, wherever they lie.
template <WeightType type>
void read_elements(const Region& region, int64_t row, float* out) {
    const uint8_t* in = region.data + row * region.row_stride;
    for (int64_t c = 0; c < region.columns; ++c) Numbers<type>::of_file(in + c * region.column_stride, out + c);
}

template <WeightType type>
void read_blocks(const Region& region, int64_t row, float* out) {
    constexpr WeightFormat f = FORMATS[static_cast<int>(type)];
    const uint8_t* in = region.data + row * region.row_stride;
    for (int64_t b = 0; b < region.columns / f.block; ++b)
        Numbers<type>::of_file(in + b * f.file_bytes, out + b * f.block);
}

template <WeightType type>
void read_packed(const uint8_t* group, int64_t columns, int row, float* out) {
    constexpr WeightFormat f = FORMATS[static_cast<int>(type)];
    if constexpr (type == WeightType::BF16) {
        for (int64_t c = 0; c < columns; ++c)
            Numbers<type>::of_packed(group + c / 2 * 2 * f.packed_bytes, row, c % 2 != 0, out + c);
    } else {
        for (int64_t b = 0; b < columns / f.block; ++b)
            Numbers<type>::of_packed(group + b * f.packed_bytes, row, out + b * f.block);
    }
}

}  // namespace

void dequantize_rows(WeightType type, const Region& region, int64_t begin, int64_t end, float* out) {
    for (int64_t row = begin; row < end; ++row, out += region.columns) {
        switch (type) {
#define SHOESTRING_ELEMENTS(name)                          \
    case WeightType::name:                                 \
        read_elements<WeightType::name>(region, row, out); \
        break;
#define SHOESTRING_BLOCKS(name)                          \
    case WeightType::name:                               \
        read_blocks<WeightType::name>(region, row, out); \
        break;
            SHOESTRING_FLOAT_TYPES(SHOESTRING_ELEMENTS)
            SHOESTRING_QUANTIZED_TYPES(SHOESTRING_BLOCKS)
        }
    }
}

void dequantize_packed_row(const MatrixView& matrix, int64_t row, float* out) {
    const uint8_t* group = matrix.data + row / GROUP_ROWS * group_bytes(matrix.type, matrix.columns);
    const int place = static_cast<int>(row % GROUP_ROWS);
    switch (matrix.type) {
#define SHOESTRING_PACKED(name) \
    case WeightType::name:      \
        return read_packed<WeightType::name>(group, matrix.columns, place, out);
        SHOESTRING_FLOAT_TYPES(SHOESTRING_PACKED)
        SHOESTRING_QUANTIZED_TYPES(SHOESTRING_PACKED)
    }
}

void widen_fp8_rows(const Region& region, const float* scale, int64_t begin, int64_t end, float* out) {
    const int64_t blocks = (region.columns + 127) / 128;
    for (int64_t row = begin; row < end; ++row) {
        const uint8_t* in = region.data + row * region.row_stride;
        const float* scales = scale + row / 128 * blocks;
        for (int64_t c = 0; c < region.columns; ++c) *out++ = from_e4m3(in[c * region.column_stride]) * scales[c / 128];
    }
}

}  // namespace shoestring
