// The vector vocabulary of all kernels: 16 virtual lanes of float or int32,
// whatever the instruction set.
//
// Owns: which intrinsics mean what. A kernel written over these functions gives
// the same bits in every variant, because each function is one IEEE operation a
// lane (or an exact integer one) with the same meaning everywhere. Integer dot
// products are over bytes.h. The lanes_*.h, bytes_*.h and sums_*.h files are the
// only ones with intrinsics.
//
// Meanings that hardware leaves open, fixed here:
//   min(a, b) = a < b ? a : b and max(a, b) = a > b ? a : b: of NaN or of two
//   zeros the second argument. round_even: nearest integer, ties to even.
//   to_ints: of an integral value; outside int32 or NaN: INT32_MIN. fma(a, b,
//   c) = a * b + c, rounded once.      store_f16: nearest even, past 65504
//   infinity, subnormals kept. load(p, n), store(p, v, n): only the first n
//   (0..16) elements are touched; loaded lanes past n are zero.
//
// Lanes    16 floats      Ints   16 int32      Mask   16 truth values (all bits
// of a lane)
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#ifndef SHOESTRING_VARIANT
#error "compile kernels through variants/: SHOESTRING_VARIANT names the instruction set"
#endif

#define SHOESTRING_INLINE [[gnu::always_inline]] inline

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#include "lanes_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "lanes_avx2.h"
#elif defined(__ARM_FEATURE_DOTPROD)
#include "lanes_neon.h"
#else
#include "lanes_scalar.h"
#endif

namespace SHOESTRING_VARIANT {
namespace {

constexpr int LANES = 16;

SHOESTRING_INLINE Lanes zero() { return set1(0.0f); }

// 2^n for n in -126 .. 127.
SHOESTRING_INLINE Lanes power_of_two(Ints n) { return as_floats(shift_left<23>(add(n, set1(127)))); }

SHOESTRING_INLINE Lanes abs(Lanes a) { return as_floats(bit_and(as_ints(a), set1(0x7fffffff))); }
SHOESTRING_INLINE Lanes negate(Lanes a) { return as_floats(bit_xor(as_ints(a), set1(INT32_MIN))); }

}  // namespace
}  // namespace SHOESTRING_VARIANT
