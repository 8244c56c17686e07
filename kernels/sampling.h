// The pieces of sampling that touch every logit. What is done with them: sampling.cpp.
#pragma once

#include "elementwise.h"

namespace SHOESTRING_VARIANT {
namespace {

bool all_finite(const float* x, int64_t n) {
    const Lanes most = set1(3.40282347e38f);
    for (int64_t i = 0; i < n; i += LANES)
        if (!all(less_equal(abs(load(x + i, lanes_left(i, n))), most))) return false;
    return true;
}

float largest(const float* x, int64_t n) {
    Lanes most = negate(infinity()), second = most;
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        most = max(load(x + i), most);
        second = max(load(x + i + LANES), second);
    }
    float result = fold_max(max(second, most));
    for (; i < n; ++i) result = x[i] > result ? x[i] : result;
    return result;
}

int64_t first_above(const float* x, int64_t begin, int64_t n, float bound) {
    const Lanes least = set1(bound);
    int64_t i = begin;
    while (i + 2 * LANES <= n && !any(less(least, max(load(x + i), max(load(x + i + LANES), least))))) i += 2 * LANES;
    while (i < n && !(x[i] > bound)) ++i;
    return i;
}

double sum_exp(const float* x, int64_t n, float shift) {
    double total = 0;
    for (int64_t block = 0; block < n; block += shoestring::SUM_BLOCK) {
        const int64_t end = block + shoestring::SUM_BLOCK < n ? block + shoestring::SUM_BLOCK : n;
        Lanes sum = zero();
        int64_t i = block;
        for (; i + LANES <= end; i += LANES) sum = add(sum, exp(sub(load(x + i), set1(shift))));
        if (i < end) {
            const Lanes rest = exp(sub(load(x + i, lanes_left(i, end)), set1(shift)));
            const Mask inside = less(lane_numbers(), set1(int32_t(end - i)));
            sum = add(sum, select(inside, rest, zero()));
        }
        total += double(fold_sum(sum));
    }
    return total;
}

void tempered_exp(const float* x, int64_t n, float shift, float temperature, float* out) {
    each_vector(out, n, [&](int64_t i, int count) {
        return exp(div(sub(load(x + i, count), set1(shift)), set1(temperature)));
    });
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
