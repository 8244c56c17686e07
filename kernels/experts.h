// A mixture's selected experts: tokens grouped by expert, gate and up fused with silu, then down, then the sum.
//
// A pair is (token, slot), numbered token · slots + slot. Pairs are sorted by expert; an expert's matrices meet all
// of its tokens at once. A token's results are added in ascending expert order, from acc = 0: acc = fma(weight, y,
// acc). With scale_input the weight has multiplied the input, rounded once, and acc = fma(1, y, acc).
#pragma once

#include "lanes_math.h"
#include "matmul.h"

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::ExpertView;

// The pairs of each expert, experts ascending, tokens ascending.
struct Grouping {
    int64_t* pairs;   // [tokens · slots], sorted
    int64_t* starts;  // [experts + 1]
};

void group_pairs(const int32_t* ids, int64_t num_pairs, int64_t num_experts, const Grouping& g) {
    for (int64_t e = 0; e <= num_experts; ++e) g.starts[e] = 0;
    for (int64_t p = 0; p < num_pairs; ++p) ++g.starts[ids[p] + 1];
    for (int64_t e = 0; e < num_experts; ++e) g.starts[e + 1] += g.starts[e];
    for (int64_t p = 0; p < num_pairs; ++p) g.pairs[g.starts[ids[p]]++] = p;
    for (int64_t e = num_experts; e > 0; --e) g.starts[e] = g.starts[e - 1];
    g.starts[0] = 0;
}

// Hands out 64-byte aligned pieces of one block of scratch.
struct Pieces {
    uint8_t* next;

    template <typename T>
    T* take(int64_t count) {
        T* piece = reinterpret_cast<T*>(next);
        next += round_up(count * static_cast<int64_t>(sizeof(T)), 64);
        return piece;
    }
};

// Calls body(expert, group) for all groups of all experts that have pairs, in parallel.
template <typename Body>
void for_expert_groups(const Grouping& g, const int64_t* active, int64_t num_active, int64_t groups, int64_t grain,
                       const Body& body) {
    parallel_for(num_active * groups, grain, [&](int64_t begin, int64_t end, int thread) {
        uint8_t* own = static_cast<uint8_t*>(shoestring::own_scratch(thread));
        for (int64_t i = begin; i < end; ++i) {
            const int64_t expert = active[i / groups];
            body(expert, i % groups, g.pairs + g.starts[expert], g.starts[expert + 1] - g.starts[expert], own);
        }
    });
}

// hidden[pair] = silu(gate x) · up x for 16 rows of one expert. Activation rows are pairs (scaled input) or tokens.
void gate_up_rows(const ExpertView& expert, int64_t group, const Activations& a, const int64_t* pairs, int64_t count,
                  int64_t pairs_a_row, uint8_t* panels, float* hidden) {
    const Group gate = open_group(expert.gate, group, count, panels);
    const Group up = open_group(expert.up, group, count, panels + panel_bytes(expert.gate));
    const int64_t width = expert.gate.rows, row = group * GROUP_ROWS;
    const int rows = static_cast<int>(width - row < GROUP_ROWS ? width - row : GROUP_ROWS);
    alignas(64) float gates[TILE_TOKENS * GROUP_ROWS], ups[TILE_TOKENS * GROUP_ROWS];
    Token tile[TILE_TOKENS];
    for (int64_t t = 0; t < count;) {
        const int size = static_cast<int>(gate.tile_size(count - t));
        for (int i = 0; i < size; ++i) tile[i] = a.token(pairs[t + i] / pairs_a_row, gate.block);
        gate.tile(tile, size, gates);
        for (int i = 0; i < size; ++i) tile[i] = a.token(pairs[t + i] / pairs_a_row, up.block);
        up.tile(tile, size, ups);
        for (int i = 0; i < size; ++i)
            store(hidden + pairs[t + i] * width + row, mul(silu(load(gates + 16 * i)), load(ups + 16 * i)), rows);
        t += size;
    }
}

// y[pair] = down hidden[pair] for 16 rows of one expert.
void down_rows(const ExpertView& expert, int64_t group, const Activations& a, const int64_t* pairs, int64_t count,
               uint8_t* panel, float* y) {
    const Group down = open_group(expert.down, group, count, panel);
    const int64_t hidden_size = expert.down.rows, row = group * GROUP_ROWS;
    const int rows = static_cast<int>(hidden_size - row < GROUP_ROWS ? hidden_size - row : GROUP_ROWS);
    alignas(64) float out[TILE_TOKENS * GROUP_ROWS];
    Token tile[TILE_TOKENS];
    for (int64_t t = 0; t < count;) {
        const int size = static_cast<int>(down.tile_size(count - t));
        for (int i = 0; i < size; ++i) tile[i] = a.token(pairs[t + i], down.block);
        down.tile(tile, size, out);
        for (int i = 0; i < size; ++i) store(y + pairs[t + i] * hidden_size + row, load(out + 16 * i), rows);
        t += size;
    }
}

// The slots of a token, experts ascending.
void sort_slots(const int32_t* ids, int64_t slots, int64_t* order) {
    for (int64_t i = 0; i < slots; ++i) {
        int64_t place = i;
        for (; place > 0 && ids[order[place - 1]] > ids[i]; --place) order[place] = order[place - 1];
        order[place] = i;
    }
}

// out [hidden_size] = Σ weight · y over a token's slots; only columns [begin, end).
void sum_slots(const float* y, const float* weights, const int64_t* order, int64_t slots, bool scaled,
               int64_t hidden_size, int64_t begin, int64_t end, float* out) {
    for (int64_t c = begin; c < end; c += 16) {
        const int n = static_cast<int>(end - c < 16 ? end - c : 16);
        Lanes acc = zero();
        for (int64_t i = 0; i < slots; ++i) {
            const float weight = scaled ? 1.0f : weights[order[i]];
            acc = fma(set1(weight), load(y + order[i] * hidden_size + c, n), acc);
        }
        store(out + c, acc, n);
    }
}

