// Attention among all rows of one part of a picture: no mask, no pages. Canonical order: docs/numerics.md.
//
// A head's keys and values are packed once, in blocks of PART_BLOCK rows: keys transposed, values padded to whole
// vectors. A unit is PART_ROWS rows of queries; it goes through all blocks, ascending. In each block the scores are a
// product of the queries with the block's keys, the weighted values another one, both by the same register tile.
//
// Shapes: D head dim, D16 the next multiple of 16, B = PART_BLOCK.
#pragma once

#include "lanes_math.h"
#include "vision_table.h"

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::PART_BLOCK;
using shoestring::PART_ROWS;
using shoestring::PartAttention;

constexpr int64_t whole_vectors(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

// Queries and vectors of a register tile: as many sums as registers allow.
#if defined(__AVX512F__)
constexpr int PART_TILE = 6, PART_VECTORS = 4;
#else
constexpr int PART_TILE = 6, PART_VECTORS = 1;
#endif

// out[t][16 s + lane] = Σ_k a[t][k] · panel[k][16 s + lane], k ascending, from zero or from start[t] · out[t].
template <int T, int S>
SHOESTRING_INLINE void part_tile(const float* a, int64_t a_stride, const float* panel, int64_t panel_stride,
                                 int64_t depth, const float* start, float* out, int64_t out_stride) {
    Lanes sum[T][S];
    for (int t = 0; t < T; ++t)
        for (int s = 0; s < S; ++s)
            sum[t][s] = start ? mul(load(out + t * out_stride + s * LANES), set1(start[t])) : zero();
    for (int64_t k = 0; k < depth; ++k) {
        Lanes column[S];
        for (int s = 0; s < S; ++s) column[s] = load(panel + k * panel_stride + s * LANES);
        for (int t = 0; t < T; ++t) {
            const Lanes x = set1(a[t * a_stride + k]);
            for (int s = 0; s < S; ++s) sum[t][s] = fma(x, column[s], sum[t][s]);
        }
    }
    for (int t = 0; t < T; ++t)
        for (int s = 0; s < S; ++s) store(out + t * out_stride + s * LANES, sum[t][s]);
}

// All vectors of PART_ROWS queries; rows past the last query are zeros.
inline void part_product(const float* a, int64_t a_stride, const float* panel, int64_t panel_stride, int64_t depth,
                         int64_t width, const float* start, float* out, int64_t out_stride) {
    int64_t at = 0;
    for (; at + PART_VECTORS * LANES <= width; at += PART_VECTORS * LANES)
        for (int64_t t = 0; t < PART_ROWS; t += PART_TILE)
            part_tile<PART_TILE, PART_VECTORS>(a + t * a_stride, a_stride, panel + at, panel_stride, depth,
                                               start ? start + t : nullptr, out + t * out_stride + at, out_stride);
    for (; at < width; at += LANES)
        for (int64_t t = 0; t < PART_ROWS; t += PART_TILE)
            part_tile<PART_TILE, 1>(a + t * a_stride, a_stride, panel + at, panel_stride, depth,
                                    start ? start + t : nullptr, out + t * out_stride + at, out_stride);
}

int64_t part_panel_floats(int64_t rows, int64_t head_dim) {
    const int64_t blocks = (rows + PART_BLOCK - 1) / PART_BLOCK;
    return blocks * PART_BLOCK * (head_dim + whole_vectors(head_dim));
}

// Queries [PART_ROWS, D], scores [PART_ROWS, B], sums [PART_ROWS, D16], and three numbers a query.
int64_t part_scratch_floats(int64_t head_dim) {
    return PART_ROWS * (whole_vectors(head_dim) + PART_BLOCK + whole_vectors(head_dim) + 3);
}

void part_pack(const PartAttention& op, int head, float* panels, int64_t begin, int64_t end) {
    const int64_t D = op.head_dim, D16 = whole_vectors(D), stride = op.heads * D;
    for (int64_t block = begin; block < end; ++block) {
        float* keys = panels + block * PART_BLOCK * (D + D16);
        float* values = keys + PART_BLOCK * D;
        for (int64_t j = 0; j < PART_BLOCK; ++j) {
            const int64_t row = block * PART_BLOCK + j;
            const bool there = row < op.rows;
            const float *k = op.k + row * stride + head * D, *v = op.v + row * stride + head * D;
            for (int64_t d = 0; d < D; ++d) keys[d * PART_BLOCK + j] = there ? k[d] : 0.0f;
            for (int64_t d = 0; d < D16; ++d) values[j * D16 + d] = there && d < D ? v[d] : 0.0f;
        }
    }
}

// Scores of one query → their exponentials, zero past `count`. Updates its largest score and its sum; returns the
// factor of what was summed before.
SHOESTRING_INLINE float part_softmax(float* scores, int64_t count, float* largest, float* sum) {
    Lanes most = set1(*largest);
    for (int64_t i = 0; i < PART_BLOCK; i += LANES) {
        Lanes score = load(scores + i);
        if (i + LANES > count)
            score = select(less(lane_numbers(), set1(int32_t(count - i))), score, negate(infinity()));
        most = max(score, most);
    }
    const float before = *largest, after = fold_max(most);
    const Lanes shift = set1(after);
    Lanes total = zero();
    for (int64_t i = 0; i < PART_BLOCK; i += LANES) {
        Lanes p = exp_nonpositive(sub(load(scores + i), shift));
        if (i + LANES > count) p = select(less(lane_numbers(), set1(int32_t(count - i))), p, zero());
        store(scores + i, p);
        total = add(total, p);
    }
    const float factor = before == after ? 1.0f : first_lane(exp_nonpositive(set1(before - after)));
    *largest = after;
    *sum = fma(*sum, factor, fold_sum(total));
    return factor;
}

void part_attend(const PartAttention& op, int head, const float* panels, float* scratch, int64_t begin, int64_t end) {
    const int64_t D = op.head_dim, D16 = whole_vectors(D), stride = op.heads * D;
    const int64_t blocks = (op.rows + PART_BLOCK - 1) / PART_BLOCK;
    float* q = scratch;
    float* scores = q + PART_ROWS * D16;
    float* weighted = scores + PART_ROWS * PART_BLOCK;
    float *largest = weighted + PART_ROWS * D16, *sums = largest + PART_ROWS, *factors = sums + PART_ROWS;
    for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t first = unit * PART_ROWS, left = op.rows - first;
        const int64_t rows = left < PART_ROWS ? left : PART_ROWS;
        for (int64_t t = 0; t < PART_ROWS; ++t) {
            for (int64_t d = 0; d < D16; d += LANES) {
                const int count = int(D - d < LANES ? D - d : LANES);
                const Lanes row = t < rows ? load(op.q + (first + t) * stride + head * D + d, count) : zero();
                store(q + t * D16 + d, mul(row, set1(op.scale)));
                store(weighted + t * D16 + d, zero());
            }
            largest[t] = -__builtin_inff();
            sums[t] = 0.0f;
        }
        for (int64_t block = 0; block < blocks; ++block) {
            const float* keys = panels + block * PART_BLOCK * (D + D16);
            const int64_t here = op.rows - block * PART_BLOCK, count = here < PART_BLOCK ? here : PART_BLOCK;
            part_product(q, D16, keys, PART_BLOCK, D, PART_BLOCK, nullptr, scores, PART_BLOCK);
            for (int64_t t = 0; t < PART_ROWS; ++t)
                factors[t] = part_softmax(scores + t * PART_BLOCK, count, largest + t, sums + t);
            part_product(scores, PART_BLOCK, keys + PART_BLOCK * D, D16, count, D16, factors, weighted, D16);
        }
        for (int64_t t = 0; t < rows; ++t)
            for (int64_t d = 0; d < D; d += LANES)
                store(op.out + (first + t) * stride + head * D + d, div(load(weighted + t * D16 + d), set1(sums[t])),
                      int(D - d < LANES ? D - d : LANES));
    }
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
