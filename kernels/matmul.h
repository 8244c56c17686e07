// y = x · Wᵀ for any weight type: the activations quantized once, then groups of 16 rows in parallel.
//
// Work is cut by output rows only. Few tokens go through TILE_GROUPS groups at once in tiles of TILE_TOKENS. Many go by
// panels (panels.h, panels_float.h) where the type has them: a thread takes as many tokens as stay in its cache through
// all its groups.
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
using shoestring::Phase;
using shoestring::phase_of;

// Fewest weight bytes of a chunk of work: below, waking a thread costs more than it brings.
constexpr int64_t CHUNK_BYTES = 32 * 1024;

constexpr int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// How a type reads the activations: as floats or quants, and the class of its sums in blocks of 256.
struct Form {
    Activation activation;
    int starts;

    bool operator==(const Form&) const = default;
};

// Start words of a block of 256.
constexpr int starts_a_block(int starts_class) { return 256 / STARTS_256[starts_class].columns; }

// Rows of activations in the forms that the weights of a call read.
struct Activations {
    const float* x;
    int64_t stride;  // floats from row to row
    int64_t columns;
    int8_t* quants_32;  // null: not wanted
    int8_t* quants_256;
    Block32* blocks_32;
    Block256* blocks_256;
    StartsOfClasses starts;  // of blocks of 256
    int64_t quants_stride;
    float* arranged = nullptr;  // x for products of floats by panels, row by row of each product

    Token token(int64_t row, Form form) const {
        if (form.activation == Activation::FLOAT) return {x + row * stride, nullptr, nullptr, nullptr, nullptr};
        if (form.activation == Activation::INT8_32)
            return {nullptr, quants_32 + row * quants_stride, blocks_32 + row * (columns / 32), nullptr, nullptr};
        const int64_t blocks = columns / 256;
        const int32_t* start = nullptr;
        if (form.starts != NO_STARTS) start = starts[form.starts] + row * blocks * starts_a_block(form.starts);
        return {nullptr, quants_256 + row * quants_stride, nullptr, blocks_256 + row * blocks, start};
    }

    // For products by panels.
    Token panel_token(int64_t row, Form form) const {
        if (form.activation == Activation::FLOAT) return {arranged + row * columns, nullptr, nullptr, nullptr, nullptr};
        return token(row, form);
    }
};

struct Wanted {
    bool block_32, block_256;
    unsigned starts = 0;  // a bit a class
};

Form form_of(WeightType type) {
    return {shoestring::format(type).activation, FUNCTIONS[static_cast<int>(type)].starts};
}

Wanted wanted(const MatrixView& w, Wanted before) {
    const Form form = form_of(w.type);
    return {before.block_32 || form.activation == Activation::INT8_32,
            before.block_256 || form.activation == Activation::INT8_256,
            before.starts | (form.starts == NO_STARTS ? 0u : 1u << form.starts)};
}

int64_t quants_stride(int64_t columns) { return round_up(columns, 64) + 64; }

// Bytes of scratch for `rows` quantized rows.
int64_t activation_bytes(int64_t rows, int64_t columns, Wanted want) {
    const int64_t blocks_32 = columns / 32 * static_cast<int64_t>(sizeof(Block32));
    const int64_t blocks_256 = columns / 256 * static_cast<int64_t>(sizeof(Block256));
    int64_t bytes = (want.block_32 ? round_up(rows * (quants_stride(columns) + blocks_32), 64) : 0) +
                    (want.block_256 ? round_up(rows * (quants_stride(columns) + blocks_256), 64) : 0);
    for (int c = 0; c < length(STARTS_256); ++c)
        if (want.starts >> c & 1) bytes += round_up(4 * rows * (columns / 256) * starts_a_block(c), 64);
    return bytes;
}

