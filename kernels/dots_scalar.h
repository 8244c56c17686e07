// dots.h in plain C++: the meaning of the integer dots, and what runs where nothing better is known.
#pragma once

namespace SHOESTRING_VARIANT {
namespace {

float largest_lane(Lanes a) {
    float lanes[16];
    store(lanes, a);
    float largest = lanes[0];
    for (int i = 1; i < 16; ++i) largest = lanes[i] > largest ? lanes[i] : largest;
    return largest;
}

void store_int8(int8_t* p, Ints a) {
    int32_t lanes[16];
    store(lanes, a);
    for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(lanes[i]);
}

PairSums pair_sums(const int8_t* p) {
    PairSums sums{0, 0};
    for (int i = 0; i < 16; ++i) (i % 4 < 2 ? sums.first : sums.second) += p[i];
    return sums;
}

// The weight's integer of column k in a row's block, unsigned where the format has an offset or a min.
template <WeightType type>
int quant(const uint8_t* block, int row, int k) {
    const auto byte = [row](const uint8_t* words, int place) { return words[place / 4 * 64 + 4 * row + place % 4]; };
    const auto nibble = [](int value, bool high) { return high ? value >> 4 : value & 15; };
    if constexpr (type == WeightType::Q8_0) {
        return static_cast<int8_t>(byte(block + 32, k));
    } else if constexpr (type == WeightType::Q4_0 || type == WeightType::Q4_1 || type == WeightType::Q5_0) {
        constexpr int begin = type == WeightType::Q4_0 ? 32 : type == WeightType::Q4_1 ? 64 : 96;
        const int low = nibble(byte(block + begin, k % 16), k >= 16);
        if constexpr (type != WeightType::Q5_0) return low;
        return low | (byte(block + 32, k % 4) >> (k / 4) & 1) << 4;
    } else if constexpr (type == WeightType::Q4_K) {
        return nibble(byte(block + 320, k / 64 * 32 + k % 32), k / 32 % 2);
    } else if constexpr (type == WeightType::Q5_K) {
        const int low = nibble(byte(block + 320 + 512, k / 64 * 32 + k % 32), k / 32 % 2);
        return low | (byte(block + 320, k % 32) >> (k / 32) & 1) << 4;
    } else {
        const int half = k / 128, quarter = k / 32 % 4;
        const int low = nibble(byte(block + 288, half * 64 + quarter % 2 * 32 + k % 32), quarter >= 2);
        return low | (byte(block + 288 + 2048, half * 32 + k % 32) >> (2 * quarter) & 3) << 4;
    }
}

float half_at(const uint8_t* halves, int row) {
    uint16_t bits;
    std::memcpy(&bits, halves + 2 * row, 2);
    return widen_f16(bits);
}

template <WeightType type>
void block_32(const uint8_t* block, const Token& token, int64_t b, float* acc) {
    constexpr int offset = type == WeightType::Q4_0 ? 8 : type == WeightType::Q5_0 ? 16 : 0;
    const Block32& x = token.blocks_32[b];
    for (int row = 0; row < 16; ++row) {
        int32_t sum = 0;
        for (int k = 0; k < 32; ++k) sum += (quant<type>(block, row, k) - offset) * token.quants[32 * b + k];
        acc[row] = fma(static_cast<float>(sum), half_at(block, row) * x.scale, acc[row]);
        if constexpr (type == WeightType::Q4_1) acc[row] = fma(half_at(block + 32, row), x.scaled_sum, acc[row]);
    }
}

template <WeightType type>
void block_256(const uint8_t* block, const Token& token, int64_t b, float* acc) {
    constexpr bool six = type == WeightType::Q6_K;
    constexpr int width = six ? 16 : 32;
    const float scale = token.blocks_256[b].scale;
    const int8_t* a = token.quants + 256 * b;
    for (int row = 0; row < 16; ++row) {
        int32_t sum = 0, mins = 0;
        for (int sub = 0; sub < 256 / width; ++sub) {
            int32_t dot = 0, total = 0;
            for (int k = sub * width; k < (sub + 1) * width; ++k) {
                dot += (quant<type>(block, row, k) - (six ? 32 : 0)) * a[k];
                total += a[k];
            }
            const int place = sub / 2 * 32 + 2 * row + sub % 2;
            if constexpr (six) {
                sum += static_cast<int8_t>(block[32 + place]) * dot;
            } else {
                sum += block[64 + place] * dot;
                mins += block[192 + place] * total;
            }
        }
        acc[row] = fma(static_cast<float>(sum), half_at(block, row) * scale, acc[row]);
        if constexpr (!six) acc[row] = fma(-static_cast<float>(mins), half_at(block + 32, row) * scale, acc[row]);
    }
}

// out [TOKENS][16]. No panel here.
template <WeightType type, int TOKENS>
void tile(const uint8_t* group, const uint8_t*, int64_t columns, const Token* tokens, float* out) {
    constexpr shoestring::WeightFormat f = shoestring::format(type);
    for (int t = 0; t < TOKENS; ++t) {
        float* acc = out + 16 * t;
        for (int row = 0; row < 16; ++row) acc[row] = 0;
        for (int64_t b = 0; b < columns / f.block; ++b) {
            if constexpr (f.block == 32) block_32<type>(group + b * f.packed_bytes, tokens[t], b, acc);
            if constexpr (f.block == 256) block_256<type>(group + b * f.packed_bytes, tokens[t], b, acc);
        }
    }
}

constexpr bool has_panel(WeightType) { return false; }
template <WeightType type>
void unpack_panel(const uint8_t*, int64_t, uint8_t*) {}

}  // namespace
}  // namespace SHOESTRING_VARIANT
