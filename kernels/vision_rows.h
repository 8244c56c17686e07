// Layer norms, biases with activations, and learned positions, row by row.
#pragma once

#include "gelu.h"
#include "vision_table.h"

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::GridPositions;
using shoestring::Nonlinearity;

SHOESTRING_INLINE int vector_lanes(int64_t i, int64_t n) { return int(n - i < LANES ? n - i : LANES); }

// (x - mean) / sqrt(variance + eps) · weight + bias. Both sums in lanes, then the fold tree.
void layer_norm(const float* x, const float* weight, const float* bias, int64_t n, float eps, float* out, int64_t begin,
                int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
        const float* from = x + row * n;
        float* to = out + row * n;
        Lanes sum = zero();
        for (int64_t i = 0; i < n; i += LANES) sum = add(sum, load(from + i, vector_lanes(i, n)));
        const float mean = fold_sum(sum) / float(n);
        Lanes squares = zero();
        for (int64_t i = 0; i < n; i += LANES) {
            const int count = vector_lanes(i, n);
            Lanes d = sub(load(from + i, count), set1(mean));
            // Lanes past the end are not numbers of the row.
            if (count < LANES) d = select(less(lane_numbers(), set1(count)), d, zero());
            squares = fma(d, d, squares);
        }
        const Lanes root = div(set1(1.0f), sqrt(set1(fold_sum(squares) / float(n) + eps)));
        for (int64_t i = 0; i < n; i += LANES) {
            const int count = vector_lanes(i, n);
            const Lanes d = mul(sub(load(from + i, count), set1(mean)), root);
            store(to + i, fma(d, load(weight + i, count), load(bias + i, count)), count);
        }
    }
}

template <Nonlinearity activation>
SHOESTRING_INLINE Lanes activated(Lanes x) {
    if constexpr (activation == Nonlinearity::GELU_TANH) return gelu_tanh(x);
    if constexpr (activation == Nonlinearity::GELU_ERF) return gelu_erf(x);
    return x;
}

template <Nonlinearity activation>
inline void activate_row(float* x, const float* bias, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        const int count = vector_lanes(i, n);
        Lanes y = load(x + i, count);
        if (bias) y = add(y, load(bias + i, count));
        store(x + i, activated<activation>(y), count);
    }
}

void activate(float* x, const float* bias, Nonlinearity activation, int64_t n, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
        if (activation == Nonlinearity::GELU_TANH)
            activate_row<Nonlinearity::GELU_TANH>(x + row * n, bias, n);
        else if (activation == Nonlinearity::GELU_ERF)
            activate_row<Nonlinearity::GELU_ERF>(x + row * n, bias, n);
        else
            activate_row<Nonlinearity::NONE>(x + row * n, bias, n);
    }
}

void add_biased(float* x, const float* y, const float* bias, int64_t n, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
        for (int64_t i = 0; i < n; i += LANES) {
            const int count = vector_lanes(i, n);
            const Lanes biased = add(load(y + row * n + i, count), load(bias + i, count));
            store(x + row * n + i, add(load(x + row * n + i, count), biased), count);
        }
}

// Where a patch lies between two rows (or columns) of the table: corners of the picture on corners of the table.
struct Between {
    int64_t low, high;
    float share;  // of high
};
SHOESTRING_INLINE Between between(int64_t at, int64_t count, int64_t side) {
    const double place = count > 1 ? double(at * (side - 1)) / double(count - 1) : 0.0;
    const int64_t low = int64_t(place);
    return {low, low + 1 < side ? low + 1 : side - 1, float(place - double(low))};
}

// The four taps: upper left first, each weight a product of two shares; sum from zero, then added.
void grid_positions(const GridPositions& op, int64_t begin, int64_t end) {
    const int64_t m = op.merge, n = op.n, blocks = op.columns / m;
    for (int64_t patch = begin; patch < end; ++patch) {
        const int64_t block = patch / (m * m), inside = patch % (m * m);
        const Between y = between(block / blocks * m + inside / m, op.rows, op.side);
        const Between x = between(block % blocks * m + inside % m, op.columns, op.side);
        const float* taps[4] = {op.table + (y.low * op.side + x.low) * n, op.table + (y.low * op.side + x.high) * n,
                                op.table + (y.high * op.side + x.low) * n, op.table + (y.high * op.side + x.high) * n};
        const float above = 1.0f - y.share, before = 1.0f - x.share;
        const float weights[4] = {above * before, above * x.share, y.share * before, y.share * x.share};
        float* to = op.x + patch * n;
        for (int64_t i = 0; i < n; i += LANES) {
            const int count = vector_lanes(i, n);
            Lanes sum = zero();
            for (int tap = 0; tap < 4; ++tap) sum = fma(load(taps[tap] + i, count), set1(weights[tap]), sum);
            store(to + i, add(load(to + i, count), sum), count);
        }
    }
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
