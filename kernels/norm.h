// The RMS norm of rows.
#pragma once

#include "lanes_math.h"

namespace SHOESTRING_VARIANT {
namespace {

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

}  // namespace
}  // namespace SHOESTRING_VARIANT
