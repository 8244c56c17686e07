// Few rows, whose experts arrive one by one: gate and up, then down of any experts in any order; the sum at the end.
//
// Every pair keeps its own result, so that the order of arrival changes no bit.
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

int64_t call_bytes(int64_t num_rows, int64_t num_pairs, int64_t hidden_size, int64_t width, bool scale_input) {
    const int64_t inputs = scale_input ? num_pairs : num_rows;
    const int64_t floats = num_pairs * ((scale_input ? hidden_size : 0) + width + hidden_size);
    constexpr Wanted any{true, true, ~0u};
    return round_up(4 * floats, 64) + activation_bytes(inputs, hidden_size, any) +
           activation_bytes(num_pairs, width, any) + 5 * 64;
}

CallArrays open_call(const RoutedPairs& p, uint8_t* memory) {
    const ExpertForms forms = wanted_forms(p.shares, p.num_shares);
    const int64_t inputs = p.scale_input ? p.num_pairs : p.num_rows;
    Pieces pieces{memory};
    float* scaled = pieces.take<float>(p.scale_input ? p.num_pairs * p.hidden_size : 0);
    float* hidden = pieces.take<float>(p.num_pairs * p.width);
    float* y = pieces.take<float>(p.num_pairs * p.hidden_size);
    uint8_t* quants = pieces.take<uint8_t>(activation_bytes(inputs, p.hidden_size, forms.in));
    uint8_t* hidden_quants = pieces.take<uint8_t>(activation_bytes(p.num_pairs, p.width, forms.between));
    const int64_t* rows = p.scale_input ? nullptr : p.rows;
    const float* x = p.scale_input ? scaled : p.x;
    return {{place(x, p.hidden_size, inputs, p.hidden_size, forms.in, quants), rows, rows},
            place(hidden, p.width, p.num_pairs, p.width, forms.between, hidden_quants),
            scaled,
            hidden,
            y};
}

void begin_call(const RoutedPairs& p, uint8_t* memory) {
    const CallArrays arrays = open_call(p, memory);
    if (p.scale_input)
        quantize_pairs(p, 0, p.num_pairs, arrays.in.a, arrays.scaled);
    else
        quantize_rows(arrays.in.a, p.num_rows);
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

void sum_call(const RoutedPairs& p, const int64_t* row_pairs, int64_t slots, uint8_t* memory, float* out) {
    const CallArrays arrays = open_call(p, memory);
    parallel_for(p.num_rows, 1 + 16384 / (slots * p.hidden_size), [&](int64_t begin, int64_t end, int) {
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
    });
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
