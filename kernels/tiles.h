// A tile of any weight type: 1 … TILE_GROUPS groups of 16 rows times 1 … TILE_TOKENS tokens, chosen through one table
// of functions.
//
// Float weights: one accumulator an output, columns ascending from acc = 0, acc = fma(w, x, acc); F16 and BF16 are
// widened exactly.
#pragma once

#include "activations.h"
#if defined(__AMX_INT8__)
#include "panels_amx.h"
#elif defined(__ARM_FEATURE_MATMUL_INT8)
#include "panels_i8mm.h"
#else
#include "panels.h"
#endif
#include "panels_float.h"

namespace SHOESTRING_VARIANT {
namespace {

template <int GROUPS, int TOKENS>
SHOESTRING_INLINE void accumulate(const Lanes* w, const Token* tokens, int64_t k, Lanes (*acc)[TOKENS]) {
    SHOESTRING_UNROLL(4)
    for (int g = 0; g < GROUPS; ++g) {
        SHOESTRING_UNROLL(16)
        for (int t = 0; t < TOKENS; ++t) acc[g][t] = fma(w[g], set1(tokens[t].x[k]), acc[g][t]);
    }
}

// How far ahead a tile asks for the lines of its weights, bytes.
constexpr int64_t AHEAD = 4096;

template <WeightType type, int GROUPS, int TOKENS>
void float_tile(const TileRows& rows, int64_t columns, const Token* tokens_in, float* out) {
    Token tokens[TOKENS];
    for (int t = 0; t < TOKENS; ++t) tokens[t] = tokens_in[t];
    const uint8_t* data[GROUPS];
    for (int g = 0; g < GROUPS; ++g) data[g] = rows.data + g * rows.stride;
    Lanes acc[GROUPS][TOKENS], w[GROUPS], second[GROUPS];
    for (int g = 0; g < GROUPS; ++g)
        for (int t = 0; t < TOKENS; ++t) acc[g][t] = zero();
    if constexpr (type == WeightType::BF16) {
        using L = Layout<WeightType::BF16>;
        for (int64_t k = 0; k < columns; k += 2) {
            for (int g = 0; g < GROUPS; ++g) {
                prefetch(data[g] + 32 * k + AHEAD);
                const Ints pairs = load(reinterpret_cast<const int32_t*>(data[g]) + 8 * k);
                w[g] = L::even(pairs);
                second[g] = L::odd(pairs);
            }
            accumulate<GROUPS, TOKENS>(w, tokens, k, acc);
            if (k + 1 < columns) accumulate<GROUPS, TOKENS>(second, tokens, k + 1, acc);
        }
    } else {
        for (int64_t k = 0; k < columns; ++k) {
            for (int g = 0; g < GROUPS; ++g) {
                prefetch(data[g] + Layout<type>::FORMAT.packed_bytes * k + AHEAD);
                if constexpr (type == WeightType::F16)
                    w[g] = load_f16(reinterpret_cast<const uint16_t*>(data[g]) + 16 * k);
                else
                    w[g] = load(reinterpret_cast<const float*>(data[g]) + 16 * k);
            }
            accumulate<GROUPS, TOKENS>(w, tokens, k, acc);
        }
    }
    for (int g = 0; g < GROUPS; ++g)
        for (int t = 0; t < TOKENS; ++t) store(out + (g * TILE_TOKENS + t) * 16, acc[g][t]);
}

using Tile = void (*)(const TileRows& rows, int64_t columns, const Token* tokens, float* out);

struct TypeFunctions {
    Tile tiles[TILE_GROUPS][TILE_TOKENS];      // of 1, 2, … groups and tokens
    PanelProduct panel_products[TILE_GROUPS];  // of 1, 2, … groups; null: many tokens take tiles as well
    int64_t panel_tokens;                      // from which a panel pays
    int tokens;                                // of the fastest tile
    int starts;                                // class of sums in blocks of 256
};

template <WeightType type, int GROUPS, int TOKENS>
constexpr Tile tile_of() {
    if constexpr (Layout<type>::FORMAT.activation == shoestring::Activation::FLOAT)
        return float_tile<type, GROUPS, TOKENS>;
    else
        return tile<type, GROUPS, TOKENS, false>;
}

template <WeightType type, int GROUPS, int TOKENS>
constexpr void fill(TypeFunctions& functions) {
    functions.tiles[GROUPS - 1][TOKENS - 1] = tile_of<type, GROUPS, TOKENS>();
    if constexpr (TOKENS > 1)
        fill<type, GROUPS, TOKENS - 1>(functions);
    else if constexpr (GROUPS > 1)
        fill<type, GROUPS - 1, TILE_TOKENS>(functions);
}

template <WeightType type, int GROUPS>
constexpr void fill_panels(TypeFunctions& functions) {
    if constexpr (Layout<type>::FORMAT.activation == shoestring::Activation::FLOAT)
        functions.panel_products[GROUPS - 1] = float_panel_product<type, GROUPS>;
    else
        functions.panel_products[GROUPS - 1] = panel_product<type, GROUPS>;
    if constexpr (GROUPS > 1) fill_panels<type, GROUPS - 1>(functions);
}

template <WeightType type>
constexpr TypeFunctions functions_of() {
    TypeFunctions functions{};
    fill<type, TILE_GROUPS, TILE_TOKENS>(functions);
    functions.starts = NO_STARTS;
    if constexpr (Layout<type>::FORMAT.activation == shoestring::Activation::FLOAT) {
        functions.tokens = float_tokens(type);
        functions.panel_tokens = FLOAT_PANEL_TOKENS;
        if constexpr (HAS_FLOAT_PANELS) fill_panels<type, TILE_GROUPS>(functions);
    } else {
        functions.tokens = TILE_TOKENS;
        functions.panel_tokens = PANEL_TOKENS;
        if constexpr (has_panel(type)) fill_panels<type, TILE_GROUPS>(functions);
    }
    if constexpr (Layout<type>::FORMAT.activation == shoestring::Activation::INT8_256)
        functions.starts = starts_class(type);
    return functions;
}

// In the order of WeightType.
#define SHOESTRING_FUNCTIONS(name) functions_of<WeightType::name>(),
constexpr TypeFunctions FUNCTIONS[shoestring::NUM_WEIGHT_TYPES] = {
    SHOESTRING_FLOAT_TYPES(SHOESTRING_FUNCTIONS) SHOESTRING_QUANTIZED_TYPES(SHOESTRING_FUNCTIONS)};
#undef SHOESTRING_FUNCTIONS

}  // namespace
}  // namespace SHOESTRING_VARIANT