// Places the forms in `scratch` (activation_bytes long); fills nothing. A row of quants ends with a gap, so that the
// rows of a tile do not meet in the same cache sets.
Activations place(const float* x, int64_t stride, int64_t rows, int64_t columns, Wanted want, uint8_t* scratch) {
    Activations out{x, stride, columns, nullptr, nullptr, nullptr, nullptr, {}, quants_stride(columns)};
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
        scratch += round_up(rows * (columns / 256) * static_cast<int64_t>(sizeof(Block256)), 64);
    }
    for (int c = 0; c < length(STARTS_256); ++c) {
        if (!(want.starts >> c & 1)) continue;
        out.starts[c] = reinterpret_cast<int32_t*>(scratch);
        scratch += round_up(4 * rows * (columns / 256) * starts_a_block(c), 64);
    }
    return out;
}

// x to row `row` of the quants.
void quantize_row(const Activations& a, const float* x, int64_t row) {
    if (a.quants_32 != nullptr)
        quantize_32(x, a.columns, a.quants_32 + row * a.quants_stride, a.blocks_32 + row * (a.columns / 32));
    if (a.quants_256 != nullptr) {
        const int64_t blocks = a.columns / 256;
        StartsOfClasses starts;
        for (int c = 0; c < length(STARTS_256); ++c)
            starts[c] = a.starts[c] == nullptr ? nullptr : a.starts[c] + row * blocks * starts_a_block(c);
        quantize_256(x, a.columns, a.quants_256 + row * a.quants_stride, a.blocks_256 + row * blocks, starts);
    }
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
    Form form;
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

    // out [tokens][TILE_GROUPS][16]; panel: PANEL_MEMORY bytes.
    void panel_product(const Token* tokens, int64_t num_tokens, uint8_t* panel, float* out) const {
        functions->panel_products[count - 1](rows, columns, tokens, num_tokens, panel, out);
    }
};

// Units of work: a matrix' groups by TILE_GROUPS.
int64_t num_units(int64_t rows) { return (shoestring::num_groups(rows) + TILE_GROUPS - 1) / TILE_GROUPS; }

