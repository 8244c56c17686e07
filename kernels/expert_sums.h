// Experts in ascending order, added to their rows in place: nothing is kept per pair.
//
// Pairs go through in batches, as many as fit into a bounded scratch: gate and up of all experts of a batch, then down.
// There a thread takes 16 columns of the output for all experts of the batch in turn, so that a row's experts are
// added in their order.
#pragma once

#include "experts.h"

namespace SHOESTRING_VARIANT {
namespace {

// Bounds of a batch: scratch that stays in a core's cache, and enough rows to use what a group costs once.
constexpr int64_t BATCH_BYTES = 4 << 20;
constexpr int64_t LEAST_PAIRS = 256;
// Rows up to this size, quantized, are quantized once for all their experts of a call: measured 5 % of a step of 4096
// rows, where each would be quantized 8 times.
constexpr int64_t INPUT_BYTES = 16 << 20;

// Floats of a pair that are arranged for panels: those that enter gate and up, and down.
int64_t arranged_in(const RoutedPairs& p) {
    return arranged_items(p.shares[0].expert.gate, p.shares, p.num_shares) > 0 ? p.hidden_size : 0;
}
int64_t arranged_between(const RoutedPairs& p) {
    return arranged_items(p.shares[0].expert.down, p.shares, p.num_shares) > 0 ? p.width : 0;
}

// Bytes of scratch for `inputs` quantized rows and `pairs` pairs.
int64_t batch_bytes(const RoutedPairs& p, const ExpertForms& forms, int64_t inputs, int64_t pairs) {
    return round_up(p.scale_input ? 4 * pairs * p.hidden_size : 0, 64) + round_up(4 * pairs * p.width, 64) +
           round_up(4 * pairs * arranged_in(p), 64) + round_up(4 * pairs * arranged_between(p), 64) +
           activation_bytes(inputs, p.hidden_size, forms.in) + activation_bytes(pairs, p.width, forms.between);
}

int64_t most_pairs(const RoutedPairs& p, const ExpertForms& forms) {
    const int64_t pairs = BATCH_BYTES / batch_bytes(p, forms, 1, 1);
    const int64_t bounded = pairs < LEAST_PAIRS ? LEAST_PAIRS : pairs;
    return bounded < p.num_pairs ? bounded : p.num_pairs;
}

// The next experts whose rows fit together, from pair `first` on; one with more rows than fit comes alone, in parts.
// `batch` gets their shares, with the pairs counted from `first`.
struct Batch {
    ExpertShare* shares;
    int64_t num_shares, num_pairs;
};

Batch next_batch(const RoutedPairs& p, int64_t* share, int64_t first, int64_t most, ExpertShare* shares) {
    Batch batch{shares, 0, 0};
    for (; *share < p.num_shares; ++*share) {
        const ExpertShare& whole = p.shares[*share];
        const int64_t begin = first + batch.num_pairs, left = whole.first + whole.count - begin;
        const int64_t fits = most - batch.num_pairs;
        if (left > fits && batch.num_pairs > 0) break;
        const int64_t parts = (left + most - 1) / most, count = (left + parts - 1) / parts;
        shares[batch.num_shares++] = {whole.expert, batch.num_pairs, count};
        batch.num_pairs += count;
        if (count < left) break;
    }
    return batch;
}

// out[row] += down hidden[pair] · weight, pairs of the batch in order.
void add_down(const RoutedPairs& p, const Batch& batch, int64_t first, const Activations& hidden, float* out) {
    const int64_t units = num_units(p.hidden_size);
    const auto ask = [&](int64_t pair, int64_t column) {
        __builtin_prefetch(out + p.rows[first + pair] * p.hidden_size + column, 1);
    };
    const auto take = [&](int64_t pair, int64_t column, Lanes y, int columns) {
        float* sum = out + p.rows[first + pair] * p.hidden_size + column;
        const Lanes weight = set1(p.scale_input ? 1.0f : p.weights[first + pair]);
        if (columns == GROUP_ROWS)
            store(sum, fma(weight, y, load(sum)));
        else
            store(sum, fma(weight, y, load(sum, columns)), columns);
    };
    const int64_t grain = chunk_units(batch.shares[0].expert.down, units, batch.num_pairs);
    parallel_for(units, grain, [&](int64_t begin, int64_t end, int thread) {
        for (int64_t i = 0; i < batch.num_shares; ++i)
            down_rows(batch.shares[i], begin, end, hidden, thread, ask, take);
    });
}

void add_experts(const RoutedPairs& p, float* out) {
    if (p.num_pairs == 0) return;
    const ExpertForms forms = wanted_forms(p.shares, p.num_shares);
    const int64_t most = most_pairs(p, forms);
    const bool once = !p.scale_input && p.num_rows < p.num_pairs &&
                      activation_bytes(p.num_rows, p.hidden_size, forms.in) <= INPUT_BYTES;
    const int64_t inputs = once ? p.num_rows : most;
    const int64_t shares_bytes = round_up(p.num_shares * static_cast<int64_t>(sizeof(ExpertShare)), 64);
    const int64_t bytes = shares_bytes + batch_bytes(p, forms, inputs, most);
    Pieces pieces{static_cast<uint8_t*>(shoestring::shared_scratch(static_cast<size_t>(bytes)))};
    ExpertShare* shares = pieces.take<ExpertShare>(p.num_shares);
    float* scaled = pieces.take<float>(p.scale_input ? most * p.hidden_size : 0);
    float* hidden = pieces.take<float>(most * p.width);
    float* inputs_arranged = pieces.take<float>(most * arranged_in(p));
    float* hidden_arranged = pieces.take<float>(most * arranged_between(p));
    uint8_t* quants = pieces.take<uint8_t>(activation_bytes(inputs, p.hidden_size, forms.in));
    uint8_t* hidden_quants = pieces.take<uint8_t>(activation_bytes(most, p.width, forms.between));
    reserve_panels(p, most_rows(p.shares, p.num_shares));

    const float* x = p.scale_input ? scaled : p.x;
    Activations a = place(x, p.hidden_size, inputs, p.hidden_size, forms.in, quants);
    Activations b = place(hidden, p.width, most, p.width, forms.between, hidden_quants);
    a.arranged = inputs_arranged;
    b.arranged = hidden_arranged;
    if (once) quantize_rows(a, p.num_rows);
    int64_t share = 0;
    for (int64_t first = 0; first < p.num_pairs;) {
        const Batch batch = next_batch(p, &share, first, most, shares);
        if (!once) quantize_pairs(p, first, batch.num_pairs, a, scaled);
        const Inputs in{a, p.scale_input ? nullptr : p.rows + first, once ? p.rows + first : nullptr};
        parallel_for(arranged_items(batch.shares[0].expert.gate, batch.shares, batch.num_shares), 1,
                     [&](int64_t begin, int64_t end, int) { arrange_inputs(batch.shares, in, begin, end); });
        gate_up_shares(batch.shares, batch.num_shares, in, hidden);
        quantize_rows(b, batch.num_pairs);
        parallel_for(arranged_items(batch.shares[0].expert.down, batch.shares, batch.num_shares), 1,
                     [&](int64_t begin, int64_t end, int) { arrange_between(batch.shares, b, begin, end); });
        add_down(p, batch, first, b, out);
        first += batch.num_pairs;
    }
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
