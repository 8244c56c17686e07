// dots.h on AVX2: unsigned weights times signed activations by vpmaddubsw, 8 rows a register.
//
// No sum saturates. vpmaddubsw adds two products: at most 2 · 63 · 127 = 16002 (Q8_0: 2 · 128 · 127 = 32512 by
// magnitude and sign). Sums of them stay in int16 over 32 columns: 15 · 127 · 16 = 30480 for unsigned 4-bit weights;
// the others start from activations.h's pairs and end within 32512, whatever wraps on the way. vpmaddwd by ones or
// by the sub-scale then makes int32 of them.
//
// K-quants of many tokens are first unpacked to a panel of bytes: [half of the group][column / 4][8 rows][4].
#pragma once

#include <immintrin.h>

// g++ would compute all products first and spill them; a barrier after each addition keeps the order written.
#define SHOESTRING_PIN(x) asm volatile("" : "+x"(x))

namespace SHOESTRING_VARIANT {
namespace {

SHOESTRING_INLINE float largest_lane(Lanes a) {
    const __m256 both = _mm256_max_ps(a.low, a.high);
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

SHOESTRING_INLINE void store_int8(int8_t* p, Ints a) {
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.low, a.high), 0xd8);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}

SHOESTRING_INLINE PairSums pair_sums(const int8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    __m128i sums = _mm_maddubs_epi16(_mm_set1_epi8(1), bytes);  // even places: first, odd: second
    sums = _mm_add_epi16(sums, _mm_srli_si128(sums, 8));
    sums = _mm_add_epi16(sums, _mm_srli_si128(sums, 4));
    const uint32_t both = static_cast<uint32_t>(_mm_cvtsi128_si32(sums));
    return {static_cast<int16_t>(both & 0xffff), static_cast<int16_t>(both >> 16)};
}

SHOESTRING_INLINE __m256i load_bytes(const uint8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
SHOESTRING_INLINE __m128i load_half_bytes(const uint8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
SHOESTRING_INLINE __m256 load_halves(const uint8_t* p) { return _mm256_cvtph_ps(load_half_bytes(p)); }
SHOESTRING_INLINE __m256i broadcast(const int8_t* p) {
    int32_t word;
    std::memcpy(&word, p, 4);
    return _mm256_set1_epi32(word);
}

// Bit `bit` of every byte, moved to bit 4.
SHOESTRING_INLINE __m256i fifth_bit(__m256i bits, int bit) {
    const __m256i moved = bit <= 4 ? _mm256_slli_epi16(bits, 4 - bit) : _mm256_srli_epi16(bits, bit - 4);
    return _mm256_and_si256(moved, _mm256_set1_epi8(16));
}

SHOESTRING_INLINE __m256i nibble(const uint8_t* p, bool high) {
    const __m256i bytes = load_bytes(p);
    return _mm256_and_si256(high ? _mm256_srli_epi16(bytes, 4) : bytes, _mm256_set1_epi8(15));
}

// The bytes of columns 4v … 4v + 3 in a block, of 8 rows; `half` is 0 or 32, their place among 64 bytes.
template <WeightType type>
SHOESTRING_INLINE __m256i quants(const uint8_t* block, int v, int half) {
    if constexpr (type == WeightType::Q8_0) {
        return load_bytes(block + 32 + 64 * v + half);
    } else if constexpr (type == WeightType::Q4_0 || type == WeightType::Q4_1 || type == WeightType::Q5_0) {
        constexpr int begin = type == WeightType::Q4_0 ? 32 : type == WeightType::Q4_1 ? 64 : 96;
        const __m256i low = nibble(block + begin + 64 * (v % 4) + half, v >= 4);
        if constexpr (type != WeightType::Q5_0) return low;
        return _mm256_or_si256(low, fifth_bit(load_bytes(block + 32 + half), v));
    } else if constexpr (type == WeightType::Q4_K) {
        return nibble(block + 320 + 64 * (v / 16 * 8 + v % 8) + half, v / 8 % 2);
    } else if constexpr (type == WeightType::Q5_K) {
        const __m256i low = nibble(block + 832 + 64 * (v / 16 * 8 + v % 8) + half, v / 8 % 2);
        return _mm256_or_si256(low, fifth_bit(load_bytes(block + 320 + 64 * (v % 8) + half), v / 8));
    } else {
        const int part = v / 32, quarter = v / 8 % 4;
        const __m256i low = nibble(block + 288 + 64 * (part * 16 + quarter % 2 * 8 + v % 8) + half, quarter >= 2);
        const __m256i bits = load_bytes(block + 2336 + 64 * (part * 8 + v % 8) + half);
        const __m256i moved =
            quarter <= 2 ? _mm256_slli_epi16(bits, 4 - 2 * quarter) : _mm256_srli_epi16(bits, 2 * quarter - 4);
        return _mm256_or_si256(low, _mm256_and_si256(moved, _mm256_set1_epi8(48)));
    }
}

// Asks for part `part` of `parts` of a block's lines. Spread over a block's arithmetic: in one burst they would fill
// the miss buffers and stall it.
template <int BYTES>
SHOESTRING_INLINE void prefetch_part(const uint8_t* block, int part, int parts) {
    constexpr int lines = (BYTES + 63) / 64;
    SHOESTRING_UNROLL(16)
    for (int line = lines * part / parts; line < lines * (part + 1) / parts; ++line)
        _mm_prefetch(block + 64 * line, _MM_HINT_T0);
}

// Where the lines lie that a tile asks for: both halves in one pass stream 4 KB ahead; half by half the second pass
// finds its lines in the cache and fetches the next group.
template <int HALVES>
SHOESTRING_INLINE int64_t prefetch_distance(int first_half, int64_t group_bytes) {
    return HALVES == 2 ? 4096 : first_half == 1 ? group_bytes : 0;
}

constexpr bool has_panel(WeightType type) {
    return type == WeightType::Q4_K || type == WeightType::Q5_K || type == WeightType::Q6_K;
}

template <WeightType type>
void unpack_panel(const uint8_t* group, int64_t columns, uint8_t* panel) {
    constexpr shoestring::WeightFormat f = shoestring::format(type);
    for (int64_t b = 0; b < columns / 256; ++b) {
        for (int half = 0; half < 2; ++half) {
            uint8_t* out = panel + 8 * (half * columns + 256 * b);
            SHOESTRING_UNROLL(64)
            for (int v = 0; v < 64; ++v)
                _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 32 * v),
                                    quants<type>(group + b * f.packed_bytes, v, 32 * half));
        }
    }
}

SHOESTRING_INLINE int32_t start_32(WeightType type, const Block32& x) {
    return type == WeightType::Q4_0 ? x.minus_8 : type == WeightType::Q5_0 ? x.minus_16 : 0;
}

template <WeightType type, int HALVES, int TOKENS>
SHOESTRING_INLINE void tile_32(const uint8_t* group, int first_half, int64_t columns, const Token* tokens, float* out) {
    constexpr int block_bytes = shoestring::format(type).packed_bytes;
    constexpr bool signed_weights = type == WeightType::Q8_0;
    const int64_t ahead = prefetch_distance<HALVES>(first_half, columns / 32 * block_bytes);
    const __m256i ones = _mm256_set1_epi16(1);
    const int8_t* a[TOKENS];
    for (int t = 0; t < TOKENS; ++t) a[t] = tokens[t].quants;
    __m256 acc[HALVES][TOKENS] = {};
    for (int64_t b = 0; b < columns / 32; ++b, group += block_bytes) {
        __m256i sum[HALVES][TOKENS];
        SHOESTRING_UNROLL(2)
        for (int h = 0; h < HALVES; ++h) {
            SHOESTRING_UNROLL(6)
            for (int t = 0; t < TOKENS; ++t) sum[h][t] = _mm256_set1_epi32(start_32(type, tokens[t].blocks_32[b]));
        }
        SHOESTRING_UNROLL(8)
        for (int v = 0; v < 8; ++v) {
            prefetch_part<block_bytes>(group + ahead, v, 8);
            SHOESTRING_UNROLL(2)
            for (int h = 0; h < HALVES; ++h) {
                const __m256i w = quants<type>(group, v, 32 * (first_half + h));
                const __m256i magnitude = signed_weights ? _mm256_abs_epi8(w) : w;
                SHOESTRING_UNROLL(6)
                for (int t = 0; t < TOKENS; ++t) {
                    const __m256i x = broadcast(a[t] + 32 * b + 4 * v);
                    if constexpr (signed_weights) {
                        const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(x, w));
                        sum[h][t] = _mm256_add_epi32(sum[h][t], _mm256_madd_epi16(pairs, ones));
                    } else {
                        sum[h][t] = _mm256_add_epi16(sum[h][t], _mm256_maddubs_epi16(w, x));
                    }
                    SHOESTRING_PIN(sum[h][t]);
                }
            }
        }
        SHOESTRING_UNROLL(2)
        for (int h = 0; h < HALVES; ++h) {
            const __m256 d = load_halves(group + 16 * (first_half + h));
            SHOESTRING_UNROLL(6)
            for (int t = 0; t < TOKENS; ++t) {
                const Block32& x = tokens[t].blocks_32[b];
                const __m256i whole = signed_weights ? sum[h][t] : _mm256_madd_epi16(sum[h][t], ones);
                const __m256 scale = _mm256_mul_ps(d, _mm256_set1_ps(x.scale));
                acc[h][t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), scale, acc[h][t]);
                if constexpr (type == WeightType::Q4_1) {
                    const __m256 m = load_halves(group + 32 + 16 * (first_half + h));
                    acc[h][t] = _mm256_fmadd_ps(m, _mm256_set1_ps(x.scaled_sum), acc[h][t]);
                }
            }
        }
    }
    for (int h = 0; h < HALVES; ++h) {
        for (int t = 0; t < TOKENS; ++t) _mm256_storeu_ps(out + 16 * t + 8 * (first_half + h), acc[h][t]);
    }
}