Groups open_groups(const MatrixView& w, int64_t unit) {
    const int64_t stride = shoestring::group_bytes(w.type, w.columns), first = unit * TILE_GROUPS;
    const int64_t left = shoestring::num_groups(w.rows) - first;
    return {{w.data + first * stride, stride, nullptr, 0},
            &FUNCTIONS[static_cast<int>(w.type)],
            w.columns,
            form_of(w.type),
            static_cast<int>(left < TILE_GROUPS ? left : TILE_GROUPS)};
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

// Rows of one unit for all tokens by tiles of the packed form; out [tokens, rows] of the matrix.
void unit_rows(const MatrixView& w, int64_t unit, const Activations& a, int64_t tokens, float* out) {
    const Groups groups = open_groups(w, unit);
    alignas(64) float y[TILE_GROUPS * TILE_TOKENS * GROUP_ROWS];
    Token tile[TILE_TOKENS];
    for (int64_t first = 0; first < tokens;) {
        const int64_t size = groups.tile_size(tokens - first);
        for (int64_t i = 0; i < size; ++i) tile[i] = a.token(first + i, groups.form);
        groups.tile(tile, static_cast<int>(size), y);
        each_group(w, unit, groups, size, [&](int64_t t, int64_t row, int64_t at, int rows) {
            std::memcpy(out + (first + t) * w.rows + row, y + at, static_cast<size_t>(rows) * 4);
        });
        first += size;
    }
}

bool has_floats(const MatrixView& w) { return shoestring::format(w.type).activation == Activation::FLOAT; }

// Whether a product of so many tokens goes by panels. Floats must be arranged first, which pays only for many rows.
bool by_panels(const MatrixView& w, int64_t tokens) {
    constexpr int64_t LEAST_FLOAT_ROWS = 256;
    if (has_floats(w) && w.rows < LEAST_FLOAT_ROWS) return false;
    const TypeFunctions& functions = FUNCTIONS[static_cast<int>(w.type)];
    return tokens >= functions.panel_tokens && functions.panel_products[0] != nullptr;
}

// What a thread needs for products by panels; the results of up to two matrices side by side.
constexpr int64_t PANEL_MEMORY = PANEL_BYTES > FLOAT_PANEL_BYTES ? PANEL_BYTES : FLOAT_PANEL_BYTES;
constexpr int64_t PANEL_OUTPUTS = MOST_PANEL_TOKENS * TILE_GROUPS * GROUP_ROWS;

struct PanelScratch {
    uint8_t* panel;
    float* out[2];  // [tokens][TILE_GROUPS][16]
    int8_t* quants;

    explicit PanelScratch(int thread) {
        panel = static_cast<uint8_t*>(shoestring::own_scratch(thread));
        out[0] = reinterpret_cast<float*>(panel + PANEL_MEMORY);
        out[1] = out[0] + PANEL_OUTPUTS;
        quants = reinterpret_cast<int8_t*>(out[1] + PANEL_OUTPUTS);
    }
};

// Most tokens whose quants, or floats, of `columns` columns stay in a core's cache while units of work pass by.
constexpr int64_t TILE_MULTIPLE = 48;  // fills tiles of 6, 12 and 16 tokens
int64_t most_panel_tokens(int64_t columns, bool floats) {
    constexpr int64_t LEAST = 2 * TILE_MULTIPLE;
    const int64_t in_cache = floats ? (1 << 20) / (4 * columns) : (512 << 10) / columns;
    const int64_t fit = in_cache / TILE_MULTIPLE * TILE_MULTIPLE;
    return fit < LEAST ? LEAST : fit < MOST_PANEL_TOKENS ? fit : MOST_PANEL_TOKENS;
}

// Tokens of the next part when `left` are left: parts of nearly equal size, none too small for a panel's tiles.
int64_t panel_tokens(int64_t left, int64_t columns, bool floats) {
    const int64_t most = most_panel_tokens(columns, floats), parts = (left + most - 1) / most;
    const int64_t part = round_up((left + parts - 1) / parts, TILE_MULTIPLE), after = left - part;
    if (after <= 0) return left;
    return after < TILE_MULTIPLE / 2 ? part - TILE_MULTIPLE / 2 : part;
}

void reserve_panels(int64_t columns) {
    const int64_t quants = arranged_bytes(most_panel_tokens(columns, false), columns);
    const int64_t bytes = PANEL_MEMORY + 2 * 4 * PANEL_OUTPUTS + quants;
    shoestring::reserve_own_scratch(static_cast<size_t>(bytes));
}

// take(i, row, y, rows) for each token of a product by panels and each group of its unit.
template <typename Take>
SHOESTRING_INLINE void each_panel_group(const MatrixView& w, int64_t unit, int64_t tokens, const float* y,
                                        const Take& take) {
    for (int64_t t = 0; t < tokens; ++t, y += TILE_GROUPS * GROUP_ROWS) {
        for (int g = 0; g < TILE_GROUPS; ++g) {
            const int64_t row = (unit * TILE_GROUPS + g) * GROUP_ROWS;
            if (row < w.rows)
                take(t, row, y + g * GROUP_ROWS,
                     static_cast<int>(w.rows - row < GROUP_ROWS ? w.rows - row : GROUP_ROWS));
        }
    }
}

// Threads arrange floats by so many columns.
constexpr int64_t ARRANGED_COLUMNS = 64;

// The floats of a product by panels, block `block` of their columns, part by part of its `tokens` tokens; row(t): where
// token t lies.
template <typename Row>
void arrange_block(const Row& row, int64_t tokens, int64_t columns, int64_t block, float* to) {
    const int64_t begin = block * ARRANGED_COLUMNS;
    const int64_t end = columns - begin < ARRANGED_COLUMNS ? columns : begin + ARRANGED_COLUMNS;
    for (int64_t first = 0, size = 0; first < tokens; first += size) {
        size = panel_tokens(tokens - first, columns, true);
        arrange_floats([&](int64_t t) { return row(first + t); }, size, columns, begin, end, to + first * columns);
    }
}

int64_t arranged_blocks(int64_t columns) { return (columns + ARRANGED_COLUMNS - 1) / ARRANGED_COLUMNS; }

// Rows of units [begin, end) for all tokens, by panels.
void panel_rows(const MatrixView& w, int64_t begin, int64_t end, const Activations& a, int64_t tokens,
                const PanelScratch& scratch, float* out) {
    const bool floats = has_floats(w);
    Token block[MOST_PANEL_TOKENS];
    for (int64_t first = 0, size = 0; first < tokens; first += size) {
        size = panel_tokens(tokens - first, w.columns, floats);
        for (int64_t i = 0; i < size; ++i) block[i] = a.panel_token(first + i, form_of(w.type));
        if (!floats) arrange(block, size, w.columns, scratch.quants);
        for (int64_t unit = begin; unit < end; ++unit) {
            open_groups(w, unit).panel_product(block, size, scratch.panel, scratch.out[0]);
            each_panel_group(w, unit, size, scratch.out[0], [&](int64_t t, int64_t row, const float* y, int rows) {
                std::memcpy(out + (first + t) * w.rows + row, y, static_cast<size_t>(rows) * 4);
            });
        }
    }
}

// Rows [first, first + tokens) of x [rows, columns]; each job's out [rows, weight.rows].
void matmul_part(const float* x, int64_t first_row, int64_t tokens, const MatmulJob* jobs, int num_jobs) {
    const int64_t columns = jobs[0].weight.columns;
    Wanted want{false, false};
    bool arranges = false;
    int64_t units = 0;
    for (int i = 0; i < num_jobs; ++i) {
        want = wanted(jobs[i].weight, want);
        arranges = arranges || (has_floats(jobs[i].weight) && by_panels(jobs[i].weight, tokens));
        units += num_units(jobs[i].weight.rows);
    }
    const int64_t bytes = round_up(activation_bytes(tokens, columns, want), 64);
    uint8_t* scratch = static_cast<uint8_t*>(
        shoestring::shared_scratch(static_cast<size_t>(bytes + (arranges ? 4 * tokens * columns : 0))));
    if (tokens >= PANEL_TOKENS) reserve_panels(columns);
    x += first_row * columns;
    Activations a = place(x, columns, tokens, columns, want, scratch);
    if (arranges) a.arranged = reinterpret_cast<float*>(scratch + bytes);
    quantize_rows(a, tokens);
    const auto arrange = [&](int64_t begin, int64_t end, int) {
        for (int64_t block = begin; block < end; ++block)
            arrange_block([&](int64_t t) { return x + t * columns; }, tokens, columns, block, a.arranged);
    };
    const auto multiply = [&](int64_t begin, int64_t end, int thread) {
        int64_t first = 0;
        for (int i = 0; i < num_jobs && first < end; ++i) {
            const MatrixView& w = jobs[i].weight;
            const int64_t count = num_units(w.rows), from = begin > first ? begin - first : 0;
            const int64_t to = end - first < count ? end - first : count;
            first += count;
            if (from >= to) continue;
            float* out = jobs[i].out + first_row * w.rows;
            if (by_panels(w, tokens)) {
                panel_rows(w, from, to, a, tokens, PanelScratch(thread), out);
            } else {
                for (int64_t unit = from; unit < to; ++unit) unit_rows(w, unit, a, tokens, out);
            }
        }
    };
    const Phase phases[] = {phase_of(arranged_blocks(columns), 1, arrange),
                            phase_of(units, chunk_units(jobs[0].weight, units, tokens), multiply)};
    shoestring::parallel_phases(phases + (arranges ? 0 : 1), arranges ? 2 : 1);
}

// x [tokens, columns]; each job's out [tokens, weight.rows]. Floats are arranged for so many tokens at a time as take
// up to ARRANGED_BYTES.
void matmul(const float* x, int64_t tokens, const MatmulJob* jobs, int num_jobs) {
    if (tokens == 0 || num_jobs == 0) return;
    constexpr int64_t ARRANGED_BYTES = 8 << 20;
    bool floats = false;
    for (int i = 0; i < num_jobs; ++i) floats = floats || has_floats(jobs[i].weight);
    const int64_t parts = floats ? 1 + 4 * tokens * jobs[0].weight.columns / ARRANGED_BYTES : 1;
    const int64_t most = round_up((tokens + parts - 1) / parts, TILE_MULTIPLE);
    for (int64_t first = 0; first < tokens; first += most)
        matmul_part(x, first, tokens - first < most ? tokens - first : most, jobs, num_jobs);
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
