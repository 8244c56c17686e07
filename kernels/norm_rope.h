// RMS norms and the application of rotary embeddings to rows.
#pragma once

#include "lanes_math.h"
#include "rows_table.h"

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::Rotation;

SHOESTRING_INLINE int lanes_left(int64_t i, int64_t n) { return int(n - i < LANES ? n - i : LANES); }

// Element i is summed in lane i mod 16, then the fold tree.
inline float sum_of_squares(const float* x, int64_t n) {
    Lanes sum = zero();
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const Lanes part = load(x + i);
        sum = fma(part, part, sum);
    }
    if (i < n) {
        const Lanes part = load(x + i, lanes_left(i, n));
        sum = fma(part, part, sum);
    }
    return fold_sum(sum);
}

void rms_norm(const float* x, const float* weight, const float* gate, int64_t n, float eps, float* out, int64_t begin,
              int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
        const float* from = x + row * n;
        float* to = out + row * n;
        const float mean = sum_of_squares(from, n) / float(n);
        const Lanes root = div(set1(1.0f), sqrt(set1(mean + eps)));
        for (int64_t i = 0; i < n; i += LANES) {
            const int count = lanes_left(i, n);
            Lanes y = mul(load(from + i, count), root);
            if (weight) y = mul(y, load(weight + i, count));
            if (gate) y = mul(y, silu(load(gate + row * n + i, count)));
            store(to + i, y, count);
        }
    }
}

// (a, b) → (a cos - b sin, b cos + a sin), each a product, then one fused multiply-add.
void rotate(const Rotation& op, int64_t begin, int64_t end) {
    const int64_t half = op.dims / 2;
    for (int64_t row = begin; row < end; ++row) {
        const float *cos = op.cos + row * half, *sin = op.sin + row * half;
        for (int64_t head = 0; head < op.heads; ++head) {
            float* x = op.x + (row * op.heads + head) * op.head_dim;
            if (op.interleaved) {
                for (int64_t i = 0; i < half; ++i) {
                    const float a = x[2 * i], b = x[2 * i + 1];
                    x[2 * i] = fma(a, cos[i], -(b * sin[i]));
                    x[2 * i + 1] = fma(b, cos[i], a * sin[i]);
                }
            } else {
                for (int64_t i = 0; i < half; i += LANES) {
                    const int count = lanes_left(i, half);
                    const Lanes a = load(x + i, count), b = load(x + half + i, count);
                    const Lanes c = load(cos + i, count), s = load(sin + i, count);
                    store(x + i, fma(a, c, negate(mul(b, s))), count);
                    store(x + half + i, fma(b, c, mul(a, s)), count);
                }
            }
        }
    }
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
