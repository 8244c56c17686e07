// The integer dots of block-quantized weights with quantized activations, once for all types and instruction sets.
//
// A tile is 1 … TILE_GROUPS groups of 16 rows times 1 … TILE_TOKENS tokens over the whole inner dimension. Every
// variant gives the same bits: the integer sum of a block (Q8_0, Q4_0, Q4_1, Q5_0: 32 columns; K-quants: 256, with
// their integer sub-scales) is exact, and the float steps are, blocks ascending, from acc = 0:
//
//   Q8_0, Q4_0, Q5_0   acc = fma(float(Σ w a), d · da, acc)
//   Q4_1               the same with unsigned w, then acc = fma(m, da · float(Σ a), acc)
//   Q6_K               acc = fma(float(Σ sub-scale · Σ w a), d · da, acc)
//   Q4_K, Q5_K         the same with unsigned w, then acc = fma(-float(Σ sub-min · Σ a), dmin · da, acc)
//
// Bounds of the super-block's int32: Q4_K 63 · 15 · 127 · 256 = 30.7 M, Q5_K 63.5 M, Q6_K 128 · 32 · 127 · 256 =
// 133 M, mins 63 · 127 · 256 = 2.05 M. Past 2^24 float() rounds to nearest even, everywhere alike. Bounds of what is
// between are in sums_*.h.
//
// Many tokens use a panel (panels.h): some columns of the groups as bytes that the dots read as they are, unpacked
// once. In it a register's rows have all their columns one after the other, and the accumulators wait in memory.
#pragma once

#include "types.h"

// Loops over registers. Sanitized and debug builds stay rolled: unrolled they take minutes to compile.
#if defined(__clang__) && defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SHOESTRING_UNROLL(n)
#endif
#endif
#if !defined(SHOESTRING_UNROLL)
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
#define SHOESTRING_PRAGMA(text) _Pragma(#text)
#define SHOESTRING_UNROLL(n) SHOESTRING_PRAGMA(GCC unroll n)
#else
#define SHOESTRING_UNROLL(n)
#endif
#endif

namespace SHOESTRING_VARIANT {
namespace {

constexpr int GROUP_PARTS = shoestring::GROUP_ROWS / VECTOR_ROWS;
constexpr int VECTOR_BYTES = 4 * VECTOR_ROWS;

template <class T, int N>
constexpr int length(const T (&)[N]) {
    return N;
}

// Where the start words of an offset begin among all of a block of 32.
constexpr int start_place(int offset) {
    int place = 0;
    while (OFFSETS_32[place] != offset) ++place;
    return place;
}

// The class of the sums of a type in a block of 256, and of those that start from zero.
constexpr int NO_STARTS = -1;
constexpr int starts_class(WeightType type) {
    for (int i = 0; i < length(STARTS_256); ++i)
        if (STARTS_256[i].offset == starts_of(type).offset) return i;
    return NO_STARTS;
}

// Quantized activations of 32 columns: the scale, scale · Σ a, and the start of a sum for each offset.
struct Block32 {
    float scale;
    float scaled_sum;
    int32_t start[length(OFFSETS_32)];
};

// Of 256 columns: sums over 32 columns in pairs of int16.
struct Block256 {
    float scale;
    int32_t sums[4];
};

// One token as a tile reads it; the members that the weight's type does not use may be null.
struct Token {
    const float* x;
    const int8_t* quants;
    const Block32* blocks_32;
    const Block256* blocks_256;
    const int32_t* starts;  // of all sums of the type's class, blocks ascending
};

// The groups of a tile, from one to the next by strides; panel: of these columns, for tiles that read one.
struct TileRows {
    const uint8_t* data;
    int64_t stride;
    const uint8_t* panel;
    int64_t panel_stride;
};

SHOESTRING_INLINE Bytes broadcast(const int8_t* p) {
    int32_t word;
    std::memcpy(&word, p, 4);
    return words(word);
}

// Asks for part `part` of `parts` of a block's lines. Spread over a block's arithmetic: in one burst they would fill
// the miss buffers and stall it.
template <int BYTES>
SHOESTRING_INLINE void prefetch_part(const uint8_t* block, int part, int parts) {
    constexpr int lines = (BYTES + 63) / 64;
    SHOESTRING_UNROLL(16)
    for (int line = lines * part / parts; line < lines * (part + 1) / parts; ++line) prefetch(block + 64 * line);
}

// Where the lines lie that a tile asks for: all parts in one pass stream 4 KB ahead; part by part the last pass finds
// its lines in the cache and fetches the next groups.
template <int PARTS>
SHOESTRING_INLINE int64_t prefetch_distance(int first_part, int64_t bytes) {
    return PARTS == GROUP_PARTS ? 4096 : first_part + PARTS == GROUP_PARTS ? bytes : 0;
}

// The registers of a tile: register n has part first_part + n % PARTS of group n / PARTS.
template <int GROUPS, int PARTS, bool PANEL>
struct TileParts {
    static constexpr int COUNT = GROUPS * PARTS;
    const uint8_t* block[GROUPS];
    const uint8_t* panel[COUNT];
    int first_part;

