// Sums, gates and activations, element by element.
#pragma once

#include "norm_rope.h"

namespace SHOESTRING_VARIANT {
namespace {

// to_i = f(i, count): whole vectors, then the rest.
template <class F>
SHOESTRING_INLINE void each_vector(float* to, int64_t n, const F& f) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) store(to + i, f(i, LANES));
    if (i < n) store(to + i, f(i, lanes_left(i, n)), lanes_left(i, n));
}

void add(float* x, const float* y, int64_t n) {
    each_vector(x, n, [&](int64_t i, int count) { return add(load(x + i, count), load(y + i, count)); });
}

void swiglu(const float* gate, const float* up, float* out, int64_t n) {
    each_vector(out, n, [&](int64_t i, int count) { return mul(silu(load(gate + i, count)), load(up + i, count)); });
}

void sigmoid_gate(float* x, const float* gate, int64_t n) {
    each_vector(x, n, [&](int64_t i, int count) { return mul(load(x + i, count), sigmoid(load(gate + i, count))); });
}

void negative_exp(const float* x, float* out, int64_t n) {
    each_vector(out, n, [&](int64_t i, int count) { return negate(exp(load(x + i, count))); });
}

void add_gated(float* x, const float* y, const float* gate, int64_t n, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
        const Lanes open = sigmoid(set1(gate[row]));
        float* to = x + row * n;
        const float* from = y + row * n;
        each_vector(to, n, [&](int64_t i, int count) { return fma(load(from + i, count), open, load(to + i, count)); });
    }
}

void scale_rows(float* x, const float* factors, int64_t n, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
        const Lanes factor = set1(factors[row]);
        float* to = x + row * n;
        each_vector(to, n, [&](int64_t i, int count) { return mul(load(to + i, count), factor); });
    }
}

void function(int which, const float* x, float* out, int64_t n) {
    each_vector(out, n, [&](int64_t i, int count) {
        const Lanes a = load(x + i, count);
        switch (which) {
            case 0:
                return exp(a);
            case 1:
                return log(a);
            case 2:
                return sigmoid(a);
            case 3:
                return silu(a);
            default:
                return softplus(a);
        }
    });
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
