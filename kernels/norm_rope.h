// The application of rotary embeddings to rows.
#pragma once

#include "norm.h"
#include "rows_table.h"

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::Rotation;

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
