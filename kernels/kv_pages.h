// The keys, or the values, of one page and head: what each type stores, and how 16 of the numbers are read.
//
//   F32, F16   keys [D][P], values [P][D]
//   Q8_0       int8 in the same order, then f16 scales [⌈D / 32⌉][P]; a number is float(int8) · scale, which is exact
//
// A reader is a function of a row and a strip of 16 columns; BYTES is what it reads of a number. For keys, rows are
// dims and columns are positions; for values, the other way round.
//
// Shapes: D head dim, P = PAGE_TOKENS.
#pragma once

#include "lanes_int8.h"
#include "sequence_table.h"

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::KV_BLOCK;
using shoestring::kv_bytes;
using shoestring::kv_scales;
using shoestring::KVType;
using shoestring::PAGE_TOKENS;

SHOESTRING_INLINE Lanes load_widened(const uint16_t* p) { return load_f16(p); }
SHOESTRING_INLINE Lanes load_widened(const float* p) { return load(p); }
SHOESTRING_INLINE Lanes load_widened(const uint16_t* p, int n) { return load_f16(p, n); }
SHOESTRING_INLINE Lanes load_widened(const float* p, int n) { return load(p, n); }

template <class Number>
struct Plain {
    static constexpr int BYTES = sizeof(Number);
    const Number* numbers;
    int64_t stride;

    SHOESTRING_INLINE Lanes operator()(int row, int strip) const {
        return load_widened(numbers + row * stride + strip * LANES);
    }
    // The first `columns` of a strip; the others are zero.
    SHOESTRING_INLINE Lanes operator()(int row, int strip, int columns) const {
        return load_widened(numbers + row * stride + strip * LANES, columns);
    }
};

struct QuantizedKeys {
    static constexpr int BYTES = 1;
    const int8_t* quants;
    const float* scales;  // [⌈D / 32⌉][P]

    SHOESTRING_INLINE Lanes operator()(int dim, int strip) const {
        return mul(to_floats(load_int8(quants + dim * PAGE_TOKENS + strip * LANES)),
                   load(scales + dim / KV_BLOCK * PAGE_TOKENS + strip * LANES));
    }
    SHOESTRING_INLINE Lanes operator()(int dim, int strip, int) const { return (*this)(dim, strip); }
};

struct QuantizedValues {
    static constexpr int BYTES = 1;
    const int8_t* quants;
    int64_t head_dim;
    const float* scales;  // [⌈D / 32⌉][P]

    SHOESTRING_INLINE Lanes scale(int position, int strip) const {
        return set1(scales[strip * LANES / KV_BLOCK * PAGE_TOKENS + position]);
    }
    SHOESTRING_INLINE Lanes operator()(int position, int strip) const {
        return mul(to_floats(load_int8(quants + position * head_dim + strip * LANES)), scale(position, strip));
    }
    SHOESTRING_INLINE Lanes operator()(int position, int strip, int columns) const {
        return mul(to_floats(load_int8(quants + position * head_dim + strip * LANES, columns)), scale(position, strip));
    }
};

// The scales behind a page's quants, widened.
inline const float* widen_scales(const char* page, int64_t head_dim, float* scales) {
    const auto* half = reinterpret_cast<const uint16_t*>(page + head_dim * PAGE_TOKENS);
    for (int64_t i = 0; i < kv_scales(head_dim) * PAGE_TOKENS; i += LANES) store(scales + i, load_f16(half + i));
    return scales;
}

// work(reader) for the keys at `page`; `scales` has room for Q8_0's.
template <class Work>
SHOESTRING_INLINE void with_keys(KVType type, const char* page, int64_t head_dim, float* scales, const Work& work) {
    if (type == KVType::F16) return work(Plain<uint16_t>{reinterpret_cast<const uint16_t*>(page), PAGE_TOKENS});
    if (type == KVType::F32) return work(Plain<float>{reinterpret_cast<const float*>(page), PAGE_TOKENS});
    work(QuantizedKeys{reinterpret_cast<const int8_t*>(page), widen_scales(page, head_dim, scales)});
}

template <class Work>
SHOESTRING_INLINE void with_values(KVType type, const char* page, int64_t head_dim, float* scales, const Work& work) {
    if (type == KVType::F16) return work(Plain<uint16_t>{reinterpret_cast<const uint16_t*>(page), head_dim});
    if (type == KVType::F32) return work(Plain<float>{reinterpret_cast<const float*>(page), head_dim});
    work(QuantizedValues{reinterpret_cast<const int8_t*>(page), head_dim, widen_scales(page, head_dim, scales)});
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
