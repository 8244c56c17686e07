// The integer vocabulary: the bytes of 4 columns of several rows in a register, and sums of their products.
//
// Owns: which instructions multiply int8. The integer dots (dots.h) and the unpacking of each type (types/) are written
// once over it. An instruction set supplies its registers (bytes_*.h) and the way in which it sums (sums_*.h), about 60
// lines each, and the sizes of its tiles:
//
//   VECTOR_ROWS              rows of a register, 4 bytes of each; a group of 16 rows is GROUP_PARTS registers
//   Bytes, Floats            a register of bytes or integers; of one float a row
//   load_bytes, nibbles, moved_bits, either     unpack weights
//   load_pairs<SIGNED>(p)    two sub-scales of each row as int16; times_pairs multiplies them by a constant
//   start(word), dot<SIGNED>(sum, w, x), whole<SIGNED>(sum)   Σ w x over columns. How `sum` holds it is its own matter:
//                            in int16 pairs or in int32. `prepare<SIGNED>(w)` makes the form of w that `dot` takes
//   add_scaled(total, sum, scale)   total + sum · scale; `scale` by pick(pairs, which)
//   add_pairs(total, pairs, word)   total + pairs.first · word.first + pairs.second · word.second
//   add_product(n, d, s, acc)       fma(float(n), d · s, acc): the float step of the law; subtract_product: of -n
//   add_multiple(m, s, acc)         fma(m, s, acc)
//
// Sums of activations, in the form of `sum` for one row, are words, eight in a Words: eight_columns(p) of 64 quants, 8
// columns a word; halved(a, b) adds neighbours; start_words(offset, w) = -offset · w; totals(w) are plain int32. A sum
// that starts from start_words(offset, Σ a) instead of zero computes Σ (w - offset) a.
#pragma once

#include "lanes.h"

namespace SHOESTRING_VARIANT {
namespace {

// A class of sums within a block of 256: `offset` is taken off the weights, and a sum has room for `columns` of them.
struct Starts {
    int offset, columns;
};

}  // namespace
}  // namespace SHOESTRING_VARIANT

#if defined(__AVX512BW__)
#include "bytes_512.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "bytes_256.h"
#endif

#if defined(__AVX512BW__) || (defined(__AVX2__) && defined(__FMA__) && defined(__F16C__))
#include "words_256.h"
#endif

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#include "sums_words.h"
#elif defined(__AVX512BW__) || (defined(__AVX2__) && defined(__FMA__) && defined(__F16C__))
#include "sums_pairs.h"
#elif defined(__ARM_FEATURE_DOTPROD)
#include "bytes_neon.h"
#else
#include "bytes_scalar.h"
#endif
