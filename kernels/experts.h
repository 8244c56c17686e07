// A mixture's experts on their rows: gate and up fused with silu, then down.
//
// Pairs (row, expert) are sorted by expert, so an expert's matrices meet all of its rows at once. Results are added to
// a row in ascending expert order, from acc = 0: acc = fma(weight, y, acc). Where the weight scales the input
// (scale_input), it has multiplied x, rounded once, and acc = fma(1, y, acc).
#pragma once

#include "lanes_math.h"
#include "matmul.h"

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::ExpertShare;
using shoestring::ExpertView;
using shoestring::RoutedPairs;

// Hands out 64-byte aligned pieces of one block of memory.
struct Pieces {
    uint8_t* next;

    template <typename T>
    T* take(int64_t count) {
        T* piece = reinterpret_cast<T*>(next);
        next += round_up(count * static_cast<int64_t>(sizeof(T)), 64);
        return piece;
    }
};

// What enters gate and up: for each pair the row of the floats, and that of the quants. Null: the pair's own number.
struct Inputs {
    Activations a;
    const int64_t* float_rows;
    const int64_t* quant_rows;

    Token token(int64_t pair, Activation form) const {
        const int64_t* rows = form == Activation::FLOAT ? float_rows : quant_rows;
        return a.token(rows == nullptr ? pair : rows[pair], form);
    }
};

// The forms in which the experts of the shares read their input and what is between gate, up and down.
struct ExpertForms {
    Wanted in{false, false}, between{false, false};
};

ExpertForms wanted_forms(const ExpertShare* shares, int64_t num_shares) {
    ExpertForms forms;
    for (int64_t i = 0; i < num_shares; ++i) {
        forms.in = wanted(shares[i].expert.gate, wanted(shares[i].expert.up, forms.in));
        forms.between = wanted(shares[i].expert.down, forms.between);
    }
    return forms;
}

// x · factor, rounded once.
void scale_row(const float* x, float factor, int64_t columns, float* out) {
    for (int64_t c = 0; c < columns; c += 16) {
        const int n = static_cast<int>(columns - c < 16 ? columns - c : 16);
        store(out + c, mul(load(x + c, n), set1(factor)), n);
    }
}

// Rows 0 … count of the quants: those of pairs [first, first + count). With scale_input the weight multiplies the row
// first, to row 0 … count of `scaled`, which is a's x.
void quantize_pairs(const RoutedPairs& p, int64_t first, int64_t count, const Activations& a, float* scaled) {
    if (!p.scale_input && a.quants_32 == nullptr && a.quants_256 == nullptr) return;
    parallel_for(count, 1 + 16384 / p.hidden_size, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) {
            const float* row = p.x + p.rows[first + i] * p.hidden_size;
            if (p.scale_input) {
                float* product = scaled + i * p.hidden_size;
                scale_row(row, p.weights[first + i], p.hidden_size, product);
                row = product;
            }
            quantize_row(a, row, i);
        }
    });
}

// Each thread's panels for the groups of experts that meet up to `most` rows at once.
void reserve_panels(const RoutedPairs& p, int64_t most) {
    const int64_t widest = 2 * p.hidden_size > p.width ? 2 * p.hidden_size : p.width;
    if (most >= PANEL_TOKENS) shoestring::reserve_own_scratch(static_cast<size_t>(widest * GROUP_ROWS * TILE_GROUPS));
}

int64_t most_rows(const ExpertShare* shares, int64_t num_shares) {
    int64_t most = 0;
    for (int64_t i = 0; i < num_shares; ++i) most = shares[i].count > most ? shares[i].count : most;
    return most;
}

// Calls body(share, unit, panel) for all units of all shares, in parallel.
template <typename Body>
void for_expert_units(const ExpertShare* shares, int64_t num_shares, int64_t units, int64_t grain, const Body& body) {
    parallel_for(num_shares * units, grain, [&](int64_t begin, int64_t end, int thread) {
        uint8_t* own = static_cast<uint8_t*>(shoestring::own_scratch(thread));
        for (int64_t i = begin; i < end; ++i) body(shares[i / units], i % units, own);
    });
}

SHOESTRING_INLINE void store_rows(float* to, Lanes values, int rows) {
    if (rows == GROUP_ROWS)
        store(to, values);
    else
        store(to, values, rows);
}

// hidden[pair] = silu(gate x) · up x, the rows of a unit of the matrices.
void gate_up_rows(const ExpertShare& share, int64_t unit, const Inputs& in, uint8_t* panels, float* hidden) {
    const ExpertView& expert = share.expert;
    const Groups gate = open_groups(expert.gate, unit, share.count, panels);
    const Groups up = open_groups(expert.up, unit, share.count, panels + panel_bytes(expert.gate));
    const int64_t width = expert.gate.rows;
    constexpr int OUTPUTS = TILE_GROUPS * TILE_TOKENS * GROUP_ROWS;
    alignas(64) float gates[OUTPUTS], ups[OUTPUTS];
    Token tile[TILE_TOKENS];
    for (int64_t t = 0; t < share.count;) {
        const int64_t pair = share.first + t;
        const int size = static_cast<int>(gate.tile_size(share.count - t));
        for (int i = 0; i < size; ++i) tile[i] = in.token(pair + i, gate.activation);
        gate.tile(tile, size, gates);
        if (up.activation != gate.activation)
            for (int i = 0; i < size; ++i) tile[i] = in.token(pair + i, up.activation);
        up.tile(tile, size, ups);
        each_group(expert.gate, unit, gate, size, [&](int64_t i, int64_t row, int64_t at, int rows) {
            store_rows(hidden + (pair + i) * width + row, mul(silu(load(gates + at)), load(ups + at)), rows);
        });
        t += size;
    }
}

void gate_up_shares(const ExpertShare* shares, int64_t num_shares, const Inputs& in, float* hidden) {
    const int64_t units = num_units(shares[0].expert.gate.rows);
    const int64_t grain = chunk_units(shares[0].expert.gate, units, 2 * most_rows(shares, num_shares));
    for_expert_units(shares, num_shares, units, grain, [&](const ExpertShare& share, int64_t unit, uint8_t* own) {
        gate_up_rows(share, unit, in, own, hidden);
    });
}

// take(pair, row, y, rows): y = down hidden[pair], `rows` rows of the matrix from `row` on; prepare(pair, row) comes
// before.
template <typename Prepare, typename Take>
SHOESTRING_INLINE void down_rows(const ExpertShare& share, int64_t unit, const Activations& hidden, uint8_t* panel,
                                 const Prepare& prepare, const Take& take) {
    const Groups down = open_groups(share.expert.down, unit, share.count, panel);
    alignas(64) float y[TILE_GROUPS * TILE_TOKENS * GROUP_ROWS];
    Token tile[TILE_TOKENS];
    for (int64_t t = 0; t < share.count;) {
        const int64_t pair = share.first + t;
        const int size = static_cast<int>(down.tile_size(share.count - t));
        for (int i = 0; i < size; ++i) tile[i] = hidden.token(pair + i, down.activation);
        each_group(share.expert.down, unit, down, size,
                   [&](int64_t i, int64_t row, int64_t, int) { prepare(pair + i, row); });
        down.tile(tile, size, y);
        each_group(share.expert.down, unit, down, size,
                   [&](int64_t i, int64_t row, int64_t at, int rows) { take(pair + i, row, load(y + at), rows); });
        t += size;
    }
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
