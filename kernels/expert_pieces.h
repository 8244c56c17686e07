// Few rows, whose experts arrive one by one: gate and up, then down of any experts in any order; the sum at the end.
//
// Every pair keeps its own result, so that the order of arrival changes no bit. Where floats are arranged for panels,
// the inputs of gate and up lie where the results of down come later.
#pragma once

#include "experts.h"

namespace SHOESTRING_VARIANT {
namespace {

// The arrays of a call, always at the same places in its memory.
struct CallArrays {
    Inputs in;
    Activations between;
    float* scaled;
    float* hidden;
    float* y;
};

// What is between gate, up and down: quantized, or arranged.
int64_t between_bytes(int64_t num_pairs, int64_t width, Wanted want) {
    const int64_t quants = activation_bytes(num_pairs, width, want), arranged = round_up(4 * num_pairs * width, 64);
    return quants > arranged ? quants : arranged;
}

int64_t call_bytes(int64_t num_rows, int64_t num_pairs, int64_t hidden_size, int64_t width, bool scale_input) {
    const int64_t inputs = scale_input ? num_pairs : num_rows;
    const int64_t floats = num_pairs * ((scale_input ? hidden_size : 0) + width + hidden_size);
    constexpr Wanted any{true, true, ~0u};
    return round_up(4 * floats, 64) + activation_bytes(inputs, hidden_size, any) +
           between_bytes(num_pairs, width, any) + 5 * 64;
}

CallArrays open_call(const RoutedPairs& p, uint8_t* memory) {
    const ExpertForms forms = wanted_forms(p.shares, p.num_shares);
    const int64_t inputs = p.scale_input ? p.num_pairs : p.num_rows;
    Pieces pieces{memory};
    float* scaled = pieces.take<float>(p.scale_input ? p.num_pairs * p.hidden_size : 0);
    float* hidden = pieces.take<float>(p.num_pairs * p.width);
    float* y = pieces.take<float>(p.num_pairs * p.hidden_size);
    uint8_t* quants = pieces.take<uint8_t>(activation_bytes(inputs, p.hidden_size, forms.in));
    uint8_t* hidden_quants = pieces.take<uint8_t>(between_bytes(p.num_pairs, p.width, forms.between));
    const int64_t* rows = p.scale_input ? nullptr : p.rows;
    const float* x = p.scale_input ? scaled : p.x;
    CallArrays arrays{{place(x, p.hidden_size, inputs, p.hidden_size, forms.in, quants), rows, rows},
                      place(hidden, p.width, p.num_pairs, p.width, forms.between, hidden_quants),
                      scaled,
                      hidden,
                      y};
    arrays.in.a.arranged = y;
    arrays.between.arranged = reinterpret_cast<float*>(hidden_quants);
    return arrays;
}

// Inputs of a call: pairs with scale_input, else rows.
int64_t num_inputs(const RoutedPairs& p) { return p.scale_input ? p.num_pairs : p.num_rows; }

// Quantizes inputs [begin, end), which with scale_input are scaled first.
void begin_range(const RoutedPairs& p, const CallArrays& arrays, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
        quantize_input(p, p.scale_input ? p.rows[i] : i, i, arrays.in.a, i, arrays.scaled);
}

void begin_call(const RoutedPairs& p, uint8_t* memory) {
    const CallArrays arrays = open_call(p, memory);
    parallel_for(num_inputs(p), 1 + 16384 / p.hidden_size,
                 [&](int64_t begin, int64_t end, int) { begin_range(p, arrays, begin, end); });
    if (p.num_shares == 0) return;
    parallel_for(arranged_items(p.shares[0].expert.gate, p.shares, p.num_shares), 1,
                 [&](int64_t begin, int64_t end, int) { arrange_inputs(p.shares, arrays.in, begin, end); });
}

void gate_up(const RoutedPairs& p, const ExpertShare* shares, int64_t num_shares, uint8_t* memory) {
    if (num_shares == 0) return;
    const CallArrays arrays = open_call(p, memory);
    reserve_panels(p, most_rows(shares, num_shares));
    gate_up_shares(shares, num_shares, arrays.in, arrays.hidden);
}

void down(const RoutedPairs& p, const ExpertShare* shares, int64_t num_shares, uint8_t* memory) {
    if (num_shares == 0) return;
    const CallArrays arrays = open_call(p, memory);
    const int64_t most = most_rows(shares, num_shares);
    reserve_panels(p, most);
    for (int64_t i = 0; i < num_shares; ++i) quantize_range(arrays.between, shares[i].first, shares[i].count);
    parallel_for(arranged_items(shares[0].expert.down, shares, num_shares), 1,
                 [&](int64_t begin, int64_t end, int) { arrange_between(shares, arrays.between, begin, end); });
    const int64_t units = num_units(p.hidden_size);
    const auto nothing = [](int64_t, int64_t) {};
    const auto take = [&](int64_t pair, int64_t column, Lanes y, int columns) {
        store_rows(arrays.y + pair * p.hidden_size + column, y, columns);
    };
    for_expert_units(shares, num_shares, units, chunk_units(shares[0].expert.down, units, most),
                     [&](const ExpertShare& share, int64_t begin, int64_t end, int thread) {
                         down_rows(share, begin, end, arrays.between, thread, nothing, take);
                     });
}

// The sums of rows [begin, end).
void sum_range(const RoutedPairs& p, const CallArrays& arrays, const int64_t* row_pairs, int64_t slots, int64_t begin,
               int64_t end, float* out) {
    for (int64_t row = begin; row < end; ++row) {
        const int64_t* pairs = row_pairs + row * slots;
        for (int64_t c = 0; c < p.hidden_size; c += 16) {
            const int n = static_cast<int>(p.hidden_size - c < 16 ? p.hidden_size - c : 16);
            Lanes acc = zero();
            for (int64_t i = 0; i < slots; ++i) {
                const Lanes weight = set1(p.scale_input ? 1.0f : p.weights[pairs[i]]);
                acc = fma(weight, load(arrays.y + pairs[i] * p.hidden_size + c, n), acc);
            }
            store_rows(out + row * p.hidden_size + c, acc, n);
        }
    }
}

int64_t sum_grain(const RoutedPairs& p, int64_t slots) { return 1 + 16384 / (slots * p.hidden_size); }

void sum_call(const RoutedPairs& p, const int64_t* row_pairs, int64_t slots, uint8_t* memory, float* out) {
    const CallArrays arrays = open_call(p, memory);
    parallel_for(p.num_rows, sum_grain(p, slots),
                 [&](int64_t begin, int64_t end, int) { sum_range(p, arrays, row_pairs, slots, begin, end, out); });
}

// All pieces, one a phase of a single region.
void all_pieces(const RoutedPairs& p, const int64_t* row_pairs, int64_t slots, uint8_t* memory, float* out) {
    if (p.num_pairs == 0) return;
    const CallArrays arrays = open_call(p, memory);
    const ExpertView& shape = p.shares[0].expert;
    const int64_t most = most_rows(p.shares, p.num_shares);
    const int64_t units = num_units(p.width), down_units = num_units(p.hidden_size);
    reserve_panels(p, most);
    const auto inputs = [&](int64_t begin, int64_t end, int) { begin_range(p, arrays, begin, end); };
    const auto arrange_in = [&](int64_t begin, int64_t end, int) { arrange_inputs(p.shares, arrays.in, begin, end); };
    const auto gate_up = [&](int64_t begin, int64_t end, int thread) {
        each_share(p.shares, units, begin, end, [&](const ExpertShare& share, int64_t first, int64_t last) {
            gate_up_range(share, first, last, arrays.in, thread, arrays.hidden);
        });
    };
    const auto quantize = [&](int64_t begin, int64_t end, int) {
        for (int64_t pair = begin; pair < end; ++pair)
            quantize_row(arrays.between, arrays.hidden + pair * p.width, pair);
    };
    const auto arrange_down = [&](int64_t begin, int64_t end, int) {
        arrange_between(p.shares, arrays.between, begin, end);
    };
    const auto nothing = [](int64_t, int64_t) {};
    const auto take = [&](int64_t pair, int64_t column, Lanes y, int columns) {
        store_rows(arrays.y + pair * p.hidden_size + column, y, columns);
    };
    const auto down = [&](int64_t begin, int64_t end, int thread) {
        each_share(p.shares, down_units, begin, end, [&](const ExpertShare& share, int64_t first, int64_t last) {
            down_rows(share, first, last, arrays.between, thread, nothing, take);
        });
    };
    const auto sum = [&](int64_t begin, int64_t end, int) { sum_range(p, arrays, row_pairs, slots, begin, end, out); };
    const int64_t gate_items = arranged_items(shape.gate, p.shares, p.num_shares);
    const int64_t down_items = arranged_items(shape.down, p.shares, p.num_shares);
    Phase phases[7];
    int count = 0;
    phases[count++] = phase_of(num_inputs(p), 1 + 2048 / p.hidden_size, inputs);
    if (gate_items > 0) phases[count++] = phase_of(gate_items, 1, arrange_in);
    phases[count++] = phase_of(p.num_shares * units, chunk_units(shape.gate, units, 2 * most), gate_up);
    phases[count++] = phase_of(p.num_pairs, 1 + 2048 / p.width, quantize);
    if (down_items > 0) phases[count++] = phase_of(down_items, 1, arrange_down);
    phases[count++] = phase_of(p.num_shares * down_units, chunk_units(shape.down, down_units, most), down);
    phases[count++] = phase_of(p.num_rows, 1 + 2048 / (slots * p.hidden_size), sum);
    shoestring::parallel_phases(phases, count);
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
