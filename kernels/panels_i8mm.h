// Panels (panels.h) for i8mm: one instruction, smmla, multiplies 8 columns of two tokens by 8 columns of two rows.
//
// A register of weights has a pair of rows, one of activations a pair of tokens. Sums, scales and accumulators keep the
// order in which smmla writes: the first token with both rows, then the second token. They are transposed where a panel
// begins and ends, and nowhere else. Sums are the same integers as those of dots.h, and the float steps the same.
//
//   weights     bytes become int8, their offset taken off, so sums start from zero
//   mins        Σ sub-min · Σ a of a block of 256 is a product of 8 columns too: Σ a, at most 32 · 127 = 4064, is split
//               into two bytes, low + (high << LOW_BITS)
#pragma once

#include "dots.h"

namespace SHOESTRING_VARIANT {
namespace {

constexpr int64_t MOST_PANEL_TOKENS = 240, PANEL_TOKENS = TILE_TOKENS + 1;
constexpr int64_t PANEL_COLUMNS = 1024;
// A tile: 4 pairs of rows times up to 3 pairs of tokens. Its sums, and the totals or accumulators, fill 24 registers.
constexpr int HALF_ROWS = 8, ROW_PAIRS = HALF_ROWS / 2, TOKEN_PAIRS = 3, LEAST_TOKEN_PAIRS = 2;
constexpr int LOW_BITS = 7;
static_assert(TILE_GROUPS == 1 && VECTOR_ROWS == 4);

using PanelProduct = void (*)(const TileRows& rows, int64_t columns, const Token* tokens, int64_t count,
                              uint8_t* memory, float* out);

// A block of half a group's rows in a panel; `m`, `dmin` and `mins` only where the type has them.
struct HalfBlock32 {
    int8_t quants[4][ROW_PAIRS][16];
    float d[ROW_PAIRS][4], m[ROW_PAIRS][4];
};
struct HalfBlock256 {
    int8_t quants[32][ROW_PAIRS][16];
    int32_t scales[16][ROW_PAIRS][4];
    float d[ROW_PAIRS][4], dmin[ROW_PAIRS][4];
    int8_t mins[ROW_PAIRS][16];
};
// A block of two tokens.
struct PairBlock32 {
    int8_t quants[4][16];
    float scale[4], scaled_sum[4];
};
struct PairBlock256 {
    int8_t quants[32][16];
    float scale[4];
    int8_t low[16], high[16];
};

constexpr int64_t PANEL_BYTES = PANEL_COLUMNS / 256 * 2 * static_cast<int64_t>(sizeof(HalfBlock256));
static_assert(PANEL_COLUMNS / 32 * 2 * sizeof(HalfBlock32) <= PANEL_BYTES && PANEL_BYTES % 64 == 0);

constexpr int64_t arranged_stride(int64_t columns) {
    static_assert(sizeof(PairBlock256) <= 8 * sizeof(PairBlock32));
    return columns / 32 * static_cast<int64_t>(sizeof(PairBlock32)) + 64;
}
constexpr int64_t arranged_bytes(int64_t tokens, int64_t columns) {
    return (tokens + 1) / 2 * arranged_stride(columns);
}

SHOESTRING_INLINE Bytes load_int8(const int8_t* p) { return vreinterpretq_s32_s8(vld1q_s8(p)); }
SHOESTRING_INLINE Bytes add_pairs_product(Bytes sum, Bytes tokens, Bytes rows) {
    return vmmlaq_s32(sum, as_int8(tokens), as_int8(rows));
}
// The lower, the upper halves of two registers.
SHOESTRING_INLINE Floats lower_halves(Floats a, Floats b) { return vcombine_f32(vget_low_f32(a), vget_low_f32(b)); }
SHOESTRING_INLINE Floats upper_halves(Floats a, Floats b) { return vcombine_f32(vget_high_f32(a), vget_high_f32(b)); }
SHOESTRING_INLINE Bytes lower_halves(Bytes a, Bytes b) { return vcombine_s32(vget_low_s32(a), vget_low_s32(b)); }
SHOESTRING_INLINE Bytes upper_halves(Bytes a, Bytes b) { return vcombine_s32(vget_high_s32(a), vget_high_s32(b)); }

// ---- Tokens.

template <int VECTORS>
SHOESTRING_INLINE void pair_quants(const int8_t* a, const int8_t* b, int8_t (*out)[16]) {
    for (int v = 0; v < VECTORS; v += 2) {
        const Bytes first = load_int8(a + 8 * v), second = load_int8(b + 8 * v);
        vst1q_s8(out[v], as_int8(lower_halves(first, second)));
        vst1q_s8(out[v + 1], as_int8(upper_halves(first, second)));
    }
}

SHOESTRING_INLINE void pair_floats(float a, float b, float* out) {
    vst1q_f32(out, vcombine_f32(vdup_n_f32(a), vdup_n_f32(b)));
}

void arrange_pair(const Token& a, const Token& b, int64_t columns, int8_t* memory) {
    if (a.blocks_32 != nullptr) {
        PairBlock32* out = reinterpret_cast<PairBlock32*>(memory);
        for (int64_t i = 0; i < columns / 32; ++i, ++out) {
            pair_quants<4>(a.quants + 32 * i, b.quants + 32 * i, out->quants);
            pair_floats(a.blocks_32[i].scale, b.blocks_32[i].scale, out->scale);
            pair_floats(a.blocks_32[i].scaled_sum, b.blocks_32[i].scaled_sum, out->scaled_sum);
        }
    } else {
        const int16x8_t low = vdupq_n_s16((1 << LOW_BITS) - 1);
        PairBlock256* out = reinterpret_cast<PairBlock256*>(memory);
        for (int64_t i = 0; i < columns / 256; ++i, ++out) {
            pair_quants<32>(a.quants + 256 * i, b.quants + 256 * i, out->quants);
            pair_floats(a.blocks_256[i].scale, b.blocks_256[i].scale, out->scale);
            const int16x8_t first = as_int16(vld1q_s32(a.blocks_256[i].sums));
            const int16x8_t second = as_int16(vld1q_s32(b.blocks_256[i].sums));
            vst1q_s8(out->low, vcombine_s8(vmovn_s16(vandq_s16(first, low)), vmovn_s16(vandq_s16(second, low))));
            vst1q_s8(out->high, vcombine_s8(vshrn_n_s16(first, LOW_BITS), vshrn_n_s16(second, LOW_BITS)));
        }
    }
}

// The first token of each pair then has the blocks of both as its quants. A last token without another is its own pair.
void arrange(Token* tokens, int64_t count, int64_t columns, int8_t* memory) {
    for (int64_t i = 0; i < count; i += 2, memory += arranged_stride(columns)) {
        arrange_pair(tokens[i], tokens[i + 1 < count ? i + 1 : i], columns, memory);
        tokens[i].quants = memory;
    }
}

// ---- Weights.

// Four rows of a float, or of an integer, to two pairs.
SHOESTRING_INLINE void store_twice(Floats a, float (*out)[4]) {
    vst1q_f32(out[0], lower_halves(a, a));
    vst1q_f32(out[1], upper_halves(a, a));
}
SHOESTRING_INLINE void store_twice(Bytes a, int32_t (*out)[4]) {
    vst1q_s32(out[0], lower_halves(a, a));
    vst1q_s32(out[1], upper_halves(a, a));
}

// Four rows from byte `place` of each word on, to two pairs.
template <WeightType type>
SHOESTRING_INLINE void unpack_rows(const uint8_t* block, int place, int8_t (*out)[ROW_PAIRS][16]) {
    using L = Layout<type>;
    const int8x16_t offset = vdupq_n_s8(L::SIGNED ? 0 : L::OFFSET);
    SHOESTRING_UNROLL(32)
    for (int v = 0; v < L::FORMAT.block / 8; ++v) {
        const Bytes first = L::quants(block, 2 * v, place), second = L::quants(block, 2 * v + 1, place);
        vst1q_s8(out[v][0], vsubq_s8(as_int8(vzip1q_s32(first, second)), offset));
        vst1q_s8(out[v][1], vsubq_s8(as_int8(vzip2q_s32(first, second)), offset));
    }
}

template <WeightType type>
void unpack_half(const uint8_t* block, int half, HalfBlock32* out) {
    using L = Layout<type>;
    for (int i = 0; i < 2; ++i) {
        const int part = 2 * half + i;
        unpack_rows<type>(block, VECTOR_BYTES * part,
                          reinterpret_cast<int8_t (*)[ROW_PAIRS][16]>(out->quants[0][2 * i]));
        store_twice(load_halves(block + 2 * VECTOR_ROWS * part), out->d + 2 * i);
        if constexpr (L::MIN_AT != 0)
            store_twice(load_halves(block + L::MIN_AT + 2 * VECTOR_ROWS * part), out->m + 2 * i);
    }
}

template <WeightType type>
void unpack_half(const uint8_t* block, int half, HalfBlock256* out) {
    using L = Layout<type>;
    for (int i = 0; i < 2; ++i) {
        const int part = 2 * half + i, at = 2 * VECTOR_ROWS * part;
        unpack_rows<type>(block, VECTOR_BYTES * part,
                          reinterpret_cast<int8_t (*)[ROW_PAIRS][16]>(out->quants[0][2 * i]));
        for (int sub = 0; sub < 256 / L::SUB; ++sub) {
            const Bytes scales = load_pairs<L::SIGNED_SCALES>(block + L::SCALES_AT + 32 * (sub / 2) + at);
            store_twice(pick(scales, sub % 2), out->scales[sub] + 2 * i);
        }
        store_twice(load_halves(block + at), out->d + 2 * i);
        if constexpr (L::MINS_AT != 0) store_twice(load_halves(block + 32 + at), out->dmin + 2 * i);
    }
    if constexpr (L::MINS_AT != 0) {
        const auto pair = [&](int i) {
            return vreinterpretq_u16_u8(vld1q_u8(block + L::MINS_AT + 32 * i + 2 * HALF_ROWS * half));
        };
        const uint16x8x4_t mins{{pair(0), pair(1), pair(2), pair(3)}};
        vst4q_u16(reinterpret_cast<uint16_t*>(out->mins), mins);  // a macro to clang, so no braces inside
    }
}

// ---- Tiles.

// Accumulators of a tile: out [2 PAIRS][16], of which a half of the rows.
template <int PAIRS>
SHOESTRING_INLINE void load_pairs(const float* out, Floats (&acc)[ROW_PAIRS][PAIRS]) {
    SHOESTRING_UNROLL(4)
    for (int p = 0; p < PAIRS; ++p) {
        SHOESTRING_UNROLL(4)
        for (int r = 0; r < ROW_PAIRS; r += 2) {
            const Floats a = load_floats(out + 32 * p + 2 * r), b = load_floats(out + 32 * p + 16 + 2 * r);
            acc[r][p] = lower_halves(a, b);
            acc[r + 1][p] = upper_halves(a, b);
        }
    }
}
template <int PAIRS>
SHOESTRING_INLINE void store_pairs(const Floats (&acc)[ROW_PAIRS][PAIRS], float* out) {
    SHOESTRING_UNROLL(4)
    for (int p = 0; p < PAIRS; ++p) {
        SHOESTRING_UNROLL(4)
        for (int r = 0; r < ROW_PAIRS; r += 2) {
            store_floats(out + 32 * p + 2 * r, lower_halves(acc[r][p], acc[r + 1][p]));
            store_floats(out + 32 * p + 16 + 2 * r, upper_halves(acc[r][p], acc[r + 1][p]));
        }
    }
}

// Sums of 8 VECTORS columns, from zero.
template <int VECTORS, int PAIRS, class PairBlock>
SHOESTRING_INLINE void sum_columns(const int8_t (*rows)[ROW_PAIRS][16], const PairBlock* const* tokens, int64_t block,
                                   int first, Bytes (&sum)[ROW_PAIRS][PAIRS]) {
    SHOESTRING_UNROLL(4)
    for (int r = 0; r < ROW_PAIRS; ++r) {
        SHOESTRING_UNROLL(4)
        for (int p = 0; p < PAIRS; ++p) sum[r][p] = start(0);
    }
    SHOESTRING_UNROLL(4)
    for (int v = first; v < first + VECTORS; ++v) {
        Bytes w[ROW_PAIRS];
        SHOESTRING_UNROLL(4)
        for (int r = 0; r < ROW_PAIRS; ++r) w[r] = load_int8(rows[v][r]);
        SHOESTRING_UNROLL(4)
        for (int p = 0; p < PAIRS; ++p) {
            const Bytes x = load_int8(tokens[p][block].quants[v]);
            SHOESTRING_UNROLL(4)
            for (int r = 0; r < ROW_PAIRS; ++r) {
                sum[r][p] = add_pairs_product(sum[r][p], x, w[r]);
                SHOESTRING_PIN(sum[r][p]);
            }
        }
    }
}

template <WeightType type, int PAIRS>
void tile_pairs(const HalfBlock32* rows, int64_t blocks, const PairBlock32* const* tokens_in, float* out) {
    const PairBlock32* tokens[PAIRS];
    for (int p = 0; p < PAIRS; ++p) tokens[p] = tokens_in[p];
    Floats acc[ROW_PAIRS][PAIRS];
    load_pairs(out, acc);
    for (int64_t b = 0; b < blocks; ++b) {
        Bytes sum[ROW_PAIRS][PAIRS];
        sum_columns<4>(rows[b].quants, tokens, b, 0, sum);
        SHOESTRING_UNROLL(4)
        for (int p = 0; p < PAIRS; ++p) {
            const Floats scale = load_floats(tokens[p][b].scale);
            SHOESTRING_UNROLL(4)
            for (int r = 0; r < ROW_PAIRS; ++r) {
                acc[r][p] = vfmaq_f32(acc[r][p], vcvtq_f32_s32(sum[r][p]), vmulq_f32(load_floats(rows[b].d[r]), scale));
                SHOESTRING_PIN(acc[r][p]);
            }
            if constexpr (Layout<type>::MIN_AT != 0) {
                const Floats scaled_sum = load_floats(tokens[p][b].scaled_sum);
                SHOESTRING_UNROLL(4)
                for (int r = 0; r < ROW_PAIRS; ++r)
                    acc[r][p] = vfmaq_f32(acc[r][p], load_floats(rows[b].m[r]), scaled_sum);
            }
        }
    }
    store_pairs(acc, out);
}

template <WeightType type, int PAIRS>
void tile_pairs(const HalfBlock256* rows, int64_t blocks, const PairBlock256* const* tokens_in, float* out) {
    using L = Layout<type>;
    const PairBlock256* tokens[PAIRS];
    for (int p = 0; p < PAIRS; ++p) tokens[p] = tokens_in[p];
    Floats acc[ROW_PAIRS][PAIRS];
    load_pairs(out, acc);
    for (int64_t b = 0; b < blocks; ++b) {
        Bytes total[ROW_PAIRS][PAIRS];
        SHOESTRING_UNROLL(4)
        for (int r = 0; r < ROW_PAIRS; ++r) {
            SHOESTRING_UNROLL(4)
            for (int p = 0; p < PAIRS; ++p) total[r][p] = start(0);
        }
        for (int sub = 0; sub < 256 / L::SUB; ++sub) {
            Bytes sum[ROW_PAIRS][PAIRS];
            sum_columns<L::SUB / 8>(rows[b].quants, tokens, b, sub * (L::SUB / 8), sum);
            SHOESTRING_UNROLL(4)
            for (int r = 0; r < ROW_PAIRS; ++r) {
                const Bytes scale = vld1q_s32(rows[b].scales[sub][r]);
                SHOESTRING_UNROLL(4)
                for (int p = 0; p < PAIRS; ++p) {
                    total[r][p] = add_scaled(total[r][p], sum[r][p], scale);
                    SHOESTRING_PIN(total[r][p]);
                }
            }
        }
        SHOESTRING_UNROLL(4)
        for (int p = 0; p < PAIRS; ++p) {
            const Floats scale = load_floats(tokens[p][b].scale);
            SHOESTRING_UNROLL(4)
            for (int r = 0; r < ROW_PAIRS; ++r)
                acc[r][p] =
                    vfmaq_f32(acc[r][p], vcvtq_f32_s32(total[r][p]), vmulq_f32(load_floats(rows[b].d[r]), scale));
            if constexpr (L::MINS_AT != 0) {
                const Bytes low = load_int8(tokens[p][b].low), high = load_int8(tokens[p][b].high);
                SHOESTRING_UNROLL(4)
                for (int r = 0; r < ROW_PAIRS; ++r) {
                    const Bytes mins = load_int8(rows[b].mins[r]);
                    const Bytes upper = vshlq_n_s32(add_pairs_product(start(0), high, mins), LOW_BITS);
                    acc[r][p] = vfmsq_f32(acc[r][p], vcvtq_f32_s32(add_pairs_product(upper, low, mins)),
                                          vmulq_f32(load_floats(rows[b].dmin[r]), scale));
                }
            }
        }
    }
    store_pairs(acc, out);
}

template <WeightType type, int PAIRS, class HalfBlock, class PairBlock>
SHOESTRING_INLINE void tile_of_size(int size, const HalfBlock* rows, int64_t blocks, const PairBlock* const* tokens,
                                    float* out) {
    if (size == PAIRS) return tile_pairs<type, PAIRS>(rows, blocks, tokens, out);
    if constexpr (PAIRS > 1) tile_of_size<type, PAIRS - 1>(size, rows, blocks, tokens, out);
}

template <WeightType type, class HalfBlock, class PairBlock>
SHOESTRING_INLINE void product_by_pairs(const TileRows& rows, int64_t columns, const Token* tokens, int64_t count,
                                        HalfBlock* panel, float* out) {
    constexpr shoestring::WeightFormat format = Layout<type>::FORMAT;
    constexpr int64_t most = PANEL_COLUMNS / format.block;
    const int64_t blocks = columns / format.block, pairs = (count + 1) / 2;
    std::memset(out, 0, static_cast<size_t>(pairs * 2 * shoestring::GROUP_ROWS) * 4);
    for (int64_t block = 0; block < blocks; block += most) {
        const int64_t width = blocks - block < most ? blocks - block : most;
        for (int half = 0; half < 2; ++half)
            for (int64_t b = 0; b < width; ++b)
                unpack_half<type>(rows.data + (block + b) * format.packed_bytes, half, panel + half * most + b);
        for (int64_t first = 0; first < pairs;) {
            const int64_t left = pairs - first, tiles = (left + TOKEN_PAIRS - 1) / TOKEN_PAIRS;
            const int size = static_cast<int>((left + tiles - 1) / tiles);
            const PairBlock* at[TOKEN_PAIRS];
            for (int i = 0; i < size; ++i)
                at[i] = reinterpret_cast<const PairBlock*>(tokens[2 * (first + i)].quants) + block;
            for (int half = 0; half < 2; ++half)
                tile_of_size<type, TOKEN_PAIRS>(size, panel + half * most, width, at,
                                                out + 2 * first * shoestring::GROUP_ROWS + half * HALF_ROWS);
            first += size;
        }
    }
}

// Of an odd number of tokens the last one is computed twice: to `out` at `count` as well.
template <WeightType type, int GROUPS>
void panel_product(const TileRows& rows, int64_t columns, const Token* tokens, int64_t count, uint8_t* memory,
                   float* out) {
    static_assert(GROUPS == 1 && MOST_PANEL_TOKENS % 2 == 0);
    if constexpr (Layout<type>::FORMAT.activation == shoestring::Activation::INT8_256)
        product_by_pairs<type, HalfBlock256, PairBlock256>(rows, columns, tokens, count,
                                                           reinterpret_cast<HalfBlock256*>(memory), out);
    else
        product_by_pairs<type, HalfBlock32, PairBlock32>(rows, columns, tokens, count,
                                                         reinterpret_cast<HalfBlock32*>(memory), out);
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
