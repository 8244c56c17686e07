// The functions of the rows family that a variant exports: norms, rotary application, elementwise, pieces of
// softmax. Each works on a range of rows or elements; threads are the caller's business (bindings_rows.cpp).
#pragma once

#include <cstdint>

namespace shoestring {

// cos and sin are [rows, dims / 2]; x is [rows, heads, head_dim], turned in place on its first `dims` dims.
struct Rotation {
    float* x;
    const float *cos, *sin;
    int64_t heads, head_dim, dims;
    bool interleaved;
};

struct RowsTable {
    int lanes;

    // Rows [begin, end) of n. weight may be null; gate null: no gate, else · silu(gate).
    void (*rms_norm)(const float* x, const float* weight, const float* gate, int64_t n, float eps, float* out,
                     int64_t begin, int64_t end);
    void (*rotate)(const Rotation&, int64_t begin, int64_t end);

    // Rows [begin, end) of n, in place.
    void (*add_gated)(float* x, const float* y, const float* gate, int64_t n, int64_t begin, int64_t end);
    void (*scale_rows)(float* x, const float* factors, int64_t n, int64_t begin, int64_t end);

    // n elements.
    void (*add)(float* x, const float* y, int64_t n);
    void (*swiglu)(const float* gate, const float* up, float* out, int64_t n);
    void (*sigmoid_gate)(float* x, const float* gate, int64_t n);
    void (*negative_exp)(const float* x, float* out, int64_t n);
    bool (*all_finite)(const float* x, int64_t n);

    // The largest of n numbers, -infinity of none; NaN is passed over.
    float (*largest)(const float* x, int64_t n);
    // The first i from `begin` on with x_i > bound, n if there is none.
    int64_t (*first_above)(const float* x, int64_t begin, int64_t n, float bound);
    // Σ exp(x_i - shift): in float32 over blocks of SUM_BLOCK elements, the blocks' sums in float64.
    double (*sum_exp)(const float* x, int64_t n, float shift);
    // out_i = exp((x_i - shift) / temperature), for x_i <= shift.
    void (*tempered_exp)(const float* x, int64_t n, float shift, float temperature, float* out);

    // exp, log, sigmoid, silu, softplus of n numbers, by number: for the tests of lanes_math.h.
    void (*function)(int which, const float* x, float* out, int64_t n);
};

constexpr int64_t SUM_BLOCK = 1024;

}  // namespace shoestring
