#include "rope.h"

#include <cstring>
#include <initializer_list>
#include <limits>

namespace shoestring {
namespace {

constexpr double PI = 3.14159265358979323846;
constexpr double NOT_A_NUMBER = std::numeric_limits<double>::quiet_NaN();
constexpr double INFINITE = std::numeric_limits<double>::infinity();

// ln 2 in two parts; the first ends in zeros, so that a product with an exponent is exact.
constexpr double LN2_HIGH = 0x1.62e42fefa3000p-1;
constexpr double LN2_LOW = 0x1.3de6af278ece6p-42;

// Nearest integer as a double, |x| < 2^51, ties to even.
double nearest(double x) {
    volatile double shifted = x + 0x1.8p52;
    return shifted - 0x1.8p52;
}

double floor_of(double x) {
    const double rounded = nearest(x);
    return rounded > x ? rounded - 1 : rounded;
}

// 2^n for -1022 <= n <= 1023
double power_of_two(int64_t n) {
    const uint64_t bits = static_cast<uint64_t>(n + 1023) << 52;
    double result;
    std::memcpy(&result, &bits, 8);
    return result;
}

// Taylor series on |r| <= pi / 4; the next terms are below 2^-57 of the result.
double sin_series(double r) {
    const double s = r * r;
    double p = -1.0 / 1307674368000.0;
    p = p * s + 1.0 / 6227020800.0;
    p = p * s - 1.0 / 39916800.0;
    p = p * s + 1.0 / 362880.0;
    p = p * s - 1.0 / 5040.0;
    p = p * s + 1.0 / 120.0;
    p = p * s - 1.0 / 6.0;
    return r + r * s * p;
}

double cos_series(double r) {
    const double s = r * r;
    double p = 1.0 / 20922789888000.0;
    p = p * s - 1.0 / 87178291200.0;
    p = p * s + 1.0 / 479001600.0;
    p = p * s - 1.0 / 3628800.0;
    p = p * s + 1.0 / 40320.0;
    p = p * s - 1.0 / 720.0;
    p = p * s + 1.0 / 24.0;
    return 1.0 - (0.5 * s - s * s * p);
}

}  // namespace

void sin_cos(double x, double* sin, double* cos) {
    if (!(x < 0x1p45 && x > -0x1p45)) {
        *sin = *cos = NOT_A_NUMBER;
        return;
    }
    // x = n pi/2 + r. pi/2 in parts of 27 bits: products with n < 2^25 are exact, and so is the first difference.
    const double n = nearest(x * (2.0 / PI));
    double r = x - n * 0x1.921fb54p+0;
    r -= n * 0x1.10b461p-30;
    r -= n * 0x1.a62633145c06ep-58;
    const double s = sin_series(r), c = cos_series(r);
    switch (static_cast<int64_t>(n) & 3) {
        case 0:
            *sin = s, *cos = c;
            break;
        case 1:
            *sin = c, *cos = -s;
            break;
        case 2:
            *sin = -s, *cos = -c;
            break;
        default:
            *sin = -c, *cos = s;
            break;
    }
}

double natural_exp(double x) {
    if (x != x) return x;
    if (x < -708.0) return 0.0;
    if (x > 709.0) return INFINITE;
    const double n = nearest(x / 0.69314718055994530942);
    const double r = (x - n * LN2_HIGH) - n * LN2_LOW;
    double p = 1.0 / 6227020800.0;
    for (double divisor : {479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0})
        p = p * r + 1.0 / divisor;
    return (1.0 + (r + r * r * p)) * power_of_two(static_cast<int64_t>(n));
}

double natural_log(double x) {
    if (x != x || x == INFINITE) return x;
    if (x == 0) return -INFINITE;
    if (x < 0) return NOT_A_NUMBER;
    int64_t exponent = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        exponent = -54;
    }
    uint64_t bits;
    std::memcpy(&bits, &x, 8);
    // x = 2^exponent m, m in [sqrt(1/2), sqrt(2))
    const int64_t above = static_cast<int64_t>(bits - 0x3fe6a09e667f3bcd) >> 52;
    exponent += above;
    bits -= static_cast<uint64_t>(above) << 52;
    double m;
    std::memcpy(&m, &bits, 8);
    const double f = m - 1, s = f / (f + 2), square = s * s;
    double p = 0;
    for (double divisor : {21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0}) p = p * square + 2.0 / divisor;
    const double n = static_cast<double>(exponent);
    // log m = 2 atanh(s) = f - s (f - s² p), which keeps f exact.
    return n * LN2_HIGH + (f - (s * (f - square * p) - n * LN2_LOW));
}

double power(double base, double exponent) { return natural_exp(exponent * natural_log(base)); }

void rope_frequencies(int dims, double theta, double* out) {
    for (int i = 0; i < dims / 2; ++i) out[i] = power(theta, -(2.0 * i / dims));
}

void rope_frequencies_llama3(double* frequencies, int64_t count, double factor, double low, double high,
                             double original) {
    for (int64_t i = 0; i < count; ++i) {
        const double wavelength = 2 * PI / frequencies[i];
        if (wavelength < original / high) continue;
        if (wavelength > original / low || low == high) {
            frequencies[i] /= factor;
            continue;
        }
        const double smooth = (original / wavelength - low) / (high - low);
        frequencies[i] = (1 - smooth) * frequencies[i] / factor + smooth * frequencies[i];
    }
}

void rope_frequencies_yarn(int dims, double theta, double factor, double original, double beta_fast, double beta_slow,
                           double* out) {
    // The dimension whose wave turns `turns` times over the original context.
    auto dimension = [&](double turns) {
        return dims * natural_log(original / (turns * 2 * PI)) / (2 * natural_log(theta));
    };
    double low = floor_of(dimension(beta_fast)), high = -floor_of(-dimension(beta_slow));
    if (!(low > 0)) low = 0;
    if (!(high < dims - 1)) high = dims - 1;
    if (low == high) high += 0.001;
    for (int i = 0; i < dims / 2; ++i) {
        double ramp = (i - low) / (high - low);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        const double frequency = power(theta, -(2.0 * i / dims));
        out[i] = frequency / factor * ramp + frequency * (1 - ramp);
    }
}

double yarn_attention_factor(double factor) { return 0.1 * natural_log(factor) + 1.0; }

void rotary_table(const int64_t* positions, int64_t axes, const double* frequencies, const int32_t* sections,
                  int64_t count, double factor, float* cos, float* sin, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
        for (int64_t i = 0; i < count; ++i) {
            double s, c;
            sin_cos(static_cast<double>(positions[row * axes + sections[i]]) * frequencies[i], &s, &c);
            cos[row * count + i] = static_cast<float>(c * factor);
            sin[row * count + i] = static_cast<float>(s * factor);
        }
}

void attention_temperature(const int64_t* index, int64_t rows, int64_t floor_scale, double scale, float* out) {
    for (int64_t row = 0; row < rows; ++row) {
        const double floor = static_cast<double>((index[row] + 1) / floor_scale);
        out[row] = static_cast<float>(1.0 + scale * natural_log(1.0 + floor));
    }
}

}  // namespace shoestring
