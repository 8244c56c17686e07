// Attention of one row: the query heads of one key-value head are too few for a widened panel to pay. Numbers are
// widened in registers as they are used. Canonical order: docs/numerics.md.
#pragma once

#include "kv_pages.h"
#include "lanes_math.h"

namespace SHOESTRING_VARIANT {
namespace {

constexpr int TILE_VECTORS = LANE_REGISTERS >= 32 ? 12 : 6;
// Sums of 16 that a tile keeps in registers, with room for what it multiplies.
constexpr int TILE_SUMS = LANE_REGISTERS >= 32 ? 24 : 6;
constexpr int MOST_STRIPS = 4;

// Strips of 16 columns that a tile of so many vectors takes at once, with so many sums: 1, 2 or 4.
constexpr int strips_at_once(int vectors, int sums = TILE_SUMS) {
    const int count = vectors < TILE_VECTORS ? vectors : TILE_VECTORS;
    return 4 * count <= sums || count == 1 ? 4 : 2 * count <= sums ? 2 : 1;
}

// tile.operator()<T, S>(strip) over `strips` strips for T = count vectors, as many at once as fit.
template <int T = TILE_VECTORS, int SUMS = TILE_SUMS, class TileOf>
SHOESTRING_INLINE void each_tile(int count, int strips, const TileOf& tile) {
    if constexpr (T > 1) {
        if (count != T) return each_tile<T - 1, SUMS>(count, strips, tile);
    }
    int strip = 0;
    if constexpr (strips_at_once(T, SUMS) >= 4)
        for (; strip + 4 <= strips; strip += 4) tile.template operator()<T, 4>(strip);
    if constexpr (strips_at_once(T, SUMS) >= 2)
        for (; strip + 2 <= strips; strip += 2) tile.template operator()<T, 2>(strip);
    for (; strip < strips; ++strip) tile.template operator()<T, 1>(strip);
}

// Prefetches the next data line by line during the current work: a burst would fill the core's buffers for misses, and
// the work would wait behind it.
struct Ahead {
    const char *at, *end;

    // As many bytes as the work has just read.
    SHOESTRING_INLINE void fetch(int bytes) {
        for (int i = 0; i < bytes; i += 64)
            if (at + i < end) prefetch_l2(at + i);
        at += bytes;
    }
};
inline Ahead ahead_of(const char* at, int64_t bytes) { return {at, at + bytes}; }

constexpr int DIRECT_TILE = 6;  // vectors
constexpr int DIRECT_SUMS = LANE_REGISTERS >= 32 ? 20 : 6;
constexpr int DIRECT_VECTORS = 2 * DIRECT_TILE;  // each number is then widened twice at most

// out[t][lane] = Σ_k a[t][k] · numbers(k, strip)[lane], k ascending from `begin`, from zero, or where it goes on from
// factor[t] · out[t].
template <int T, int S, bool GOES_ON, class Numbers>
SHOESTRING_INLINE void direct_tile(const float* a, int64_t a_stride, const Numbers& numbers, int strip, int begin,
                                   int end, const float* factor, float* out, int64_t out_stride, Ahead& ahead) {
    Lanes sum[T][S];
    for (int t = 0; t < T; ++t)
        for (int s = 0; s < S; ++s)
            sum[t][s] = GOES_ON ? mul(load(out + t * out_stride + s * LANES), set1(factor[t])) : zero();
    for (int k = begin; k < end; ++k) {
        ahead.fetch(S * LANES * Numbers::BYTES);
        for (int s = 0; s < S; ++s) {
            const Lanes widened = numbers(k, strip + s);
            for (int t = 0; t < T; ++t) sum[t][s] = fma(set1(a[t * a_stride + k]), widened, sum[t][s]);
        }
    }
    for (int t = 0; t < T; ++t)
        for (int s = 0; s < S; ++s) store(out + t * out_stride + s * LANES, sum[t][s]);
}

// All `vectors` × strips [strip, last_strip) of 16 columns, rows [begin, end); `out` begins at strip 0.
template <bool GOES_ON, class Numbers>
inline void direct_rows(int vectors, int strip, int last_strip, const float* a, int64_t a_stride,
                        const Numbers& numbers, int begin, int end, const float* factor, float* out, int64_t out_stride,
                        Ahead& ahead) {
    const int tiles = (vectors + DIRECT_TILE - 1) / DIRECT_TILE;
    for (int i = 0; i < tiles; ++i) {
        const int v = vectors * i / tiles, count = vectors * (i + 1) / tiles - v;
        each_tile<DIRECT_TILE, DIRECT_SUMS>(count, last_strip - strip, [&]<int T, int S>(int further) {
            const int at = strip + further;
            direct_tile<T, S, GOES_ON>(a + v * a_stride, a_stride, numbers, at, begin, end, factor + v,
                                       out + v * out_stride + at * LANES, out_stride, ahead);
        });
    }
}

// scores[v][position] = Σ_d q[v][d] · keys(d, strip)[position], for strips of 16 positions.
template <class Keys>
inline void direct_scores(int vectors, const float* q, int64_t q_stride, const Keys& keys, int head_dim, int strip,
                          int last_strip, float* scores, Ahead& ahead) {
    direct_rows<false>(vectors, strip, last_strip, q, q_stride, keys, 0, head_dim, q, scores, PAGE_TOKENS, ahead);
}

// weighted[v][d] = weighted[v][d] · rescale[v] + Σ_j p[v][j] · values(j, strip)[d], positions [low, high); dims whole
// strips.
template <class Values>
inline void direct_values(int vectors, const float* p, const Values& values, int head_dim, int low, int high,
                          const float* rescale, float* weighted, Ahead& ahead) {
    direct_rows<true>(vectors, 0, head_dim / LANES, p, PAGE_TOKENS, values, low, high, rescale, weighted, head_dim,
                      ahead);
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
