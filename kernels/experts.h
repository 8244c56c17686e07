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

    Token token(int64_t pair, Form form) const {
        const int64_t* rows = form.activation == Activation::FLOAT ? float_rows : quant_rows;
        return a.token(rows == nullptr ? pair : rows[pair], form);
    }
    // For products by panels: floats are arranged pair by pair.
    Token panel_token(int64_t pair, Form form) const {
        return form.activation == Activation::FLOAT ? a.panel_token(pair, form) : token(pair, form);
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

// Row `row` of x to row `to` of the quants. With scale_input the pair's weight multiplies it first, to row `to` of
// `scaled`, which is a's x.
SHOESTRING_INLINE void quantize_input(const RoutedPairs& p, int64_t row, int64_t pair, const Activations& a, int64_t to,
                                      float* scaled) {
    const float* x = p.x + row * p.hidden_size;
    if (p.scale_input) {
        float* product = scaled + to * p.hidden_size;
        scale_row(x, p.weights[pair], p.hidden_size, product);
        x = product;
    }
    quantize_row(a, x, to);
}

// Rows 0 … count of the quants: those of pairs [first, first + count).
void quantize_pairs(const RoutedPairs& p, int64_t first, int64_t count, const Activations& a, float* scaled) {
    if (!p.scale_input && a.quants_32 == nullptr && a.quants_256 == nullptr) return;
    parallel_for(count, 1 + 16384 / p.hidden_size, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) quantize_input(p, p.rows[first + i], first + i, a, i, scaled);
    });
}

// Each thread's memory for products of up to `most` rows at once.
void reserve_panels(const RoutedPairs& p, int64_t most) {
    if (most < PANEL_TOKENS) return;
    reserve_panels(p.hidden_size);
    reserve_panels(p.width);
}

int64_t most_rows(const ExpertShare* shares, int64_t num_shares) {
    int64_t most = 0;
    for (int64_t i = 0; i < num_shares; ++i) most = shares[i].count > most ? shares[i].count : most;
    return most;
}

// Calls body(share, begin, end) for the shares' own ranges of units in [begin, end) of all their units.
template <typename Body>
void each_share(const ExpertShare* shares, int64_t units, int64_t begin, int64_t end, const Body& body) {
    while (begin < end) {
        const int64_t share = begin / units, last = (share + 1) * units < end ? (share + 1) * units : end;
        body(shares[share], begin - share * units, last - share * units);
        begin = last;
    }
}

// Calls body(share, begin, end, thread) for ranges that together are all units of all shares, in parallel.
template <typename Body>
void for_expert_units(const ExpertShare* shares, int64_t num_shares, int64_t units, int64_t grain, const Body& body) {
    parallel_for(num_shares * units, grain, [&](int64_t begin, int64_t end, int thread) {
        each_share(shares, units, begin, end,
                   [&](const ExpertShare& share, int64_t first, int64_t last) { body(share, first, last, thread); });
    });
}

SHOESTRING_INLINE void store_rows(float* to, Lanes values, int rows) {
    if (rows == GROUP_ROWS)
        store(to, values);
    else
        store(to, values, rows);
}

// hidden[pair] = silu(gate x) · up x, the rows of a unit of the matrices.
void gate_up_rows(const ExpertShare& share, int64_t unit, const Inputs& in, float* hidden) {
    const ExpertView& expert = share.expert;
    const Groups gate = open_groups(expert.gate, unit), up = open_groups(expert.up, unit);
    const int64_t width = expert.gate.rows;
    constexpr int OUTPUTS = TILE_GROUPS * TILE_TOKENS * GROUP_ROWS;
    alignas(64) float gates[OUTPUTS], ups[OUTPUTS];
    Token tile[TILE_TOKENS];
    for (int64_t t = 0; t < share.count;) {
        const int64_t pair = share.first + t;
        const int size = static_cast<int>(gate.tile_size(share.count - t));
        for (int i = 0; i < size; ++i) tile[i] = in.token(pair + i, gate.form);
        gate.tile(tile, size, gates);
        if (!(up.form == gate.form))
            for (int i = 0; i < size; ++i) tile[i] = in.token(pair + i, up.form);
        up.tile(tile, size, ups);
        each_group(expert.gate, unit, gate, size, [&](int64_t i, int64_t row, int64_t at, int rows) {
            store_rows(hidden + (pair + i) * width + row, mul(silu(load(gates + at)), load(ups + at)), rows);
        });
        t += size;
    }
}

// The same for units [begin, end), by panels.
void gate_up_panels(const ExpertShare& share, int64_t begin, int64_t end, const Inputs& in, const PanelScratch& scratch,
                    float* hidden) {
    const ExpertView& expert = share.expert;
    const int64_t width = expert.gate.rows;
    const Form forms[2] = {form_of(expert.gate.type), form_of(expert.up.type)};
    Token tokens[MOST_PANEL_TOKENS];
    const auto open = [&](int64_t pair, int64_t size, Form form) {
        for (int64_t i = 0; i < size; ++i) tokens[i] = in.panel_token(pair + i, form);
        if (form.activation != Activation::FLOAT) arrange(tokens, size, expert.gate.columns, scratch.quants);
    };
    for (int64_t t = 0, size = 0; t < share.count; t += size) {
        const int64_t pair = share.first + t;
        size = panel_tokens(share.count - t, expert.gate.columns, has_floats(expert.gate));
        open(pair, size, forms[0]);
        for (int64_t unit = begin; unit < end; ++unit) {
            if (!(forms[0] == forms[1]) && unit > begin) open(pair, size, forms[0]);
            open_groups(expert.gate, unit).panel_product(tokens, size, scratch.panel, scratch.out[0]);
            if (!(forms[0] == forms[1])) open(pair, size, forms[1]);
            open_groups(expert.up, unit).panel_product(tokens, size, scratch.panel, scratch.out[1]);
            each_panel_group(expert.gate, unit, size, scratch.out[0],
                             [&](int64_t i, int64_t row, const float* gate, int rows) {
                                 const float* up = gate + PANEL_OUTPUTS;
                                 store_rows(hidden + (pair + i) * width + row, mul(silu(load(gate)), load(up)), rows);
                             });
        }
    }
}

