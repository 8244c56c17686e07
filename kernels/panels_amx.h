// Panels (panels.h) for AMX: tiles of 16 tokens × 16 rows, whose integer sums the matrix unit computes.
//
// A register of a group's bytes, 16 rows × 4 columns, is one row of a tile of weights; the quants of 16 tokens are the
// rows of a tile of activations. Sums are the same integers as those of dots.h, and the float steps the same.
//
//   32 columns   one sum a block: int8 weights, their offset taken off.
//   256 columns  the sub-scale is multiplied into the weights, which makes up to 13 bits of them: two panels of bytes,
//                low + (high << DIGIT_BITS). Each has one sum over the whole block. Q4_K and Q5_K split the sub-scale
//                in two digits of 3 bits, whose products with a weight fit a byte (31 · 7 = 217); Q6_K its product (32
//                · 128 = 4096) in 7 bits and a signed rest.
//
// The unit works beside the vector registers: while it sums a tile, these take the float steps of the one before.
#pragma once

#include <immintrin.h>

#include "dots.h"

namespace SHOESTRING_VARIANT {
namespace {

constexpr int64_t MOST_PANEL_TOKENS = 240, UNIT_TOKENS = 16;
// A tile of fewer tokens takes as long as a full one; the dots take as long for about six.
constexpr int64_t PANEL_TOKENS = 8;
constexpr int64_t PANEL_COLUMNS = 256;
constexpr int64_t SUM_BYTES = 1024, SUM_TILES = 4;
constexpr int64_t WEIGHT_BYTES = PANEL_COLUMNS * shoestring::GROUP_ROWS * TILE_GROUPS * 2;
constexpr int64_t PANEL_BYTES = WEIGHT_BYTES + 2 * SUM_TILES * SUM_BYTES;
static_assert(TILE_GROUPS == 2 && GROUP_PARTS == 1);

using PanelProduct = void (*)(const TileRows& rows, int64_t columns, const Token* tokens, int64_t count,
                              uint8_t* memory, float* out);

constexpr int64_t arranged_stride(int64_t columns) { return (columns + 63) / 64 * 64 + 64; }
// tokens: a multiple of UNIT_TOKENS.
constexpr int64_t arranged_bytes(int64_t tokens, int64_t columns) { return tokens * arranged_stride(columns); }

int64_t quants_step(const Token* tokens, int64_t count) { return count > 1 ? tokens[1].quants - tokens[0].quants : 0; }

// The unit reads the quants of whole tiles of tokens at equal distances. Where they lie otherwise, they are copied.
void arrange(Token* tokens, int64_t count, int64_t columns, int8_t* memory) {
    bool equal = count % UNIT_TOKENS == 0;
    const int64_t step = quants_step(tokens, count);
    for (int64_t i = 2; equal && i < count; ++i) equal = tokens[i].quants - tokens[i - 1].quants == step;
    for (int64_t i = 0; !equal && i < count; ++i) {
        int8_t* copy = memory + i * arranged_stride(columns);
        std::memcpy(copy, tokens[i].quants, static_cast<size_t>(columns));
        tokens[i].quants = copy;
    }
}

// Sums are tiles 0 … 3. Activations 4 and 5, weights 6 and 7: of 64 columns, or of 32.
class TileShapes {
  public:
    explicit TileShapes(int columns) {
        Shapes shapes{};
        shapes.palette = 1;
        for (int tile = 0; tile < 8; ++tile) {
            shapes.rows[tile] = static_cast<uint8_t>(tile < 6 ? 16 : columns / 4);
            shapes.row_bytes[tile] = static_cast<uint16_t>(tile == 4 || tile == 5 ? columns : 64);
        }
        asm volatile("" : "+m"(shapes));
        _tile_loadconfig(&shapes);
    }
    ~TileShapes() { _tile_release(); }
    TileShapes(const TileShapes&) = delete;
    TileShapes& operator=(const TileShapes&) = delete;