// The pair of sub-scales (or sub-mins) of 8 rows as int16.
template <WeightType type>
SHOESTRING_INLINE __m256i scale_pair(const uint8_t* block, int pair, int half) {
    constexpr int begin = type == WeightType::Q6_K ? 32 : 64;
    const __m128i bytes = load_half_bytes(block + begin + 32 * pair + 16 * half);
    return type == WeightType::Q6_K ? _mm256_cvtepi8_epi16(bytes) : _mm256_cvtepu8_epi16(bytes);
}

// Both int16 of every pair := its first (or second).
SHOESTRING_INLINE __m256i twice(__m256i pairs, int which) {
    const int place = which * 2;
    const __m128i from =
        _mm_setr_epi8(place, place + 1, place, place + 1, place + 4, place + 5, place + 4, place + 5, place + 8,
                      place + 9, place + 8, place + 9, place + 12, place + 13, place + 12, place + 13);
    return _mm256_shuffle_epi8(pairs, _mm256_broadcastsi128_si256(from));
}

SHOESTRING_INLINE int32_t start_256(WeightType type, const Block256& x, int sub) {
    return type == WeightType::Q6_K ? x.minus_32[sub] : type == WeightType::Q5_K ? x.minus_16[sub] : 0;
}

// Σ over pairs of sub-blocks of values (scales or mins) times the sums of the activations.
SHOESTRING_INLINE __m256i times_sums(const __m256i* values, const Block256& x) {
    __m256i total = _mm256_madd_epi16(values[0], _mm256_set1_epi32(x.sums[0]));
    for (int pair = 1; pair < 4; ++pair)
        total = _mm256_add_epi32(total, _mm256_madd_epi16(values[pair], _mm256_set1_epi32(x.sums[pair])));
    return total;
}

