// y = x · Wᵀ of many rows with float weights: the same sums as matmul.h, in larger tiles.
//
// Some columns of a group of 16 weight rows are widened once to a panel of floats, which stays in the first-level cache
// while all rows go by; their sums wait in the result until the next columns.
// Sum of an output: acc = fma(x_k, w_k, acc) from 0, k ascending.
#pragma once

#include "lanes_math.h"
#include "vision_table.h"
#include "weights.h"

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::GROUP_ROWS;
using shoestring::MatrixView;
using shoestring::WeightType;

// Rows and groups of a register tile, and the columns of a panel.
#if defined(__AVX512F__)
constexpr int PRODUCT_ROWS = 8, PRODUCT_GROUPS = 3, PRODUCT_DEPTH = 192;
#else
constexpr int PRODUCT_ROWS = 6, PRODUCT_GROUPS = 1, PRODUCT_DEPTH = 512;
#endif
constexpr int PRODUCT_WIDTH = PRODUCT_GROUPS * GROUP_ROWS;

int64_t product_groups() { return PRODUCT_GROUPS; }
int64_t product_scratch_floats() { return PRODUCT_DEPTH * PRODUCT_WIDTH; }

// Columns [begin, end) of one group, `PRODUCT_WIDTH` floats apart; begin is even.
inline void widen_group(const MatrixView& w, int64_t group, int64_t begin, int64_t end, float* panel) {
    const uint8_t* data = w.data + group * shoestring::group_bytes(w.type, w.columns);
    if (w.type == WeightType::F32) {
        const float* p = reinterpret_cast<const float*>(data);
        for (int64_t k = begin; k < end; ++k, panel += PRODUCT_WIDTH) store(panel, load(p + k * LANES));
    } else if (w.type == WeightType::F16) {
        const uint16_t* p = reinterpret_cast<const uint16_t*>(data);
        for (int64_t k = begin; k < end; ++k, panel += PRODUCT_WIDTH) store(panel, load_f16(p + k * LANES));
    } else {  // BF16, in pairs of columns
        const int32_t* p = reinterpret_cast<const int32_t*>(data);
        for (int64_t k = begin; k < end; k += 2, panel += 2 * PRODUCT_WIDTH) {
            const Ints pair = load(p + k / 2 * LANES);
            store(panel, as_floats(shift_left<16>(pair)));
            if (k + 1 < end) store(panel + PRODUCT_WIDTH, as_floats(bit_and(pair, set1(int32_t(0xffff0000)))));
        }
    }
}

// T rows × all of a panel's groups; goes on from `out` unless it is the first panel. width: rows of weights that exist.
template <int T>
inline void product_tile(const float* x, int64_t x_stride, const float* panel, int64_t depth, bool first, int64_t width,
                         float* out, int64_t out_stride) {
    Lanes sum[T][PRODUCT_GROUPS];
    auto each = [&](auto&& body) {
        for (int t = 0; t < T; ++t)
            for (int s = 0; s < PRODUCT_GROUPS; ++s) {
                const int64_t left = width - s * LANES;
                body(sum[t][s], out + t * out_stride + s * LANES, int(left < 0 ? 0 : left < LANES ? left : LANES));
            }
    };
    if (first)
        each([](Lanes& y, float*, int) { y = zero(); });
    else if (width == PRODUCT_WIDTH)
        each([](Lanes& y, float* at, int) { y = load(at); });
    else
        each([](Lanes& y, float* at, int count) { y = load(at, count); });
    const float* rows[T];
    for (int t = 0; t < T; ++t) rows[t] = x + t * x_stride;
    for (int64_t k = 0; k < depth; ++k, panel += PRODUCT_WIDTH) {
        Lanes column[PRODUCT_GROUPS];
        for (int s = 0; s < PRODUCT_GROUPS; ++s) column[s] = load(panel + s * LANES);
        for (int t = 0; t < T; ++t) {
            const Lanes value = set1(rows[t][k]);
            for (int s = 0; s < PRODUCT_GROUPS; ++s) sum[t][s] = fma(column[s], value, sum[t][s]);
        }
    }
    if (width == PRODUCT_WIDTH)
        each([](Lanes& y, float* at, int) { store(at, y); });
    else
        each([](Lanes& y, float* at, int count) { store(at, y, count); });
}

template <int T = PRODUCT_ROWS>
inline void product_rows(int64_t count, const float* x, int64_t x_stride, const float* panel, int64_t depth, bool first,
                         int64_t width, float* out, int64_t out_stride) {
    if constexpr (T > 1) {
        if (count < T) return product_rows<T - 1>(count, x, x_stride, panel, depth, first, width, out, out_stride);
    }
    product_tile<T>(x, x_stride, panel, depth, first, width, out, out_stride);
}

// Sets [begin, end) of product_groups groups, for all rows of x [count, columns]; out [count, w.rows].
void product(const float* x, int64_t count, const MatrixView& w, float* out, float* scratch, int64_t begin,
             int64_t end) {
    const int64_t groups = shoestring::num_groups(w.rows);
    for (int64_t set = begin; set < end; ++set) {
        const int64_t row = set * PRODUCT_WIDTH, left = w.rows - row;
        const int64_t width = left < PRODUCT_WIDTH ? left : PRODUCT_WIDTH;
        for (int64_t k = 0; k < w.columns; k += PRODUCT_DEPTH) {
            const int64_t to = k + PRODUCT_DEPTH < w.columns ? k + PRODUCT_DEPTH : w.columns;
            for (int s = 0; s < PRODUCT_GROUPS && set * PRODUCT_GROUPS + s < groups; ++s)
                widen_group(w, set * PRODUCT_GROUPS + s, k, to, scratch + s * LANES);
            for (int64_t t = 0; t < count; t += PRODUCT_ROWS)
                product_rows(count - t < PRODUCT_ROWS ? count - t : PRODUCT_ROWS, x + t * w.columns + k, w.columns,
                             scratch, to - k, k == 0, width, out + t * w.rows + row, w.rows);
        }
    }
}

// 16 · PEAK_SUMS fused multiply-adds a round, in as many sums as keep all units busy without leaving the registers. For
// measuring a machine's limit.
#if defined(__AVX512F__)
constexpr int PEAK_SUMS = 12;
#else
constexpr int PEAK_SUMS = 5;
#endif
int64_t fused_rounds(int64_t rounds, float* total) {
    Lanes sums[PEAK_SUMS];
    for (int i = 0; i < PEAK_SUMS; ++i) sums[i] = to_floats(add(lane_numbers(), set1(i)));
    const Lanes factor = set1(0.5f);
    for (int64_t round = 0; round < rounds; ++round)
        for (int i = 0; i < PEAK_SUMS; ++i) sums[i] = fma(sums[i], factor, factor);
    for (int i = 0; i < PEAK_SUMS; ++i) *total += fold_sum(sums[i]);
    return rounds * PEAK_SUMS * LANES;
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