// hidden of units [begin, end), by panels or tiles.
void gate_up_range(const ExpertShare& share, int64_t begin, int64_t end, const Inputs& in, int thread, float* hidden) {
    if (by_panels(share.expert.gate, share.count) && by_panels(share.expert.up, share.count) &&
        has_floats(share.expert.gate) == has_floats(share.expert.up))
        return gate_up_panels(share, begin, end, in, PanelScratch(thread), hidden);
    for (int64_t unit = begin; unit < end; ++unit) gate_up_rows(share, unit, in, hidden);
}

void gate_up_shares(const ExpertShare* shares, int64_t num_shares, const Inputs& in, float* hidden) {
    const int64_t units = num_units(shares[0].expert.gate.rows);
    const int64_t grain = chunk_units(shares[0].expert.gate, units, 2 * most_rows(shares, num_shares));
    for_expert_units(shares, num_shares, units, grain,
                     [&](const ExpertShare& share, int64_t begin, int64_t end, int thread) {
                         gate_up_range(share, begin, end, in, thread, hidden);
                     });
}

// Items of arrange_shares: 0 where no product with w reads arranged floats.
int64_t arranged_items(const MatrixView& w, const ExpertShare* shares, int64_t num_shares) {
    const bool arranges = has_floats(w) && by_panels(w, most_rows(shares, num_shares));
    return arranges ? num_shares * arranged_blocks(w.columns) : 0;
}

// Arranges items [begin, end), which are blocks of columns of one share after the other; row(pair): where its floats
// lie.
template <typename Row>
void arrange_shares(const ExpertShare* shares, const MatrixView& w, const Row& row, int64_t begin, int64_t end,
                    float* arranged) {
    each_share(shares, arranged_blocks(w.columns), begin, end,
               [&](const ExpertShare& share, int64_t first, int64_t last) {
                   if (!by_panels(w, share.count)) return;
                   for (int64_t block = first; block < last; ++block)
                       arrange_block([&](int64_t t) { return row(share.first + t); }, share.count, w.columns, block,
                                     arranged + share.first * w.columns);
               });
}

void arrange_inputs(const ExpertShare* shares, const Inputs& in, int64_t begin, int64_t end) {
    const auto row = [&](int64_t pair) { return in.token(pair, {Activation::FLOAT, NO_STARTS}).x; };
    arrange_shares(shares, shares[0].expert.gate, row, begin, end, in.a.arranged);
}

void arrange_between(const ExpertShare* shares, const Activations& hidden, int64_t begin, int64_t end) {
    const auto row = [&](int64_t pair) { return hidden.x + pair * hidden.stride; };
    arrange_shares(shares, shares[0].expert.down, row, begin, end, hidden.arranged);
}

// take(pair, row, y, rows): y = down hidden[pair], `rows` rows of the matrix from `row` on, in units [begin, end);
// prepare(pair, row) comes before.
template <typename Prepare, typename Take>
void down_rows(const ExpertShare& share, int64_t begin, int64_t end, const Activations& hidden, int thread,
               const Prepare& prepare, const Take& take) {
    const MatrixView& w = share.expert.down;
    const Form form = form_of(w.type);
    if (by_panels(w, share.count)) {
        const PanelScratch scratch(thread);
        Token tokens[MOST_PANEL_TOKENS];
        for (int64_t t = 0, size = 0; t < share.count; t += size) {
            const int64_t pair = share.first + t;
            size = panel_tokens(share.count - t, w.columns, has_floats(w));
            for (int64_t i = 0; i < size; ++i) tokens[i] = hidden.panel_token(pair + i, form);
            if (!has_floats(w)) arrange(tokens, size, w.columns, scratch.quants);
            for (int64_t unit = begin; unit < end; ++unit) {
                float* out = scratch.out[0];
                each_panel_group(w, unit, size, out,
                                 [&](int64_t i, int64_t row, const float*, int) { prepare(pair + i, row); });
                open_groups(w, unit).panel_product(tokens, size, scratch.panel, out);
                each_panel_group(w, unit, size, out, [&](int64_t i, int64_t row, const float* y, int rows) {
                    take(pair + i, row, load(y), rows);
                });
            }
        }
        return;
    }
    alignas(64) float y[TILE_GROUPS * TILE_TOKENS * GROUP_ROWS];
    Token tile[TILE_TOKENS];
    for (int64_t unit = begin; unit < end; ++unit) {
        const Groups down = open_groups(w, unit);
        for (int64_t t = 0; t < share.count;) {
            const int64_t pair = share.first + t;
            const int size = static_cast<int>(down.tile_size(share.count - t));
            for (int i = 0; i < size; ++i) tile[i] = hidden.token(pair + i, form);
            each_group(w, unit, down, size, [&](int64_t i, int64_t row, int64_t, int) { prepare(pair + i, row); });
            down.tile(tile, size, y);
            each_group(w, unit, down, size,
                       [&](int64_t i, int64_t row, int64_t at, int rows) { take(pair + i, row, load(y + at), rows); });
            t += size;
        }
    }
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
