// bytes.h by vpmaddubsw: products of unsigned weights and signed activations, added up in int16 pairs.
//
// No sum saturates or wraps at its end. vpmaddubsw adds two products: at most 2 · 63 · 127 = 16002 (int8 weights, by
// magnitude and sign: 2 · 128 · 127 = 32512). Sums of them stay in int16: 15 · 127 · 16 = 30480 over 32 columns of
// unsigned 4-bit weights; with an offset they start from -offset · Σ a and end within |8 · 127 · 16| = 16256 (Q4_0),
// |16 · 127 · 16| = 32512 (Q5_0, Q5_K, 32 columns), |32 · 127 · 8| = 32512 (Q6_K, 16 columns), whatever wraps on the
// way. vpmaddwd by ones or by the sub-scale then makes int32 of them.
#pragma once

namespace SHOESTRING_VARIANT {
namespace {

// Offsets that sums over 32 columns start with; int8 weights need none.
constexpr int OFFSETS_32[] = {8, 16};
constexpr int SIGNED_OFFSET = 0;
// Sums within a block of 256.
constexpr Starts STARTS_256[] = {{16, 32}, {32, 16}};
constexpr Starts starts_of(shoestring::WeightType type) {
    using shoestring::WeightType;
    return type == WeightType::Q6_K ? Starts{32, 16} : type == WeightType::Q5_K ? Starts{16, 32} : Starts{0, 32};
}
// Types whose groups are unpacked to a panel of bytes when many tokens use them.
constexpr bool has_panel(shoestring::WeightType type) {
    using shoestring::WeightType;
    return type == WeightType::Q4_K || type == WeightType::Q5_K || type == WeightType::Q6_K;
}

SHOESTRING_INLINE Bytes start(int32_t word) { return words(word); }

template <bool SIGNED>
SHOESTRING_INLINE Bytes prepare(Bytes w) {
    return w;
}
template <bool SIGNED>
SHOESTRING_INLINE Bytes dot(Bytes sum, Bytes w, Bytes x) {
    if constexpr (SIGNED)
        return add_32(sum, multiply_pairs(multiply_bytes(magnitude(w), with_sign_of(w, x)), words(0x00010001)));
    return add_16(sum, multiply_bytes(w, x));
}
template <bool SIGNED>
SHOESTRING_INLINE Bytes whole(Bytes sum) {
    return SIGNED ? sum : multiply_pairs(sum, words(0x00010001));
}
SHOESTRING_INLINE Bytes pick(Bytes pairs, int which) { return twice(pairs, which); }
SHOESTRING_INLINE Bytes add_scaled(Bytes total, Bytes sum, Bytes scale) {
    return add_32(total, multiply_pairs(sum, scale));
}
SHOESTRING_INLINE Bytes add_pairs(Bytes total, Bytes pairs, int32_t word) {
    return add_32(total, multiply_pairs(pairs, words(word)));
}

// Words: int16 pairs of the columns where k mod 4 is 0 or 1, and 2 or 3.
SHOESTRING_INLINE Words eight_columns(const int8_t* p) {
    const auto fours = [](Words quants) { return _mm256_maddubs_epi16(_mm256_set1_epi8(1), quants); };
    const Words a = fours(quants_at(p)), b = fours(quants_at(p + 32));
    return in_order(_mm256_add_epi16(even_words(a, b), odd_words(a, b)));
}
SHOESTRING_INLINE Words halved(Words a, Words b) {
    return in_order(_mm256_add_epi16(even_words(a, b), odd_words(a, b)));
}
SHOESTRING_INLINE Words start_words(int offset, Words a) {
    return _mm256_mullo_epi16(a, _mm256_set1_epi16(static_cast<int16_t>(-offset)));
}
SHOESTRING_INLINE Words totals(Words a) { return _mm256_madd_epi16(a, _mm256_set1_epi16(1)); }

}  // namespace
}  // namespace SHOESTRING_VARIANT
