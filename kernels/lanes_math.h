// exp, log, sigmoid, silu, softplus on 16 lanes: own polynomials, the same
// operations in every variant.
//
// Measured against float64 in tests/kernels/test_math.py: exp, log within 2
// ulp, the others within 4. exp flushes results below 2^-126 (x < -87.33) to
// zero and is infinite past the largest float, so that silu is -0 below -88.73.
// NaN stays NaN, but which NaN is open.
#pragma once

#include "lanes.h"

namespace SHOESTRING_VARIANT {
namespace {

SHOESTRING_INLINE Lanes infinity() { return as_floats(set1(0x7f800000)); }
SHOESTRING_INLINE Lanes not_a_number() { return as_floats(set1(0x7fc00000)); }

constexpr float EXP_ZERO_BELOW = -87.33f;         // e^x stays a normal number above
constexpr float EXP_INFINITE_ABOVE = 88.722831f;  // log of the largest float, rounded down

// e^x for EXP_ZERO_BELOW <= x <= EXP_INFINITE_ABOVE, or NaN.
SHOESTRING_INLINE Lanes exp_in_range(Lanes x) {
    // x = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts, the first with zeros at
    // its end so that n times it is exact.
    const Lanes n = round_even(mul(x, set1(1.44269504088896341f)));
    Lanes r = fma(n, set1(-0.693359375f), x);
    r = fma(n, set1(2.12194440054690583e-4f), r);
    // Least squares fit with weights moved towards the largest error: 3.2e-9 of
    // e^r.
    Lanes p = set1(0x1.6db692p-10f);
    p = fma(p, r, set1(0x1.123d14p-7f));
    p = fma(p, r, set1(0x1.55545cp-5f));
    p = fma(p, r, set1(0x1.55548cp-3f));
    p = fma(p, r, set1(0.5f));
    p = fma(p, r, set1(1.0f));
    p = fma(p, r, set1(1.0f));
    // 2^n by adding n to the exponent. p < 1 where n = 128, so nothing overflows.
    return as_floats(add(as_ints(p), shift_left<23>(to_ints(n))));
}

// e^x for x <= 0.
SHOESTRING_INLINE Lanes exp_nonpositive(Lanes x) {
    const Lanes result = exp_in_range(max(set1(EXP_ZERO_BELOW), x));
    return select(less(x, set1(EXP_ZERO_BELOW)), zero(), result);
}

SHOESTRING_INLINE Lanes exp(Lanes x) {
    const Lanes result = exp_nonpositive(min(set1(EXP_INFINITE_ABOVE), x));
    return select(less(set1(EXP_INFINITE_ABOVE), x), infinity(), result);
}

// log((1 + s) / (1 - s)) for |s| <= 1/3: 2s + s³ · a polynomial in s².
SHOESTRING_INLINE Lanes twice_atanh(Lanes s) {
    const Lanes square = mul(s, s);
    Lanes p = set1(2.0f / 15);
    p = fma(p, square, set1(2.0f / 13));
    p = fma(p, square, set1(2.0f / 11));
    p = fma(p, square, set1(2.0f / 9));
    p = fma(p, square, set1(2.0f / 7));
    p = fma(p, square, set1(2.0f / 5));
    p = fma(p, square, set1(2.0f / 3));
    return fma(mul(s, square), p, add(s, s));
}

// log(x); of zero -infinity, of a negative number NaN.
SHOESTRING_INLINE Lanes log(Lanes x) {
    const Mask subnormal = less(x, set1(0x1p-126f));
    const Lanes scaled = select(subnormal, mul(x, set1(0x1p24f)), x);
    // x = 2^n m with m in [sqrt(1/2), sqrt(2))
    const Ints above = sub(as_ints(scaled), set1(0x3f3504f3));
    const Ints exponent = shift_right<23>(above);
    const Lanes m = as_floats(sub(as_ints(scaled), shift_left<23>(exponent)));
    const Lanes n = sub(to_floats(exponent), select(subnormal, set1(24.0f), zero()));
    const Lanes f = sub(m, set1(1.0f));
    const Lanes series = twice_atanh(div(f, add(f, set1(2.0f))));
    Lanes result = fma(n, set1(0.693359375f), fma(n, set1(-2.12194440054690583e-4f), series));
    result = select(less(x, infinity()), result, x);
    result = select(equal(x, zero()), negate(infinity()), result);
    return select(less(x, zero()), not_a_number(), result);
}

// log(1 + u) for u in [0, 1].
SHOESTRING_INLINE Lanes log1p_unit(Lanes u) { return twice_atanh(div(u, add(u, set1(2.0f)))); }

// log(1 + e^x)
SHOESTRING_INLINE Lanes softplus(Lanes x) {
    const Lanes tail = log1p_unit(exp_nonpositive(negate(abs(x))));
    return add(max(zero(), x), tail);
}

SHOESTRING_INLINE Lanes sigmoid(Lanes x) { return div(set1(1.0f), add(set1(1.0f), exp(negate(x)))); }

SHOESTRING_INLINE Lanes silu(Lanes x) { return div(x, add(set1(1.0f), exp(negate(x)))); }

// The same for single numbers: 15 lanes idle, the bits those of a vector.
SHOESTRING_INLINE float first_lane(Lanes a) {
    float lanes[LANES];
    store(lanes, a);
    return lanes[0];
}
SHOESTRING_INLINE float exp(float x) { return first_lane(exp(set1(x))); }
SHOESTRING_INLINE float log(float x) { return first_lane(log(set1(x))); }
SHOESTRING_INLINE float sigmoid(float x) { return first_lane(sigmoid(set1(x))); }
SHOESTRING_INLINE float softplus(float x) { return first_lane(softplus(set1(x))); }

}  // namespace
}  // namespace SHOESTRING_VARIANT