void scale_rows_by_pair(const float* x, const float* weights, int64_t num_pairs, int64_t slots, int64_t columns,
                        float* out) {
    parallel_for(num_pairs, 1 + 16384 / columns, [&](int64_t begin, int64_t end, int) {
        for (int64_t p = begin; p < end; ++p) {
            const float* in = x + p / slots * columns;
            for (int64_t c = 0; c < columns; c += 16) {
                const int n = static_cast<int>(columns - c < 16 ? columns - c : 16);
                store(out + p * columns + c, mul(load(in + c, n), set1(weights[p])), n);
            }
        }
    });
}

// x, out [tokens, hidden]; ids, weights [tokens, slots], ids of a token distinct.
void experts(const float* x, int64_t tokens, int64_t slots, const int32_t* ids, const float* weights,
             const ExpertView* table, int64_t num_experts, bool scale_input, float* out) {
    if (tokens == 0) return;
    const int64_t hidden_size = table[0].gate.columns, width = table[0].gate.rows;
    const int64_t num_pairs = tokens * slots, in_rows = scale_input ? num_pairs : tokens;
    const int64_t bytes = activation_bytes(in_rows, hidden_size) + activation_bytes(num_pairs, width) +
                          4 * num_pairs * ((scale_input ? hidden_size : 0) + width + hidden_size) +
                          8 * (2 * num_pairs + 2 * num_experts + 1) + 16 * 64;
    Pieces pieces{static_cast<uint8_t*>(shoestring::shared_scratch(static_cast<size_t>(bytes)))};
    const Grouping g{pieces.take<int64_t>(num_pairs), pieces.take<int64_t>(num_experts + 1)};
    int64_t* active = pieces.take<int64_t>(num_experts);
    int64_t* orders = pieces.take<int64_t>(num_pairs);
    float* hidden = pieces.take<float>(num_pairs * width);
    float* y = pieces.take<float>(num_pairs * hidden_size);
    const float* input = x;
    if (scale_input) {
        float* scaled = pieces.take<float>(num_pairs * hidden_size);
        scale_rows_by_pair(x, weights, num_pairs, slots, hidden_size, scaled);
        input = scaled;
    }
    uint8_t* in_scratch = pieces.take<uint8_t>(activation_bytes(in_rows, hidden_size));
    uint8_t* hidden_scratch = pieces.take<uint8_t>(activation_bytes(num_pairs, width));

    group_pairs(ids, num_pairs, num_experts, g);
    int64_t num_active = 0, most = 0;
    Wanted in{false, false}, between{false, false};
    for (int64_t e = 0; e < num_experts; ++e) {
        const int64_t count = g.starts[e + 1] - g.starts[e];
        if (count == 0) continue;
        active[num_active++] = e;
        most = count > most ? count : most;
        in = wanted(table[e].gate, wanted(table[e].up, in));
        between = wanted(table[e].down, between);
    }
    for (int64_t t = 0; t < tokens; ++t) sort_slots(ids + t * slots, slots, orders + t * slots);
    const int64_t widest = 2 * hidden_size > width ? 2 * hidden_size : width;
    if (most >= PANEL_TOKENS) shoestring::reserve_own_scratch(static_cast<size_t>(widest * GROUP_ROWS));

    const Activations a = place(input, hidden_size, in_rows, hidden_size, in, in_scratch);
    quantize_rows(a, in_rows);
    const int64_t up_groups = shoestring::num_groups(width);
    for_expert_groups(g, active, num_active, up_groups, chunk_groups(table[active[0]].gate, up_groups, 2 * most),
                      [&](int64_t e, int64_t group, const int64_t* pairs, int64_t count, uint8_t* own) {
                          gate_up_rows(table[e], group, a, pairs, count, scale_input ? 1 : slots, own, hidden);
                      });

    const Activations b = place(hidden, width, num_pairs, width, between, hidden_scratch);
    quantize_rows(b, num_pairs);
    const int64_t down_groups = shoestring::num_groups(hidden_size);
    const int64_t grain = chunk_groups(table[active[0]].down, down_groups, most);
    if (tokens == 1) {
        // One region: a thread takes the same rows of all experts and adds them up at once.
        parallel_for(down_groups, grain, [&](int64_t begin, int64_t end, int thread) {
            uint8_t* own = static_cast<uint8_t*>(shoestring::own_scratch(thread));
            for (int64_t group = begin; group < end; ++group) {
                for (int64_t p = 0; p < slots; ++p) down_rows(table[ids[p]], group, b, &p, 1, own, y);
                const int64_t last = group * 16 + 16 < hidden_size ? group * 16 + 16 : hidden_size;
                sum_slots(y, weights, orders, slots, scale_input, hidden_size, group * 16, last, out);
            }
        });
        return;
    }
    for_expert_groups(g, active, num_active, down_groups, grain,
                      [&](int64_t e, int64_t group, const int64_t* pairs, int64_t count, uint8_t* own) {
                          down_rows(table[e], group, b, pairs, count, own, y);
                      });
    parallel_for(tokens, 1 + 16384 / (slots * hidden_size), [&](int64_t begin, int64_t end, int) {
        for (int64_t t = begin; t < end; ++t)
            sum_slots(y + t * slots * hidden_size, weights + t * slots, orders + t * slots, slots, scale_input,
                      hidden_size, 0, hidden_size, out + t * hidden_size);
    });
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
