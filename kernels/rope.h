// Angles and frequencies of rotary embeddings, and the float64 functions they need: own code, the same bits on
// every machine. Plain double arithmetic, compiled once, without contraction.
#pragma once

#include <cstdint>

namespace shoestring {

// Within 2e-16 of the true value for |x| < 2^26 (positions up to 10,000,000 at frequency 1 and more); NaN from 2^45.
void sin_cos(double x, double* sin, double* cos);
// Within 2 ulp; exp of what leaves the range of normal doubles: 0 or infinity.
double natural_exp(double x);
double natural_log(double x);
// base > 0
double power(double base, double exponent);

// theta^(-2 i / dims), i < dims / 2
void rope_frequencies(int dims, double theta, double* out);
// Llama 3 scaling of `count` frequencies, in place. low == high: no frequency uses the smooth term.
void rope_frequencies_llama3(double* frequencies, int64_t count, double factor, double low, double high,
                             double original);
// YaRN (arXiv 2309.00071): correction bounds floored, ceiled and clamped, as transformers does.
void rope_frequencies_yarn(int dims, double theta, double factor, double original, double beta_fast, double beta_slow,
                           double* out);
double yarn_attention_factor(double factor);

// cos, sin [rows, count] of positions[r, sections[i]] · frequencies[i], times factor; positions [rows, axes].
void rotary_table(const int64_t* positions, int64_t axes, const double* frequencies, const int32_t* sections,
                  int64_t count, double factor, float* cos, float* sin, int64_t begin, int64_t end);
// 1 + scale · log(1 + floor((index + 1) / floor_scale))
void attention_temperature(const int64_t* index, int64_t rows, int64_t floor_scale, double scale, float* out);

}  // namespace shoestring