template <WeightType type, int HALVES, int TOKENS, bool PANEL>
SHOESTRING_INLINE void tile_256(const uint8_t* group, const uint8_t* panel, int first_half, int64_t columns,
                                const Token* tokens, float* out) {
    constexpr int block_bytes = shoestring::format(type).packed_bytes;
    constexpr bool six = type == WeightType::Q6_K;
    constexpr int vectors = six ? 4 : 8;  // of a sub-block
    const int8_t* a[TOKENS];
    for (int t = 0; t < TOKENS; ++t) a[t] = tokens[t].quants;
    if constexpr (PANEL) panel += 8 * first_half * columns;
    const int64_t ahead = prefetch_distance<HALVES>(first_half, columns / 256 * block_bytes);
    __m256 acc[HALVES][TOKENS] = {};
    for (int64_t b = 0; b < columns / 256; ++b, group += block_bytes) {
        __m256i total[HALVES][TOKENS] = {};
        SHOESTRING_UNROLL(16)
        for (int sub = 0; sub < 64 / vectors; ++sub) {
            if constexpr (!PANEL) prefetch_part<block_bytes>(group + ahead, sub, 64 / vectors);
            __m256i sum[HALVES][TOKENS];
            SHOESTRING_UNROLL(2)
            for (int h = 0; h < HALVES; ++h) {
                SHOESTRING_UNROLL(6)
                for (int t = 0; t < TOKENS; ++t)
                    sum[h][t] = _mm256_set1_epi32(start_256(type, tokens[t].blocks_256[b], sub));
            }
            SHOESTRING_UNROLL(8)
            for (int v = sub * vectors; v < (sub + 1) * vectors; ++v) {
                SHOESTRING_UNROLL(2)
                for (int h = 0; h < HALVES; ++h) {
                    const __m256i w =
                        PANEL ? load_bytes(panel + 32 * (64 * b + v)) : quants<type>(group, v, 32 * (first_half + h));
                    SHOESTRING_UNROLL(6)
                    for (int t = 0; t < TOKENS; ++t) {
                        sum[h][t] =
                            _mm256_add_epi16(sum[h][t], _mm256_maddubs_epi16(w, broadcast(a[t] + 256 * b + 4 * v)));
                        SHOESTRING_PIN(sum[h][t]);
                    }
                }
            }
            SHOESTRING_UNROLL(2)
            for (int h = 0; h < HALVES; ++h) {
                const __m256i scale = twice(scale_pair<type>(group, sub / 2, first_half + h), sub % 2);
                SHOESTRING_UNROLL(6)
                for (int t = 0; t < TOKENS; ++t) {
                    total[h][t] = _mm256_add_epi32(total[h][t], _mm256_madd_epi16(sum[h][t], scale));
                    SHOESTRING_PIN(total[h][t]);
                }
            }
        }
        SHOESTRING_UNROLL(2)
        for (int h = 0; h < HALVES; ++h) {
            const __m256 d = load_halves(group + 16 * (first_half + h));
            const __m256 dmin = six ? d : load_halves(group + 32 + 16 * (first_half + h));
            __m256i scales[4], mins[4];
            for (int pair = 0; pair < 4; ++pair) {
                scales[pair] = scale_pair<type>(group, pair, first_half + h);
                mins[pair] = six ? scales[pair] : scale_pair<type>(group + 128, pair, first_half + h);
            }
            for (int t = 0; t < TOKENS; ++t) {
                const Block256& x = tokens[t].blocks_256[b];
                const __m256 scale = _mm256_set1_ps(x.scale);
                __m256i whole = total[h][t];
                // Q5_K summed (w - 16) a: add Σ scale · 16 · Σ a.
                if constexpr (type == WeightType::Q5_K)
                    whole = _mm256_add_epi32(whole, _mm256_slli_epi32(times_sums(scales, x), 4));
                acc[h][t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), _mm256_mul_ps(d, scale), acc[h][t]);
                if constexpr (!six)
                    acc[h][t] = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(times_sums(mins, x)), _mm256_mul_ps(dmin, scale),
                                                 acc[h][t]);
            }
        }
    }
    for (int h = 0; h < HALVES; ++h) {
        for (int t = 0; t < TOKENS; ++t) _mm256_storeu_ps(out + 16 * t + 8 * (first_half + h), acc[h][t]);
    }
}

// out [TOKENS][16]. Up to three tokens take both halves of a line in one pass: they stream from memory.
template <WeightType type, int TOKENS>
void tile(const uint8_t* group, const uint8_t* panel, int64_t columns, const Token* tokens, float* out) {
    constexpr bool wide = shoestring::format(type).block == 256;
    if (wide && panel != nullptr) {
        for (int half = 0; half < 2; ++half) {
            if constexpr (wide) tile_256<type, 1, TOKENS, true>(group, panel, half, columns, tokens, out);
        }
        return;
    }
    if constexpr (TOKENS <= 3) {
        if constexpr (wide) tile_256<type, 2, TOKENS, false>(group, nullptr, 0, columns, tokens, out);
        if constexpr (!wide) tile_32<type, 2, TOKENS>(group, 0, columns, tokens, out);
    } else {
        for (int half = 0; half < 2; ++half) {
            if constexpr (wide) tile_256<type, 1, TOKENS, false>(group, nullptr, half, columns, tokens, out);
            if constexpr (!wide) tile_32<type, 1, TOKENS>(group, half, columns, tokens, out);
        }
    }
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
