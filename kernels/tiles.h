// A tile of any weight type: 16 rows times 1 … TILE_TOKENS tokens, chosen through one table of functions.
//
// Float weights: one accumulator an output, columns ascending from acc = 0, acc = fma(w, x, acc); F16 and BF16 are
// widened exactly.
#pragma once

#include "activations.h"

namespace SHOESTRING_VARIANT {
namespace {

// Weights of columns k and k + 1 of BF16 pairs.
SHOESTRING_INLINE Lanes even_bf16(Ints pairs) { return as_floats(shift_left<16>(pairs)); }
SHOESTRING_INLINE Lanes odd_bf16(Ints pairs) {
    return as_floats(bit_and(pairs, set1(static_cast<int32_t>(0xffff0000))));
}

template <int TOKENS>
SHOESTRING_INLINE void accumulate(Lanes w, const Token* tokens, int64_t k, Lanes* acc) {
    SHOESTRING_UNROLL(6)
    for (int t = 0; t < TOKENS; ++t) acc[t] = fma(w, set1(tokens[t].x[k]), acc[t]);
}

template <WeightType type, int TOKENS>
void float_tile(const uint8_t* group, const uint8_t*, int64_t columns, const Token* tokens_in, float* out) {
    Token tokens[TOKENS];
    for (int t = 0; t < TOKENS; ++t) tokens[t] = tokens_in[t];
    Lanes acc[TOKENS];
    for (int t = 0; t < TOKENS; ++t) acc[t] = zero();
    if constexpr (type == WeightType::BF16) {
        const int32_t* w = reinterpret_cast<const int32_t*>(group);
        for (int64_t k = 0; k + 1 < columns; k += 2, w += 16) {
            accumulate<TOKENS>(even_bf16(load(w)), tokens, k, acc);
            accumulate<TOKENS>(odd_bf16(load(w)), tokens, k + 1, acc);
        }
        if (columns % 2) accumulate<TOKENS>(even_bf16(load(w)), tokens, columns - 1, acc);
    } else if constexpr (type == WeightType::F16) {
        const uint16_t* w = reinterpret_cast<const uint16_t*>(group);
        for (int64_t k = 0; k < columns; ++k) accumulate<TOKENS>(load_f16(w + 16 * k), tokens, k, acc);
    } else {
        const float* w = reinterpret_cast<const float*>(group);
        for (int64_t k = 0; k < columns; ++k) accumulate<TOKENS>(load(w + 16 * k), tokens, k, acc);
    }
    for (int t = 0; t < TOKENS; ++t) store(out + 16 * t, acc[t]);
}

using Tile = void (*)(const uint8_t* group, const uint8_t* panel, int64_t columns, const Token* tokens, float* out);
using UnpackPanel = void (*)(const uint8_t* group, int64_t columns, uint8_t* panel);

struct TypeFunctions {
    Tile tiles[TILE_TOKENS];  // of 1, 2, … tokens
    UnpackPanel unpack;       // null: tiles read the packed form
    int tokens;               // of the fastest tile
};

template <WeightType type>
constexpr TypeFunctions float_functions() {
    return {{float_tile<type, 1>, float_tile<type, 2>, float_tile<type, 3>, float_tile<type, 4>, float_tile<type, 5>,
             float_tile<type, 6>},
            nullptr,
            type == WeightType::BF16 ? 5 : 6};
}

template <WeightType type>
constexpr TypeFunctions quantized_functions() {
    return {{tile<type, 1>, tile<type, 2>, tile<type, 3>, tile<type, 4>, tile<type, 5>, tile<type, 6>},
            has_panel(type) ? unpack_panel<type> : nullptr,
            6};
}

// In the order of WeightType.
constexpr TypeFunctions FUNCTIONS[shoestring::NUM_WEIGHT_TYPES] = {
    float_functions<WeightType::F32>(),      float_functions<WeightType::F16>(),
    float_functions<WeightType::BF16>(),     quantized_functions<WeightType::Q8_0>(),
    quantized_functions<WeightType::Q4_0>(), quantized_functions<WeightType::Q4_1>(),
    quantized_functions<WeightType::Q5_0>(), quantized_functions<WeightType::Q4_K>(),
    quantized_functions<WeightType::Q5_K>(), quantized_functions<WeightType::Q6_K>(),
};

}  // namespace
}  // namespace SHOESTRING_VARIANT
