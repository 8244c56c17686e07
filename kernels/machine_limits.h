// The machine's limits: nothing but the instructions that products consist of, and a pure read of memory.
//
// `shoestring bench --machine` measures with them what a kernel can reach at most. Each returns what it did.
#pragma once

#include "tiles.h"

namespace SHOESTRING_VARIANT {
namespace {

// Sums in flight: enough for the latency of every instruction set's vectors.
constexpr int LIMIT_SUMS = LANE_REGISTERS >= 32 ? 24 : 12;

// Multiplications and additions of bytes, in registers alone.
#if defined(__AMX_INT8__)
// Tiles as panels_amx.h multiplies them. SIGNED: of 32 columns. Not: of 64, two of them for the two digits of a weight.
template <bool SIGNED>
int64_t run_dots(int64_t rounds) {
    constexpr int64_t columns = SIGNED ? 32 : 64, digits = SIGNED ? 1 : 2;
    const TileShapes shapes(columns);
    clear_sums();
    _tile_zero(4);
    _tile_zero(6);
    for (int64_t i = 0; i < rounds; ++i) {
        if constexpr (SIGNED) {
            _tile_dpbssd(0, 4, 6);
            _tile_dpbssd(1, 4, 6);
            _tile_dpbssd(2, 4, 6);
            _tile_dpbssd(3, 4, 6);
        } else {
            _tile_dpbsud(0, 4, 6);
            _tile_dpbsud(1, 4, 6);
            _tile_dpbsud(2, 4, 6);
            _tile_dpbsud(3, 4, 6);
        }
    }
    return rounds * SUM_TILES * 16 * 16 * columns / digits * 2;
}
#elif defined(__ARM_FEATURE_MATMUL_INT8)
// 8 columns of two tokens and two rows, as panels_i8mm.h multiplies them.
template <bool SIGNED>
int64_t run_dots(int64_t rounds) {
    Bytes sum[LIMIT_SUMS], w = words(0x01020304), x = words(0x04030201);
    SHOESTRING_UNROLL(24)
    for (int k = 0; k < LIMIT_SUMS; ++k) sum[k] = start(0);
    for (int64_t i = 0; i < rounds; ++i) {
        SHOESTRING_UNROLL(24)
        for (int k = 0; k < LIMIT_SUMS; ++k) {
            SHOESTRING_PIN(x);
            sum[k] = add_pairs_product(sum[k], x, w);
            SHOESTRING_PIN(sum[k]);
        }
    }
    return rounds * LIMIT_SUMS * 2 * 2 * 8 * 2;
}
#else
template <bool SIGNED>
int64_t run_dots(int64_t rounds) {
    Bytes sum[LIMIT_SUMS], w = words(0x01020304), x = words(0x04030201);
    SHOESTRING_UNROLL(24)
    for (int k = 0; k < LIMIT_SUMS; ++k) sum[k] = start(0);
    for (int64_t i = 0; i < rounds; ++i) {
        SHOESTRING_UNROLL(24)
        for (int k = 0; k < LIMIT_SUMS; ++k) {
            SHOESTRING_PIN(x);  // a new activation, as far as the compiler knows
            sum[k] = dot<SIGNED>(sum[k], w, x);
            SHOESTRING_PIN(sum[k]);
        }
    }
    return rounds * LIMIT_SUMS * VECTOR_BYTES * 2;
}
#endif

// Multiplications and additions of floats.
int64_t run_fmas(int64_t rounds) {
    constexpr int sums = LANE_REGISTERS >= 32 ? LIMIT_SUMS : LIMIT_SUMS / 2;
    // Unknown to the compiler, which would compute equal sums once.
    float start[sums * LANES] = {}, tiny = 0x1p-100f;
    Lanes sum[sums];
    asm volatile("" : "+m"(start));
    SHOESTRING_UNROLL(24)
    for (int k = 0; k < sums; ++k) sum[k] = load(start + LANES * k);
    asm volatile("" : "+m"(tiny));
    const Lanes a = set1(tiny);
    for (int64_t i = 0; i < rounds; ++i) {
        SHOESTRING_UNROLL(24)
        for (int k = 0; k < sums; ++k) sum[k] = fma(a, a, sum[k]);
    }
    float out[LANES];
    SHOESTRING_UNROLL(24)
    for (int k = 0; k < sums; ++k) {
        store(out, sum[k]);
        asm volatile("" ::"m"(out));
    }
    return rounds * sums * LANES * 2;
}

// Reads `count` bytes, a multiple of 256, with prefetches as far ahead as products have them.
int64_t read_bytes(const uint8_t* data, int64_t count) {
    Ints all[4] = {set1(0), set1(0), set1(0), set1(0)};
    for (int64_t at = 0; at < count; at += 256) {
        for (int i = 0; i < 4; ++i) {
            prefetch(data + at + 4096 + 64 * i);
            all[i] = bit_or(all[i], load(reinterpret_cast<const int32_t*>(data + at + 64 * i)));
        }
    }
    int32_t out[LANES];
    store(out, bit_or(bit_or(all[0], all[1]), bit_or(all[2], all[3])));
    int32_t any = 0;
    for (int32_t word : out) any |= word;
    asm volatile("" ::"r"(any));
    return count;
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