  private:
    struct alignas(64) Shapes {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    };
};

// The intrinsics of tiles do not say that they read memory.
SHOESTRING_INLINE void stores_before_tiles() { asm volatile("" ::: "memory"); }

SHOESTRING_INLINE void store_sums(int32_t* sums) {
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + 256, 64);
    _tile_stored(2, sums + 512, 64);
    _tile_stored(3, sums + 768, 64);
    stores_before_tiles();
}

SHOESTRING_INLINE void clear_sums() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

SHOESTRING_INLINE Bytes load_sums(const int32_t* sums, int tile, int64_t token) {
    return _mm512_loadu_si512(sums + 256 * tile + 16 * token);
}

// ---- Blocks of 256 columns.

template <WeightType type>
constexpr int DIGIT_BITS = Layout<type>::SIGNED_SCALES ? 7 : 3;

// A block of a group: low [64][64], high [64][64].
template <WeightType type>
SHOESTRING_INLINE void unpack_digits(const uint8_t* block, uint8_t* low, uint8_t* high) {
    using L = Layout<type>;
    constexpr int vectors = L::SUB / 4;
    SHOESTRING_UNROLL(16)
    for (int sub = 0; sub < 256 / L::SUB; ++sub) {
        const Bytes scale = twice(load_pairs<L::SIGNED_SCALES>(block + L::SCALES_AT + 32 * (sub / 2)), sub % 2);
        SHOESTRING_UNROLL(8)
        for (int v = sub * vectors; v < (sub + 1) * vectors; ++v) {
            const Bytes q = L::quants(block, v, 0);
            if constexpr (!L::SIGNED_SCALES) {
                // Both bytes of a pair at once: the product of the first does not reach the second.
                store_bytes(low + 64 * v, _mm512_mullo_epi16(q, _mm512_and_si512(scale, _mm512_set1_epi16(7))));
                store_bytes(high + 64 * v, _mm512_mullo_epi16(q, _mm512_srli_epi16(scale, 3)));
            } else {
                constexpr __mmask64 seconds = 0xaaaaaaaaaaaaaaaa;
                const Bytes offset = times_pairs(scale, L::OFFSET);
                const Bytes first = _mm512_sub_epi16(multiply_bytes(q, _mm512_maskz_mov_epi8(~seconds, scale)), offset);
                const Bytes second = _mm512_sub_epi16(multiply_bytes(q, _mm512_slli_epi16(scale, 8)), offset);
                const Bytes digits = _mm512_mask_mov_epi8(first, seconds, _mm512_slli_epi16(second, 8));
                store_bytes(low + 64 * v, _mm512_and_si512(digits, bytes(127)));
                store_bytes(high + 64 * v,
                            _mm512_mask_mov_epi8(_mm512_srai_epi16(first, 7), seconds, _mm512_slli_epi16(second, 1)));
            }
        }
    }
}

// What the float steps of a block read of its groups.
template <WeightType type, int GROUPS>
struct BlockScales {
    Floats d[GROUPS], dmin[GROUPS];
    Bytes mins[GROUPS][4];

