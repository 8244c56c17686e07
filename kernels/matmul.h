// y = x · Wᵀ for any weight type: the activations quantized once, then groups of 16 rows in parallel.
//
// Work is cut by output rows only. Many tokens go through TILE_GROUPS groups at once in tiles of TILE_TOKENS; where it
// pays, the groups are then unpacked once to a panel in the thread's scratch.
#pragma once

#include "matmul_table.h"
#include "parallel.h"
#include "tiles.h"

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::Activation;
using shoestring::GROUP_ROWS;
using shoestring::MatmulJob;
using shoestring::MatrixView;
using shoestring::parallel_for;

// Tokens from which a panel pays.
constexpr int64_t PANEL_TOKENS = TILE_TOKENS + 1;
// Fewest weight bytes of a chunk of work: below, waking a thread costs more than it brings.
constexpr int64_t CHUNK_BYTES = 32 * 1024;

constexpr int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Rows of activations in the forms that the weights of a call read.
struct Activations {
    const float* x;
    int64_t stride;  // floats from row to row
    int64_t columns;
    int8_t* quants_32;  // null: not wanted
    int8_t* quants_256;
    Block32* blocks_32;
    Block256* blocks_256;
    int64_t quants_stride;

    Token token(int64_t row, Activation form) const {
        if (form == Activation::FLOAT) return {x + row * stride, nullptr, nullptr, nullptr};
        if (form == Activation::INT8_32)
            return {nullptr, quants_32 + row * quants_stride, blocks_32 + row * (columns / 32), nullptr};
        return {nullptr, quants_256 + row * quants_stride, nullptr, blocks_256 + row * (columns / 256)};
    }
};

struct Wanted {
    bool block_32, block_256;
};

Wanted wanted(const MatrixView& w, Wanted before) {
    const Activation form = shoestring::format(w.type).activation;
    return {before.block_32 || form == Activation::INT8_32, before.block_256 || form == Activation::INT8_256};
}

int64_t quants_stride(int64_t columns) { return round_up(columns, 64) + 64; }

// Bytes of scratch for `rows` quantized rows.
int64_t activation_bytes(int64_t rows, int64_t columns, Wanted want) {
    const int64_t blocks_32 = columns / 32 * static_cast<int64_t>(sizeof(Block32));
    const int64_t blocks_256 = columns / 256 * static_cast<int64_t>(sizeof(Block256));
    return (want.block_32 ? round_up(rows * (quants_stride(columns) + blocks_32), 64) : 0) +
           (want.block_256 ? round_up(rows * (quants_stride(columns) + blocks_256), 64) : 0);
}

// Places the forms in `scratch` (activation_bytes long); fills nothing. A row of quants ends with a gap, so that the
// rows of a tile do not meet in the same cache sets.
Activations place(const float* x, int64_t stride, int64_t rows, int64_t columns, Wanted want, uint8_t* scratch) {
    Activations out{x, stride, columns, nullptr, nullptr, nullptr, nullptr, quants_stride(columns)};
    if (want.block_32) {
        out.quants_32 = reinterpret_cast<int8_t*>(scratch);
        scratch += rows * out.quants_stride;
        out.blocks_32 = reinterpret_cast<Block32*>(scratch);
        scratch += round_up(rows * (columns / 32) * static_cast<int64_t>(sizeof(Block32)), 64);
    }
    if (want.block_256) {
        out.quants_256 = reinterpret_cast<int8_t*>(scratch);
        scratch += rows * out.quants_stride;
        out.blocks_256 = reinterpret_cast<Block256*>(scratch);
    }
    return out;
}

// x to row `row` of the quants.
void quantize_row(const Activations& a, const float* x, int64_t row) {
    if (a.quants_32 != nullptr)
        quantize_32(x, a.columns, a.quants_32 + row * a.quants_stride, a.blocks_32 + row * (a.columns / 32));
    if (a.quants_256 != nullptr)
        quantize_256(x, a.columns, a.quants_256 + row * a.quants_stride, a.blocks_256 + row * (a.columns / 256));
}

void quantize_range(const Activations& a, int64_t first, int64_t count) {
    if (a.quants_32 == nullptr && a.quants_256 == nullptr) return;
    const int64_t grain = 1 + 16384 / a.columns;
    parallel_for(count, grain, [&](int64_t begin, int64_t end, int) {
        for (int64_t row = first + begin; row < first + end; ++row) quantize_row(a, a.x + row * a.stride, row);
    });
}

void quantize_rows(const Activations& a, int64_t rows) { quantize_range(a, 0, rows); }

// Up to TILE_GROUPS neighbouring groups of a matrix, ready for tiles.
struct Groups {
    TileRows rows;
    const TypeFunctions* functions;
    int64_t columns;
    Activation activation;
    int count;

    // Tokens of the next tile when `left` are left: tiles of nearly equal size.
    int64_t tile_size(int64_t left) const {
        const int64_t tiles = (left + functions->tokens - 1) / functions->tokens;
        return (left + tiles - 1) / tiles;
    }

