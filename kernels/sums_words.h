// bytes.h by VNNI: vpdpbusd adds four products of unsigned weights and signed activations to an int32, exactly.
//
// int8 weights are moved up by 128, and the sum starts from -128 Σ a. In a block of 256, sums become factors of
// vpdpwssd, which multiplies int16: they start from -offset · Σ a and end after as many columns as fit into int16:
// |8 · 127 · 32| (Q4_K), |16 · 127 · 16| (Q5_K), |32 · 127 · 8| (Q6_K), each 32512. One instruction then multiplies by
// the sub-scale and adds, where vpmulld and vpaddd would take three slots. What the offset took off is added back by
// Σ sub-scale · offset · Σ a.
#pragma once

namespace SHOESTRING_VARIANT {
namespace {

constexpr int OFFSETS_32[] = {8, 16, 128};
constexpr int SIGNED_OFFSET = 128;
constexpr Starts STARTS_256[] = {{8, 32}, {16, 16}, {32, 8}};
constexpr Starts starts_of(shoestring::WeightType type) {
    using shoestring::WeightType;
    return type == WeightType::Q6_K ? Starts{32, 8} : type == WeightType::Q5_K ? Starts{16, 16} : Starts{8, 32};
}
constexpr bool has_panel(shoestring::WeightType) { return true; }

SHOESTRING_INLINE Bytes start(int32_t word) { return words(word); }

template <bool SIGNED>
SHOESTRING_INLINE Bytes prepare(Bytes w) {
    return SIGNED ? flip_signs(w) : w;
}
template <bool SIGNED>
SHOESTRING_INLINE Bytes dot(Bytes sum, Bytes w, Bytes x) {
    return add_byte_products(sum, w, x);
}
template <bool SIGNED>
SHOESTRING_INLINE Bytes whole(Bytes sum) {
    return sum;
}
SHOESTRING_INLINE Bytes pick(Bytes pairs, int which) {
    return which == 0 ? first_of_pair(pairs) : second_of_pair(pairs);
}
SHOESTRING_INLINE Bytes add_scaled(Bytes total, Bytes sum, Bytes scale) { return add_pair_products(total, sum, scale); }
SHOESTRING_INLINE Bytes add_pairs(Bytes total, Bytes pairs, int32_t word) {
    return add_pair_products(total, pairs, words(word));
}

// Words: int32 sums.
SHOESTRING_INLINE Words halved(Words a, Words b) {
    return in_order(_mm256_add_epi32(even_words(a, b), odd_words(a, b)));
}
SHOESTRING_INLINE Words eight_columns(const int8_t* p) {
    const auto fours = [](Words quants) {
        return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), quants), _mm256_set1_epi16(1));
    };
    return halved(fours(quants_at(p)), fours(quants_at(p + 32)));
}
SHOESTRING_INLINE Words start_words(int offset, Words a) { return _mm256_mullo_epi32(a, _mm256_set1_epi32(-offset)); }
SHOESTRING_INLINE Words totals(Words a) { return a; }

}  // namespace
}  // namespace SHOESTRING_VARIANT
