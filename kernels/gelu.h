// GELU of 16 lanes, with tanh and with erf: own arithmetic, the same operations in every variant.
//
// Measured against float64 in tests/kernels/test_vision.py: within 2e-7 of the larger of |x| and 1e-30, and exact
// signs.
#pragma once

#include "lanes_math.h"

namespace SHOESTRING_VARIANT {
namespace {

// x / 2 · (1 + tanh(sqrt(2 / pi) · (x + 0.044715 x^3))), by tanh(u) = 2 sigmoid(2 u) - 1.
SHOESTRING_INLINE Lanes gelu_tanh(Lanes x) {
    const Lanes slope = fma(mul(x, x), set1(-0x1.2444f2p-4f), set1(-0x1.988454p+0f));  // -2 sqrt(2 / pi) · (…)
    return div(x, add(set1(1.0f), exp(mul(x, slope))));
}

// x · Phi(x), Phi the normal distribution. Half of erfc(a / sqrt 2) for a = |x| is t · exp(P(2 t - 1) - a^2 / 2) with
// t = 1 / (1 + 0.4 a); P is a least squares fit on 0 <= a <= 14 at Chebyshev nodes, 8e-8 off at most.
SHOESTRING_INLINE Lanes gelu_erf(Lanes x) {
    const Lanes a = abs(x);
    const Lanes t = div(set1(1.0f), fma(a, set1(0.4f), set1(1.0f)));
    const Lanes u = fma(t, set1(2.0f), set1(-1.0f));
    Lanes p = set1(-0x1.5cd470p-15f);
    p = fma(p, u, set1(0x1.a685a4p-11f));
    p = fma(p, u, set1(-0x1.ae9562p-10f));
    p = fma(p, u, set1(-0x1.173c74p-9f));
    p = fma(p, u, set1(0x1.392978p-7f));
    p = fma(p, u, set1(0x1.288370p-9f));
    p = fma(p, u, set1(-0x1.9ebf06p-5f));
    p = fma(p, u, set1(-0x1.96b5c6p-10f));
    p = fma(p, u, set1(0x1.3a39eap-1f));
    p = fma(p, u, set1(-0x1.4374cep+0f));
    const Lanes half_erfc = mul(t, exp_nonpositive(fma(mul(a, set1(-0.5f)), a, p)));
    const Lanes tail = mul(x, half_erfc);
    return select(less(x, zero()), tail, sub(x, tail));
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