    SHOESTRING_INLINE BlockScales(const uint8_t* block, int64_t stride) {
        using L = Layout<type>;
        SHOESTRING_UNROLL(2)
        for (int g = 0; g < GROUPS; ++g, block += stride) {
            d[g] = load_halves(block);
            if constexpr (L::MINS_AT != 0) {
                dmin[g] = load_halves(block + 32);
                SHOESTRING_UNROLL(4)
                for (int pair = 0; pair < 4; ++pair) mins[g][pair] = load_pairs<false>(block + L::MINS_AT + 32 * pair);
            }
        }
    }
};

template <WeightType type, int GROUPS>
SHOESTRING_INLINE void float_steps_256(const BlockScales<type, GROUPS>& scales, const int32_t* sums, int64_t t,
                                       const Block256& x, float* out) {
    SHOESTRING_UNROLL(2)
    for (int g = 0; g < GROUPS; ++g) {
        const Bytes high = _mm512_slli_epi32(load_sums(sums, 2 * g + 1, t), DIGIT_BITS<type>);
        Floats acc = load_floats(out + 16 * g);
        acc = add_product(add_32(load_sums(sums, 2 * g, t), high), scales.d[g], x.scale, acc);
        if constexpr (Layout<type>::MINS_AT != 0)
            acc = subtract_product(add_sums(start(0), scales.mins[g], x), scales.dmin[g], x.scale, acc);
        store_floats(out + 16 * g, acc);
    }
}

template <WeightType type, int GROUPS>
void panel_product_256(const TileRows& rows, int64_t columns, const Token* tokens, int64_t count, uint8_t* memory,
                       float* out) {
    constexpr int64_t DIGIT = PANEL_COLUMNS * shoestring::GROUP_ROWS, OUT = TILE_GROUPS * shoestring::GROUP_ROWS;
    constexpr int packed_bytes = Layout<type>::FORMAT.packed_bytes;
    const int64_t step = quants_step(tokens, count);
    int32_t* sums[2] = {reinterpret_cast<int32_t*>(memory + WEIGHT_BYTES),
                        reinterpret_cast<int32_t*>(memory + WEIGHT_BYTES + SUM_TILES * SUM_BYTES)};
    const TileShapes shapes(64);
    for (int64_t b = 0; b < columns / 256; ++b) {
        const uint8_t* block = rows.data + b * packed_bytes;
        for (int g = 0; g < GROUPS; ++g)
            unpack_digits<type>(block + g * rows.stride, memory + 2 * g * DIGIT, memory + (2 * g + 1) * DIGIT);
        stores_before_tiles();
        const BlockScales<type, GROUPS> scales(block, rows.stride);
        const auto steps = [&](int64_t first, int64_t begin, int64_t end) {
            const int64_t last = count - first < end ? count - first : end;
            for (int64_t t = begin; t < last; ++t)
                float_steps_256<type, GROUPS>(scales, sums[first / UNIT_TOKENS % 2], t, tokens[first + t].blocks_256[b],
                                              out + (first + t) * OUT);
        };
        for (int64_t first = 0; first < count; first += UNIT_TOKENS) {
            clear_sums();
            SHOESTRING_UNROLL(4)
            for (int quarter = 0; quarter < 4; ++quarter) {
                if (first == 0)
                    for (int g = 0; g < GROUPS; ++g)
                        prefetch_part<packed_bytes>(block + g * rows.stride + packed_bytes, quarter, 4);
                const uint8_t* w = memory + 1024 * quarter;
                _tile_loadd(4, tokens[first].quants + 256 * b + 64 * quarter, step);
                _tile_loadd(6, w, 64);
                _tile_loadd(7, w + DIGIT, 64);
                if constexpr (Layout<type>::SIGNED_SCALES) {
                    _tile_dpbssd(0, 4, 6);
                    _tile_dpbssd(1, 4, 7);
                } else {
                    _tile_dpbsud(0, 4, 6);
                    _tile_dpbsud(1, 4, 7);
                }
                if constexpr (GROUPS == 2) {
                    _tile_loadd(6, w + 2 * DIGIT, 64);
                    _tile_loadd(7, w + 3 * DIGIT, 64);
                    if constexpr (Layout<type>::SIGNED_SCALES) {
                        _tile_dpbssd(2, 4, 6);
                        _tile_dpbssd(3, 4, 7);
                    } else {
                        _tile_dpbsud(2, 4, 6);
                        _tile_dpbsud(3, 4, 7);
                    }
                }
                if (first > 0) steps(first - UNIT_TOKENS, 4 * quarter, 4 * quarter + 4);
            }
            store_sums(sums[first / UNIT_TOKENS % 2]);
        }
        steps((count - 1) / UNIT_TOKENS * UNIT_TOKENS, 0, UNIT_TOKENS);
    }
}

// ---- Blocks of 32 columns.

template <WeightType type>
SHOESTRING_INLINE void unpack_signed(const uint8_t* group, int64_t blocks, uint8_t* panel) {
    using L = Layout<type>;
    for (int64_t b = 0; b < blocks; ++b, group += L::FORMAT.packed_bytes, panel += 512) {
        SHOESTRING_UNROLL(8)
        for (int v = 0; v < 8; ++v)
            store_bytes(panel + 64 * v, _mm512_sub_epi8(L::quants(group, v, 0), bytes(L::OFFSET)));
    }
}

// The float steps of two blocks of 32 from block b on, or of the last one.
template <WeightType type, int GROUPS>
SHOESTRING_INLINE void float_steps_32(const TileRows& rows, const int32_t* sums, int64_t b, bool two,
                                      const Token* tokens, int64_t begin, int64_t end, float* out) {
    using L = Layout<type>;
    constexpr int64_t OUT = TILE_GROUPS * shoestring::GROUP_ROWS;
    const uint8_t* block = rows.data + b * L::FORMAT.packed_bytes;
    SHOESTRING_UNROLL(2)
    for (int g = 0; g < GROUPS; ++g, block += rows.stride) {
        const uint8_t* second = block + (two ? L::FORMAT.packed_bytes : 0);
        const Floats d[2] = {load_halves(block), load_halves(second)};
        Floats m[2] = {};
        if constexpr (L::MIN_AT != 0) {
            m[0] = load_halves(block + L::MIN_AT);
            m[1] = load_halves(second + L::MIN_AT);
        }
        for (int64_t t = begin; t < end; ++t) {
            const Block32* x = tokens[t].blocks_32 + b;
            Floats acc = load_floats(out + t * OUT + 16 * g);
            acc = add_product(load_sums(sums, 2 * g, t), d[0], x[0].scale, acc);
            if constexpr (L::MIN_AT != 0) acc = add_multiple(m[0], x[0].scaled_sum, acc);
            if (two) {
                acc = add_product(load_sums(sums, 2 * g + 1, t), d[1], x[1].scale, acc);
                if constexpr (L::MIN_AT != 0) acc = add_multiple(m[1], x[1].scaled_sum, acc);
            }
            store_floats(out + t * OUT + 16 * g, acc);
        }
    }
}

template <WeightType type, int GROUPS>
void panel_product_32(const TileRows& rows, int64_t columns, const Token* tokens, int64_t count, uint8_t* memory,
                      float* out) {
    constexpr int64_t OUT = TILE_GROUPS * shoestring::GROUP_ROWS, GROUP = PANEL_COLUMNS * shoestring::GROUP_ROWS;
    constexpr int packed_bytes = Layout<type>::FORMAT.packed_bytes;
    const int64_t step = quants_step(tokens, count), blocks = columns / 32;
    int32_t* sums[2] = {reinterpret_cast<int32_t*>(memory + WEIGHT_BYTES),
                        reinterpret_cast<int32_t*>(memory + WEIGHT_BYTES + SUM_TILES * SUM_BYTES)};
    const TileShapes shapes(32);
    for (int64_t panel = 0; panel < blocks; panel += 8) {
        const int64_t end = blocks - panel < 8 ? blocks : panel + 8;
        for (int g = 0; g < GROUPS; ++g)
            unpack_signed<type>(rows.data + g * rows.stride + panel * packed_bytes, end - panel, memory + g * GROUP);
        stores_before_tiles();
        int64_t before = -1, first_before = 0, turn = 0;  // the blocks and tokens whose float steps come next
        const auto steps = [&](int part, int parts) {
            if (before < 0) return;
            const int64_t left = count - first_before, size = left < UNIT_TOKENS ? left : UNIT_TOKENS;
            const int64_t from = UNIT_TOKENS * part / parts, to = UNIT_TOKENS * (part + 1) / parts;
            float_steps_32<type, GROUPS>(rows, sums[(turn + 1) % 2], before, before + 1 < end, tokens + first_before,
                                         from, to < size ? to : size, out + first_before * OUT);
        };
        for (int64_t first = 0; first < count; first += UNIT_TOKENS) {
            for (int64_t b = panel; b < end; b += 2) {
                const int8_t* x = tokens[first].quants + 32 * b;
                const uint8_t* w = memory + 512 * (b - panel);
                clear_sums();
                _tile_loadd(4, x, step);
                _tile_loadd(6, w, 64);
                _tile_dpbssd(0, 4, 6);
                if constexpr (GROUPS == 2) {
                    _tile_loadd(7, w + GROUP, 64);
                    _tile_dpbssd(2, 4, 7);
                }
                steps(0, 2);
                if (b + 1 < end) {
                    _tile_loadd(5, x + 32, step);
                    _tile_loadd(6, w + 512, 64);
                    _tile_dpbssd(1, 5, 6);
                    if constexpr (GROUPS == 2) {
                        _tile_loadd(7, w + GROUP + 512, 64);
                        _tile_dpbssd(3, 5, 7);
                    }
                }
                steps(1, 2);
                store_sums(sums[turn % 2]);
                before = b;
                first_before = first;
                ++turn;
            }
        }
        steps(0, 1);
    }
}

template <WeightType type, int GROUPS>
void panel_product(const TileRows& rows, int64_t columns, const Token* tokens, int64_t count, uint8_t* memory,
                   float* out) {
    std::memset(out, 0, static_cast<size_t>(count * TILE_GROUPS * shoestring::GROUP_ROWS) * 4);
    if constexpr (Layout<type>::FORMAT.activation == shoestring::Activation::INT8_256)
        panel_product_256<type, GROUPS>(rows, columns, tokens, count, memory, out);
    else
        panel_product_32<type, GROUPS>(rows, columns, tokens, count, memory, out);
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
