// bytes.h in plain C++: the meaning of every function, and what runs where nothing better is known.
#pragma once

#include "sums_int32.h"

#define SHOESTRING_PIN(x)
#define SHOESTRING_UNROLL(n)  // its lanes are loops themselves

namespace SHOESTRING_VARIANT {
namespace {

constexpr int VECTOR_ROWS = 16;
constexpr int TILE_TOKENS = 6, TILE_GROUPS = 1;
constexpr int parts_at_once(int, bool) { return 1; }
// Tokens of the fastest tile of float weights.
constexpr int float_tokens(shoestring::WeightType) { return TILE_TOKENS; }

// 64 bytes, 16 int32, or 16 pairs of int16.
struct Bytes {
    int32_t word[16];
};
using Floats = Lanes;

constexpr bool has_panel(shoestring::WeightType) { return false; }

SHOESTRING_INLINE float largest_lane(Lanes a) {
    float largest = a.lane[0];
    for (int i = 1; i < 16; ++i) largest = a.lane[i] > largest ? a.lane[i] : largest;
    return largest;
}
SHOESTRING_INLINE void store_int8(int8_t* p, Ints a) {
    for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(a.lane[i]);
}

SHOESTRING_INLINE Bytes load_bytes(const uint8_t* p) {
    Bytes a;
    std::memcpy(a.word, p, 64);
    return a;
}
SHOESTRING_INLINE void store_bytes(uint8_t* p, Bytes a) { std::memcpy(p, a.word, 64); }
SHOESTRING_INLINE Bytes words(int32_t word) {
    Bytes a;
    SHOESTRING_EACH_LANE a.word[i] = word;
    return a;
}
SHOESTRING_INLINE Bytes moved_bits(Bytes a, int left, int mask) {
    SHOESTRING_EACH_LANE {
        const uint32_t word = static_cast<uint32_t>(a.word[i]);
        a.word[i] = static_cast<int32_t>((left >= 0 ? word << left : word >> -left) &
                                         static_cast<uint32_t>(mask) * 0x01010101u);
    }
    return a;
}
SHOESTRING_INLINE Bytes nibbles(Bytes a, bool high) { return moved_bits(a, high ? -4 : 0, 15); }
SHOESTRING_INLINE Bytes either(Bytes a, Bytes b) {
    SHOESTRING_EACH_LANE a.word[i] |= b.word[i];
    return a;
}

SHOESTRING_INLINE int32_t pack_pair(int32_t first, int32_t second) {
    return static_cast<int32_t>((static_cast<uint32_t>(first) & 0xffff) | static_cast<uint32_t>(second) << 16);
}
SHOESTRING_INLINE int32_t low_half(int32_t word) { return static_cast<int16_t>(word & 0xffff); }
SHOESTRING_INLINE int32_t high_half(int32_t word) { return word >> 16; }
template <bool SIGNED>
SHOESTRING_INLINE Bytes load_pairs(const uint8_t* p) {
    const auto number = [p](int i) -> int32_t { return SIGNED ? static_cast<int8_t>(p[i]) : p[i]; };
    Bytes a;
    SHOESTRING_EACH_LANE a.word[i] = pack_pair(number(2 * i), number(2 * i + 1));
    return a;
}
SHOESTRING_INLINE Bytes times_pairs(Bytes a, int factor) {
    SHOESTRING_EACH_LANE a.word[i] = pack_pair(factor * low_half(a.word[i]), factor * high_half(a.word[i]));
    return a;
}

// Sums are int32.
SHOESTRING_INLINE Bytes start(int32_t word) { return words(word); }
template <bool SIGNED>
SHOESTRING_INLINE Bytes prepare(Bytes w) {
    return w;
}
template <bool SIGNED>
SHOESTRING_INLINE Bytes dot(Bytes sum, Bytes w, Bytes x) {
    for (int byte = 0; byte < 32; byte += 8) {
        const int32_t factor = static_cast<int8_t>(x.word[0] >> byte);
        SHOESTRING_EACH_LANE {
            const int32_t weight = w.word[i] >> byte & 255;
            sum.word[i] += factor * (SIGNED ? (weight ^ 128) - 128 : weight);
        }
    }
    return sum;
}
template <bool SIGNED>
SHOESTRING_INLINE Bytes whole(Bytes sum) {
    return sum;
}
SHOESTRING_INLINE Bytes pick(Bytes pairs, int which) {
    SHOESTRING_EACH_LANE pairs.word[i] = which == 0 ? low_half(pairs.word[i]) : high_half(pairs.word[i]);
    return pairs;
}
SHOESTRING_INLINE Bytes add_scaled(Bytes total, Bytes sum, Bytes scale) {
    SHOESTRING_EACH_LANE total.word[i] += sum.word[i] * scale.word[i];
    return total;
}
SHOESTRING_INLINE Bytes add_pairs(Bytes total, Bytes pairs, int32_t word) {
    SHOESTRING_EACH_LANE total.word[i] +=
        low_half(pairs.word[i]) * low_half(word) + high_half(pairs.word[i]) * high_half(word);
    return total;
}

struct Words {
    int32_t word[8];
};
SHOESTRING_INLINE void store_words(int32_t* p, Words a) { std::memcpy(p, a.word, 32); }
SHOESTRING_INLINE void store_pairs(int32_t* p, Words a) {
    for (int i = 0; i < 4; ++i) p[i] = pack_pair(a.word[2 * i], a.word[2 * i + 1]);
}
SHOESTRING_INLINE Words eight_columns(const int8_t* p) {
    Words a{};
    for (int i = 0; i < 64; ++i) a.word[i / 8] += p[i];
    return a;
}
SHOESTRING_INLINE Words halved(Words a, Words b) {
    Words sums;
    for (int i = 0; i < 8; ++i) {
        const int32_t* from = i < 4 ? a.word : b.word;
        sums.word[i] = from[2 * i % 8] + from[2 * i % 8 + 1];
    }
    return sums;
}
SHOESTRING_INLINE Words start_words(int offset, Words a) {
    for (int32_t& word : a.word) word *= -offset;
    return a;
}
SHOESTRING_INLINE Words totals(Words a) { return a; }

SHOESTRING_INLINE Floats load_halves(const uint8_t* p) {
    Floats a;
    SHOESTRING_EACH_LANE {
        uint16_t bits;
        std::memcpy(&bits, p + 2 * i, 2);
        a.lane[i] = widen_f16(bits);
    }
    return a;
}
SHOESTRING_INLINE Floats add_product(Bytes n, Floats d, float s, Floats acc) {
    SHOESTRING_EACH_LANE acc.lane[i] = fma(static_cast<float>(n.word[i]), d.lane[i] * s, acc.lane[i]);
    return acc;
}
SHOESTRING_INLINE Floats subtract_product(Bytes n, Floats d, float s, Floats acc) {
    SHOESTRING_EACH_LANE acc.lane[i] = fma(-static_cast<float>(n.word[i]), d.lane[i] * s, acc.lane[i]);
    return acc;
}
SHOESTRING_INLINE Floats add_multiple(Floats m, float s, Floats acc) {
    SHOESTRING_EACH_LANE acc.lane[i] = fma(m.lane[i], s, acc.lane[i]);
    return acc;
}
SHOESTRING_INLINE Floats load_floats(const float* p) { return load(p); }
SHOESTRING_INLINE void store_floats(float* p, Floats a) { store(p, a); }

}  // namespace
}  // namespace SHOESTRING_VARIANT