    SHOESTRING_INLINE TileParts(const TileRows& rows, int first, int64_t columns) : first_part(first) {
        for (int g = 0; g < GROUPS; ++g) block[g] = rows.data + g * rows.stride;
        for (int n = 0; n < COUNT; ++n)
            panel[n] = PANEL ? rows.panel + n / PARTS * rows.panel_stride + VECTOR_ROWS * part(n) * columns : nullptr;
    }
    SHOESTRING_INLINE int part(int n) const { return first_part + n % PARTS; }

    template <WeightType type>
    SHOESTRING_INLINE Bytes weights(int n, int v) const {
        if constexpr (PANEL) return load_bytes(panel[n] + VECTOR_BYTES * v);
        return prepare<Layout<type>::SIGNED>(Layout<type>::quants(block[n / PARTS], v, VECTOR_BYTES * part(n)));
    }
    SHOESTRING_INLINE Floats halves(int n, int at) const {
        return load_halves(block[n / PARTS] + at + 2 * VECTOR_ROWS * part(n));
    }
    // The pair-th pair of sub-scales or sub-mins, which begin at `at`.
    template <bool SIGNED>
    SHOESTRING_INLINE Bytes pairs(int n, int at, int pair) const {
        return load_pairs<SIGNED>(block[n / PARTS] + at + 32 * pair + 2 * VECTOR_ROWS * part(n));
    }
    SHOESTRING_INLINE void next_block(int block_bytes, int columns) {
        for (int g = 0; g < GROUPS; ++g) block[g] += block_bytes;
        if constexpr (PANEL)
            for (int n = 0; n < COUNT; ++n) panel[n] += VECTOR_ROWS * columns;
    }
    // Where the accumulator of a register and a token is kept.
    SHOESTRING_INLINE int64_t place(int n, int t) const {
        const int group = n / PARTS;
        return (PANEL ? t * TILE_GROUPS + group : group * TILE_TOKENS + t) * 16 + VECTOR_ROWS * part(n);
    }
    // Tiles that read a panel go on where the columns before it ended.
    template <int TOKENS>
    SHOESTRING_INLINE void load(Floats (&acc)[COUNT][TOKENS], const float* out) const {
        if constexpr (PANEL)
            for (int n = 0; n < COUNT; ++n)
                for (int t = 0; t < TOKENS; ++t) acc[n][t] = load_floats(out + place(n, t));
    }
    template <int TOKENS>
    SHOESTRING_INLINE void store(const Floats (&acc)[COUNT][TOKENS], float* out) const {
        for (int n = 0; n < COUNT; ++n)
            for (int t = 0; t < TOKENS; ++t) store_floats(out + place(n, t), acc[n][t]);
    }
};

template <WeightType type, int GROUPS, int PARTS, int TOKENS, bool PANEL>
SHOESTRING_INLINE void tile_32(const TileRows& rows, int first_part, int64_t columns, const Token* tokens, float* out) {
    using L = Layout<type>;
    constexpr int offset = L::SIGNED ? SIGNED_OFFSET : L::OFFSET, N = GROUPS * PARTS;
    TileParts<GROUPS, PARTS, PANEL> at(rows, first_part, columns);
    const int64_t ahead = prefetch_distance<PARTS>(first_part, GROUPS * rows.stride);
    const int8_t* a[TOKENS];
    for (int t = 0; t < TOKENS; ++t) a[t] = tokens[t].quants;
    Floats acc[N][TOKENS] = {};
    at.load(acc, out);
    for (int64_t b = 0; b < columns / 32; ++b) {
        Bytes sum[N][TOKENS];
        SHOESTRING_UNROLL(4)
        for (int n = 0; n < N; ++n) {
            SHOESTRING_UNROLL(16)
            for (int t = 0; t < TOKENS; ++t) {
                if constexpr (offset == 0) sum[n][t] = start(0);
                if constexpr (offset != 0) sum[n][t] = start(tokens[t].blocks_32[b].start[start_place(offset)]);
            }
        }
        SHOESTRING_UNROLL(8)
        for (int v = 0; v < 8; ++v) {
            if constexpr (!PANEL)
                for (int g = 0; g < GROUPS; ++g) prefetch_part<L::FORMAT.packed_bytes>(at.block[g] + ahead, v, 8);
            Bytes w[N];
            SHOESTRING_UNROLL(4)
            for (int n = 0; n < N; ++n) w[n] = at.template weights<type>(n, v);
            SHOESTRING_UNROLL(16)
            for (int t = 0; t < TOKENS; ++t) {
                const Bytes x = broadcast(a[t] + 32 * b + 4 * v);
                SHOESTRING_UNROLL(4)
                for (int n = 0; n < N; ++n) {
                    sum[n][t] = dot<L::SIGNED>(sum[n][t], w[n], x);
                    SHOESTRING_PIN(sum[n][t]);
                }
            }
        }
        SHOESTRING_UNROLL(4)
        for (int n = 0; n < N; ++n) {
            const Floats d = at.halves(n, 0);
            SHOESTRING_UNROLL(16)
            for (int t = 0; t < TOKENS; ++t) {
                const Block32& x = tokens[t].blocks_32[b];
                acc[n][t] = add_product(whole<L::SIGNED>(sum[n][t]), d, x.scale, acc[n][t]);
                if constexpr (L::MIN_AT != 0)
                    acc[n][t] = add_multiple(at.halves(n, L::MIN_AT), x.scaled_sum, acc[n][t]);
            }
        }
        at.next_block(L::FORMAT.packed_bytes, 32);
    }
    at.store(acc, out);
}

// total + Σ over pairs of sub-blocks of values (scales or mins) times the sums of the activations.
SHOESTRING_INLINE Bytes add_sums(Bytes sum, const Bytes* values, const Block256& x) {
    SHOESTRING_UNROLL(4)
    for (int pair = 0; pair < 4; ++pair) sum = add_pairs(sum, values[pair], x.sums[pair]);
    return sum;
}

template <WeightType type, int GROUPS, int PARTS, int TOKENS, bool PANEL>
SHOESTRING_INLINE void tile_256(const TileRows& rows, int first_part, int64_t columns, const Token* tokens,
                                float* out) {
    using L = Layout<type>;
    constexpr Starts starts = starts_of(type);
    constexpr int N = GROUPS * PARTS, vectors = starts.columns / 4, sums = 256 / starts.columns;
    TileParts<GROUPS, PARTS, PANEL> at(rows, first_part, columns);
    const int64_t ahead = prefetch_distance<PARTS>(first_part, GROUPS * rows.stride);
    const int8_t* a[TOKENS];
    for (int t = 0; t < TOKENS; ++t) a[t] = tokens[t].quants;
    Floats acc[N][TOKENS] = {};
    at.load(acc, out);
    for (int64_t b = 0; b < columns / 256; ++b) {
        Bytes total[N][TOKENS];
        SHOESTRING_UNROLL(4)
        for (int n = 0; n < N; ++n) {
            SHOESTRING_UNROLL(16)
            for (int t = 0; t < TOKENS; ++t) total[n][t] = start(0);
        }
        SHOESTRING_UNROLL(32)
        for (int part = 0; part < sums; ++part) {
            if constexpr (!PANEL)
                for (int g = 0; g < GROUPS; ++g) prefetch_part<L::FORMAT.packed_bytes>(at.block[g] + ahead, part, sums);
            Bytes sum[N][TOKENS];
            SHOESTRING_UNROLL(4)
            for (int n = 0; n < N; ++n) {
                SHOESTRING_UNROLL(16)
                for (int t = 0; t < TOKENS; ++t) {
                    if constexpr (starts.offset == 0) sum[n][t] = start(0);
                    if constexpr (starts.offset != 0) sum[n][t] = start(tokens[t].starts[b * sums + part]);
                }
            }
            SHOESTRING_UNROLL(8)
            for (int v = part * vectors; v < (part + 1) * vectors; ++v) {
                Bytes w[N];
                SHOESTRING_UNROLL(4)
                for (int n = 0; n < N; ++n) w[n] = at.template weights<type>(n, v);
                SHOESTRING_UNROLL(16)
                for (int t = 0; t < TOKENS; ++t) {
                    const Bytes x = broadcast(a[t] + 256 * b + 4 * v);
                    SHOESTRING_UNROLL(4)
                    for (int n = 0; n < N; ++n) {
                        sum[n][t] = dot<false>(sum[n][t], w[n], x);
                        SHOESTRING_PIN(sum[n][t]);
                    }
                }
            }
            const int sub = part * starts.columns / L::SUB;
            SHOESTRING_UNROLL(4)
            for (int n = 0; n < N; ++n) {
                const Bytes scale = pick(at.template pairs<L::SIGNED_SCALES>(n, L::SCALES_AT, sub / 2), sub % 2);
                SHOESTRING_UNROLL(16)
                for (int t = 0; t < TOKENS; ++t) {
                    total[n][t] = add_scaled(total[n][t], sum[n][t], scale);
                    SHOESTRING_PIN(total[n][t]);
                }
            }
        }
        SHOESTRING_UNROLL(4)
        for (int n = 0; n < N; ++n) {
            const Floats d = at.halves(n, 0);
            // What the starts took off the weights, and the law does not.
            if constexpr (starts.offset != L::OFFSET) {
                Bytes scales[4];
                SHOESTRING_UNROLL(4)
                for (int pair = 0; pair < 4; ++pair)
                    scales[pair] = times_pairs(at.template pairs<L::SIGNED_SCALES>(n, L::SCALES_AT, pair),
                                               starts.offset - L::OFFSET);
                SHOESTRING_UNROLL(16)
                for (int t = 0; t < TOKENS; ++t) total[n][t] = add_sums(total[n][t], scales, tokens[t].blocks_256[b]);
            }
            SHOESTRING_UNROLL(16)
            for (int t = 0; t < TOKENS; ++t)
                acc[n][t] = add_product(total[n][t], d, tokens[t].blocks_256[b].scale, acc[n][t]);
            if constexpr (L::MINS_AT != 0) {
                const Floats dmin = at.halves(n, 32);
                Bytes mins[4];
                SHOESTRING_UNROLL(4)
                for (int pair = 0; pair < 4; ++pair) mins[pair] = at.template pairs<false>(n, L::MINS_AT, pair);
                SHOESTRING_UNROLL(16)
                for (int t = 0; t < TOKENS; ++t) {
                    const Block256& x = tokens[t].blocks_256[b];
                    acc[n][t] = subtract_product(add_sums(start(0), mins, x), dmin, x.scale, acc[n][t]);
                }
            }
        }
        at.next_block(L::FORMAT.packed_bytes, 256);
    }
    at.store(acc, out);
}

// Both parts of the groups. out [GROUPS][TILE_TOKENS][16], for tiles that read a panel [TOKENS][TILE_GROUPS][16].
template <WeightType type, int GROUPS, int TOKENS, bool PANEL>
void tile(const TileRows& rows, int64_t columns, const Token* tokens, float* out) {
    constexpr bool wide = Layout<type>::FORMAT.activation == shoestring::Activation::INT8_256;
    constexpr int PARTS = parts_at_once(TOKENS, PANEL);
    for (int part = 0; part < GROUP_PARTS; part += PARTS) {
        if constexpr (wide) tile_256<type, GROUPS, PARTS, TOKENS, PANEL>(rows, part, columns, tokens, out);
        if constexpr (!wide) tile_32<type, GROUPS, PARTS, TOKENS, PANEL>(rows, part, columns, tokens, out);
    }
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
