// The numbers that the blocks of a file stand for, rounded as ggml's dequantizers round them.
#include "weights.h"

#include <cstring>

namespace shoestring {
namespace {

float as_float(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

// IEEE half to float, exact; NaN payloads kept.
float from_half(const uint8_t* p) {
    const uint32_t half = p[0] | static_cast<uint32_t>(p[1]) << 8;
    const uint32_t sign = (half & 0x8000) << 16;
    const uint32_t exponent = half >> 10 & 31, mantissa = half & 1023;
    if (exponent == 31) return as_float(sign | 0x7f800000 | mantissa << 13);
    if (exponent != 0) return as_float(sign | (exponent + 112) << 23 | mantissa << 13);
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
}

float from_bf16(const uint8_t* p) {
    return as_float(static_cast<uint32_t>(p[0]) << 16 | static_cast<uint32_t>(p[1]) << 24);
}

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

void dequantize_q8_0(const uint8_t* block, float* out) {
    const float d = from_half(block);
    for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * d;
}

void dequantize_q4_0(const uint8_t* block, float* out) {
    const float d = from_half(block);
    for (int i = 0; i < 16; ++i) {
        out[i] = static_cast<float>((block[2 + i] & 15) - 8) * d;
        out[i + 16] = static_cast<float>((block[2 + i] >> 4) - 8) * d;
    }
}

void dequantize_q4_1(const uint8_t* block, float* out) {
    const float d = from_half(block), m = from_half(block + 2);
    for (int i = 0; i < 16; ++i) {
        out[i] = static_cast<float>(block[4 + i] & 15) * d + m;
        out[i + 16] = static_cast<float>(block[4 + i] >> 4) * d + m;
    }
}

void dequantize_q5_0(const uint8_t* block, float* out) {
    const float d = from_half(block);
    uint32_t high;
    std::memcpy(&high, block + 2, 4);
    for (int i = 0; i < 16; ++i) {
        const int low = (block[6 + i] & 15) | static_cast<int>(high >> i & 1) << 4;
        const int top = (block[6 + i] >> 4) | static_cast<int>(high >> (i + 16) & 1) << 4;
        out[i] = static_cast<float>(low - 16) * d;
        out[i + 16] = static_cast<float>(top - 16) * d;
    }
}

// The parts of a Q4_K or Q5_K block: scales unpacked; high is null for Q4_K.
void dequantize_k(float d, float dmin, const uint8_t* scales, const uint8_t* mins, const uint8_t* high,
                  const uint8_t* quants, float* out) {
    for (int sub = 0; sub < 8; ++sub) {
        const float scale = d * static_cast<float>(scales[sub]);
        const float offset = dmin * static_cast<float>(mins[sub]);
        for (int i = 0; i < 32; ++i) {
            const int byte = quants[sub / 2 * 32 + i];
            int quant = sub % 2 ? byte >> 4 : byte & 15;
            if (high != nullptr) quant |= (high[i] >> sub & 1) << 4;
            out[32 * sub + i] = scale * static_cast<float>(quant) - offset;
        }
    }
}

void dequantize_q6_k(float d, const int8_t* scales, const uint8_t* low, const uint8_t* high, float* out) {
    for (int i = 0; i < 256; ++i) {
        const int half = i / 128, quarter = i / 32 % 4, place = i % 32;
        const int byte = low[half * 64 + quarter % 2 * 32 + place];
        const int top = high[half * 32 + place] >> (2 * quarter) & 3;
        const int quant = ((quarter >= 2 ? byte >> 4 : byte & 15) | top << 4) - 32;
        out[i] = d * static_cast<float>(scales[i / 16]) * static_cast<float>(quant);
    }
}

void file_scales(const uint8_t* bytes, uint8_t* scales, uint8_t* mins) {
    for (int sub = 0; sub < 4; ++sub) {
        scales[sub] = bytes[sub] & 63;
        mins[sub] = bytes[sub + 4] & 63;
        scales[sub + 4] = static_cast<uint8_t>((bytes[sub + 8] & 15) | bytes[sub] >> 6 << 4);
        mins[sub + 4] = static_cast<uint8_t>(bytes[sub + 8] >> 4 | bytes[sub + 4] >> 6 << 4);
    }
}

void dequantize_block(WeightType type, const uint8_t* block, float* out) {
    uint8_t scales[8], mins[8];
    switch (type) {
        case WeightType::Q8_0:
            return dequantize_q8_0(block, out);
        case WeightType::Q4_0:
            return dequantize_q4_0(block, out);
        case WeightType::Q4_1:
            return dequantize_q4_1(block, out);
        case WeightType::Q5_0:
            return dequantize_q5_0(block, out);
        case WeightType::Q4_K:
            file_scales(block + 4, scales, mins);
            return dequantize_k(from_half(block), from_half(block + 2), scales, mins, nullptr, block + 16, out);
        case WeightType::Q5_K:
            file_scales(block + 4, scales, mins);
            return dequantize_k(from_half(block), from_half(block + 2), scales, mins, block + 16, block + 48, out);
        case WeightType::Q6_K:
            return dequantize_q6_k(from_half(block + 208), reinterpret_cast<const int8_t*>(block + 192), block,
                                   block + 128, out);
        default:
            return;
    }
}

float element(WeightType type, const uint8_t* p) {
    if (type == WeightType::F16) return from_half(p);
    if (type == WeightType::BF16) return from_bf16(p);
    float value;
    std::memcpy(&value, p, 4);
    return value;
}

// One row's pieces out of a packed block; the inverse of packing.
void collect(const uint8_t* packed, int count, int row, uint8_t* words) {
    for (int i = 0; i < count; ++i) std::memcpy(words + 4 * i, packed + 64 * i + 4 * row, 4);
}

void collect_pairs(const uint8_t* packed, int count, int row, uint8_t* bytes) {
    for (int i = 0; i < count; i += 2) std::memcpy(bytes + i, packed + 16 * i + 2 * row, 2);
}

void dequantize_packed_block(WeightType type, const uint8_t* packed, int row, float* out) {
    uint8_t block[256], scales[16], mins[8];
    std::memcpy(block, packed + 2 * row, 2);
    switch (type) {
        case WeightType::Q8_0:
            collect(packed + 32, 8, row, block + 2);
            break;
        case WeightType::Q4_0:
            collect(packed + 32, 4, row, block + 2);
            break;
        case WeightType::Q4_1:
            std::memcpy(block + 2, packed + 32 + 2 * row, 2);
            collect(packed + 64, 4, row, block + 4);
            break;
        case WeightType::Q5_0: {
            const uint8_t* bits = packed + 32 + 4 * row;
            uint32_t high = 0;
            for (int e = 0; e < 32; ++e) high |= static_cast<uint32_t>(bits[e % 4] >> e / 4 & 1) << e;
            std::memcpy(block + 2, &high, 4);
            collect(packed + 96, 4, row, block + 6);
            break;
        }
        case WeightType::Q4_K:
        case WeightType::Q5_K: {
            const bool five = type == WeightType::Q5_K;
            collect_pairs(packed + 64, 8, row, scales);
            collect_pairs(packed + 192, 8, row, mins);
            collect(packed + 320, five ? 40 : 32, row, block + 16);
            return dequantize_k(from_half(block), from_half(packed + 32 + 2 * row), scales, mins,
                                five ? block + 16 : nullptr, block + (five ? 48 : 16), out);
        }
        case WeightType::Q6_K:
            collect_pairs(packed + 32, 16, row, scales);
            collect(packed + 288, 48, row, block);
            return dequantize_q6_k(from_half(packed + 2 * row), reinterpret_cast<const int8_t*>(scales), block,
                                   block + 128, out);
        default:
            return;
    }
    dequantize_block(type, block, out);
}

}  // namespace

void dequantize_rows(WeightType type, const Region& region, int64_t begin, int64_t end, float* out) {
    const WeightFormat& f = format(type);
    for (int64_t row = begin; row < end; ++row) {
        const uint8_t* in = region.data + row * region.row_stride;
        if (f.block == 1) {
            for (int64_t c = 0; c < region.columns; ++c) *out++ = element(type, in + c * region.column_stride);
        } else {
            for (int64_t block = 0; block < region.columns / f.block; ++block, out += f.block)
                dequantize_block(type, in + block * f.file_bytes, out);
        }
    }
}

void dequantize_packed_row(const MatrixView& matrix, int64_t row, float* out) {
    const WeightFormat& f = format(matrix.type);
    const uint8_t* group = matrix.data + row / GROUP_ROWS * group_bytes(matrix.type, matrix.columns);
    const int place = static_cast<int>(row % GROUP_ROWS);
    if (f.block == 1) {
        for (int64_t c = 0; c < matrix.columns; ++c) {
            const bool pairs = matrix.type == WeightType::BF16;
            const int64_t at = pairs ? (c / 2 * GROUP_ROWS + place) * 2 + c % 2 : c * GROUP_ROWS + place;
            out[c] = element(matrix.type, group + at * f.file_bytes);
        }
    } else {
        for (int64_t block = 0; block < matrix.columns / f.block; ++block)
            dequantize_packed_block(matrix.type, group + block * f.packed_bytes, place, out + block * f.block);
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
