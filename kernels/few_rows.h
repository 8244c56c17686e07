// Products of few rows, with what comes before and after them: one parallel region a group.
//
// The rows are normed and quantized once, in the first phase; then all products of the group read them. Tiles read the
// packed weights: a panel pays only for more rows.
#pragma once

#include "experts.h"
#include "norm.h"

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::FeedForward;
using shoestring::InputRows;

// Rows of n columns in a chunk of work: a row's norm and quants cost about as much as waking a thread.
int64_t few_rows_grain(int64_t columns) { return 1 + 2048 / columns; }

const float* entering(const InputRows& in) { return in.normed != nullptr ? in.normed : in.x; }

void prepare_rows(const InputRows& in, const Activations& a, int64_t begin, int64_t end) {
    if (in.normed != nullptr) rms_norm(in.x, in.norm, nullptr, in.columns, in.eps, in.normed, begin, end);
    for (int64_t row = begin; row < end; ++row) quantize_row(a, entering(in) + row * in.columns, row);
}

// The next tile of `left` tokens, from token `first` on. Returns its size.
SHOESTRING_INLINE int next_tile(const Groups& groups, const Activations& a, int64_t first, int64_t left, Token* tile) {
    const int size = static_cast<int>(groups.tile_size(left));
    for (int i = 0; i < size; ++i) tile[i] = a.token(first + i, groups.form);
    return size;
}

constexpr int FEW_OUTPUTS = TILE_GROUPS * TILE_TOKENS * GROUP_ROWS;

// take(t, row, y, rows) for each token and each group of a unit.
template <typename Take>
SHOESTRING_INLINE void few_unit(const MatrixView& w, int64_t unit, const Activations& a, int64_t tokens,
                                const Take& take) {
    const Groups groups = open_groups(w, unit);
    alignas(64) float y[FEW_OUTPUTS];
    Token tile[TILE_TOKENS];
    for (int64_t first = 0; first < tokens;) {
        const int size = next_tile(groups, a, first, tokens - first, tile);
        groups.tile(tile, size, y);
        each_group(w, unit, groups, size,
                   [&](int64_t t, int64_t row, int64_t at, int rows) { take(first + t, row, load(y + at), rows); });
        first += size;
    }
}

// out[t] = y, or out[t] + y.
void few_unit_to(const MatrixView& w, int64_t unit, const Activations& a, int64_t tokens, bool adds, float* out) {
    few_unit(w, unit, a, tokens, [&](int64_t t, int64_t row, Lanes y, int rows) {
        float* to = out + t * w.rows + row;
        store_rows(to, adds ? add(load(to, rows), y) : y, rows);
    });
}

// Each job's out [rows, weight.rows] = products of the rows; adds: added to it.
void products(const InputRows& in, const MatmulJob* jobs, int num_jobs, bool adds) {
    if (in.rows == 0 || num_jobs == 0) return;
    Wanted want{false, false};
    int64_t units = 0;
    for (int i = 0; i < num_jobs; ++i) {
        want = wanted(jobs[i].weight, want);
        units += num_units(jobs[i].weight.rows);
    }
    const size_t bytes = static_cast<size_t>(activation_bytes(in.rows, in.columns, want));
    const Activations a = place(entering(in), in.columns, in.rows, in.columns, want,
                                static_cast<uint8_t*>(shoestring::shared_scratch(bytes)));
    const auto prepare = [&](int64_t begin, int64_t end, int) { prepare_rows(in, a, begin, end); };
    const auto multiply = [&](int64_t begin, int64_t end, int) {
        int job = 0;
        int64_t first = 0;
        for (int64_t u = begin; u < end; ++u) {
            while (u - first >= num_units(jobs[job].weight.rows)) first += num_units(jobs[job++].weight.rows);
            few_unit_to(jobs[job].weight, u - first, a, in.rows, adds, jobs[job].out);
        }
    };
    const Phase phases[] = {phase_of(in.rows, few_rows_grain(in.columns), prepare),
                            phase_of(units, chunk_units(jobs[0].weight, units, in.rows), multiply)};
    shoestring::parallel_phases(phases, 2);
}

// hidden[t] = silu(gate x) · up x, the rows of a unit.
void few_gate_up(const FeedForward& f, int64_t unit, const Activations& a, int64_t tokens) {
    const Groups gate = open_groups(f.gate, unit), up = open_groups(f.up, unit);
    alignas(64) float gates[FEW_OUTPUTS], ups[FEW_OUTPUTS];
    Token tile[TILE_TOKENS];
    for (int64_t first = 0; first < tokens;) {
        const int size = next_tile(gate, a, first, tokens - first, tile);
        gate.tile(tile, size, gates);
        for (int i = 0; i < size; ++i) tile[i] = a.token(first + i, up.form);
        up.tile(tile, size, ups);
        each_group(f.gate, unit, gate, size, [&](int64_t t, int64_t row, int64_t at, int rows) {
            store_rows(f.hidden + (first + t) * f.gate.rows + row, mul(silu(load(gates + at)), load(ups + at)), rows);
        });
        first += size;
    }
}

// out = down(silu(gate x) · up x); adds: added to out.
void feed_forward(const InputRows& in, const FeedForward& f, bool adds, float* out) {
    if (in.rows == 0) return;
    const int64_t width = f.gate.rows;
    const Wanted want = wanted(f.gate, wanted(f.up, {false, false})), between = wanted(f.down, {false, false});
    const int64_t first_bytes = round_up(activation_bytes(in.rows, in.columns, want), 64);
    uint8_t* scratch = static_cast<uint8_t*>(
        shoestring::shared_scratch(static_cast<size_t>(first_bytes + activation_bytes(in.rows, width, between))));
    const Activations a = place(entering(in), in.columns, in.rows, in.columns, want, scratch);
    const Activations b = place(f.hidden, width, in.rows, width, between, scratch + first_bytes);
    const int64_t units = num_units(width), down_units = num_units(f.down.rows);
    const auto prepare = [&](int64_t begin, int64_t end, int) { prepare_rows(in, a, begin, end); };
    const auto gate_up = [&](int64_t begin, int64_t end, int) {
        for (int64_t unit = begin; unit < end; ++unit) few_gate_up(f, unit, a, in.rows);
    };
    const auto quantize = [&](int64_t begin, int64_t end, int) {
        for (int64_t row = begin; row < end; ++row) quantize_row(b, f.hidden + row * width, row);
    };
    const auto down = [&](int64_t begin, int64_t end, int) {
        for (int64_t unit = begin; unit < end; ++unit) few_unit_to(f.down, unit, b, in.rows, adds, out);
    };
    const Phase phases[] = {phase_of(in.rows, few_rows_grain(in.columns), prepare),
                            phase_of(units, chunk_units(f.gate, units, 2 * in.rows), gate_up),
                            phase_of(in.rows, few_rows_grain(width), quantize),
                            phase_of(down_units, chunk_units(f.down, down_units, in.rows), down)};
    shoestring::parallel_phases(phases, 4);
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
