// y = x · Wᵀ for any weight type: the activations quantized once, then groups of 16 rows in parallel.
//
// Work is cut by output rows only. Many tokens go through a group in tiles of TILE_TOKENS; a K-quant's group is then
// unpacked once to a panel in the thread's scratch.
#pragma once

#include "matmul_table.h"
#include "parallel.h"
#include "tiles.h"

namespace SHOESTRING_VARIANT {
namespace {

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

    Token token(int64_t row, int block) const {
        if (block == 1) return {x + row * stride, nullptr, nullptr, nullptr};
        if (block == 32) return {nullptr, quants_32 + row * quants_stride, blocks_32 + row * (columns / 32), nullptr};
        return {nullptr, quants_256 + row * quants_stride, nullptr, blocks_256 + row * (columns / 256)};
    }
};

struct Wanted {
    bool block_32, block_256;
};

Wanted wanted(const MatrixView& w, Wanted before) {
    const int block = shoestring::format(w.type).block;
    return {before.block_32 || block == 32, before.block_256 || block == 256};
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

// One group of a matrix, ready for tiles.
struct Group {
    const uint8_t* data;
    const uint8_t* panel;
    const TypeFunctions* functions;
    int64_t columns;
    int block;

    // Tokens of the next tile when `left` are left: tiles of nearly equal size.
    int64_t tile_size(int64_t left) const {
        const int64_t tiles = (left + functions->tokens - 1) / functions->tokens;
        return (left + tiles - 1) / tiles;
    }

    void tile(const Token* tokens, int count, float* out) const {
        functions->tiles[count - 1](data, panel, columns, tokens, out);
    }
};

int64_t panel_bytes(const MatrixView& w) { return w.columns * GROUP_ROWS; }

Group open_group(const MatrixView& w, int64_t group, int64_t tokens, uint8_t* panel) {
    const TypeFunctions& functions = FUNCTIONS[static_cast<int>(w.type)];
    const uint8_t* data = w.data + group * shoestring::group_bytes(w.type, w.columns);
    const bool unpacks = functions.unpack != nullptr && tokens >= PANEL_TOKENS;
    if (unpacks) functions.unpack(data, w.columns, panel);
    return {data, unpacks ? panel : nullptr, &functions, w.columns, shoestring::format(w.type).block};
}

int64_t chunk_groups(const MatrixView& w, int64_t groups, int64_t tokens) {
    const int64_t bytes = shoestring::group_bytes(w.type, w.columns) * tokens;
    const int64_t least = 1 + CHUNK_BYTES / (bytes + 1);
    const int64_t share = groups / (8 * shoestring::num_threads());
    return least > share ? least : share < 16 ? share : 16;
}

// Rows of one group for all tokens; out [tokens, rows] of the matrix.
void group_rows(const MatrixView& w, int64_t group, const Activations& a, int64_t tokens, uint8_t* panel, float* out) {
    const Group g = open_group(w, group, tokens, panel);
    const int64_t row = group * GROUP_ROWS;
    const int64_t rows = w.rows - row < GROUP_ROWS ? w.rows - row : GROUP_ROWS;
    alignas(64) float y[TILE_TOKENS * GROUP_ROWS];
    Token tile[TILE_TOKENS];
    for (int64_t t = 0; t < tokens;) {
        const int64_t size = g.tile_size(tokens - t);
        for (int64_t i = 0; i < size; ++i) tile[i] = a.token(t + i, g.block);
        g.tile(tile, static_cast<int>(size), y);
        for (int64_t i = 0; i < size; ++i)
            std::memcpy(out + (t + i) * w.rows + row, y + 16 * i, static_cast<size_t>(rows) * 4);
        t += size;
    }
}

// x [tokens, columns]; each job's out [tokens, weight.rows].
void matmul(const float* x, int64_t tokens, const MatmulJob* jobs, int num_jobs) {
    if (tokens == 0 || num_jobs == 0) return;
    const int64_t columns = jobs[0].weight.columns;
    Wanted want{false, false};
    int64_t groups = 0, panel = 0;
    for (int i = 0; i < num_jobs; ++i) {
        want = wanted(jobs[i].weight, want);
        groups += shoestring::num_groups(jobs[i].weight.rows);
        panel = panel_bytes(jobs[i].weight);
    }
    uint8_t* scratch = static_cast<uint8_t*>(shoestring::shared_scratch(activation_bytes(tokens, columns, want)));
    if (tokens >= PANEL_TOKENS) shoestring::reserve_own_scratch(panel);
    const Activations a = place(x, columns, tokens, columns, want, scratch);
    quantize_rows(a, tokens);
    parallel_for(groups, chunk_groups(jobs[0].weight, groups, tokens), [&](int64_t begin, int64_t end, int thread) {
        uint8_t* own = static_cast<uint8_t*>(shoestring::own_scratch(thread));
        int job = 0;
        int64_t first = 0;
        for (int64_t g = begin; g < end; ++g) {
            while (g - first >= shoestring::num_groups(jobs[job].weight.rows))
                first += shoestring::num_groups(jobs[job++].weight.rows);
            group_rows(jobs[job].weight, g - first, a, tokens, own, jobs[job].out);
        }
    });
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