    // out [count][TILE_TOKENS][16]
    void tile(const Token* tokens, int size, float* out) const {
        functions->tiles[count - 1][size - 1](rows, columns, tokens, out);
    }
};

int64_t panel_bytes(const MatrixView& w) { return w.columns * GROUP_ROWS * TILE_GROUPS; }

// Units of work: a matrix' groups by TILE_GROUPS.
int64_t num_units(int64_t rows) { return (shoestring::num_groups(rows) + TILE_GROUPS - 1) / TILE_GROUPS; }

// The groups of a unit. `panel`: panel_bytes of memory.
Groups open_groups(const MatrixView& w, int64_t unit, int64_t tokens, uint8_t* panel) {
    const TypeFunctions& functions = FUNCTIONS[static_cast<int>(w.type)];
    const int64_t stride = shoestring::group_bytes(w.type, w.columns), first = unit * TILE_GROUPS;
    const int64_t left = shoestring::num_groups(w.rows) - first;
    const int count = static_cast<int>(left < TILE_GROUPS ? left : TILE_GROUPS);
    const uint8_t* data = w.data + first * stride;
    const int64_t panel_stride = w.columns * GROUP_ROWS;
    const bool unpacks = functions.unpack != nullptr && tokens >= PANEL_TOKENS;
    for (int g = 0; unpacks && g < count; ++g) functions.unpack(data + g * stride, w.columns, panel + g * panel_stride);
    return {{data, stride, unpacks ? panel : nullptr, panel_stride},
            &functions,
            w.columns,
            shoestring::format(w.type).activation,
            count};
}

int64_t chunk_units(const MatrixView& w, int64_t units, int64_t tokens) {
    const int64_t bytes = TILE_GROUPS * shoestring::group_bytes(w.type, w.columns) * tokens;
    const int64_t least = 1 + CHUNK_BYTES / (bytes + 1);
    const int64_t share = units / (8 * shoestring::num_threads());
    return least > share ? least : share < 16 ? share : 16;
}

// take(t, row, y, rows) for each token and each group of a unit: `rows` rows of the matrix from `row` on.
template <typename Take>
SHOESTRING_INLINE void each_group(const MatrixView& w, int64_t unit, const Groups& groups, int64_t tokens,
                                  const Take& take) {
    for (int g = 0; g < groups.count; ++g) {
        const int64_t row = (unit * TILE_GROUPS + g) * GROUP_ROWS;
        const int rows = static_cast<int>(w.rows - row < GROUP_ROWS ? w.rows - row : GROUP_ROWS);
        for (int64_t t = 0; t < tokens; ++t) take(t, row, (g * TILE_TOKENS + t) * GROUP_ROWS, rows);
    }
}

// Rows of one unit for all tokens; out [tokens, rows] of the matrix.
void unit_rows(const MatrixView& w, int64_t unit, const Activations& a, int64_t tokens, uint8_t* panel, float* out) {
    const Groups groups = open_groups(w, unit, tokens, panel);
    alignas(64) float y[TILE_GROUPS * TILE_TOKENS * GROUP_ROWS];
    Token tile[TILE_TOKENS];
    for (int64_t first = 0; first < tokens;) {
        const int64_t size = groups.tile_size(tokens - first);
        for (int64_t i = 0; i < size; ++i) tile[i] = a.token(first + i, groups.activation);
        groups.tile(tile, static_cast<int>(size), y);
        each_group(w, unit, groups, size, [&](int64_t t, int64_t row, int64_t at, int rows) {
            std::memcpy(out + (first + t) * w.rows + row, y + at, static_cast<size_t>(rows) * 4);
        });
        first += size;
    }
}

// x [tokens, columns]; each job's out [tokens, weight.rows].
void matmul(const float* x, int64_t tokens, const MatmulJob* jobs, int num_jobs) {
    if (tokens == 0 || num_jobs == 0) return;
    const int64_t columns = jobs[0].weight.columns;
    Wanted want{false, false};
    int64_t units = 0, panel = 0;
    for (int i = 0; i < num_jobs; ++i) {
        want = wanted(jobs[i].weight, want);
        units += num_units(jobs[i].weight.rows);
        panel = panel_bytes(jobs[i].weight);
    }
    uint8_t* scratch = static_cast<uint8_t*>(shoestring::shared_scratch(activation_bytes(tokens, columns, want)));
    if (tokens >= PANEL_TOKENS) shoestring::reserve_own_scratch(panel);
    const Activations a = place(x, columns, tokens, columns, want, scratch);
    quantize_rows(a, tokens);
    parallel_for(units, chunk_units(jobs[0].weight, units, tokens), [&](int64_t begin, int64_t end, int thread) {
        uint8_t* own = static_cast<uint8_t*>(shoestring::own_scratch(thread));
        int job = 0;
        int64_t first = 0;
        for (int64_t u = begin; u < end; ++u) {
            while (u - first >= num_units(jobs[job].weight.rows)) first += num_units(jobs[job++].weight.rows);
            unit_rows(jobs[job].weight, u - first, a, tokens, own, jobs[job].out);
        }
    });
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
