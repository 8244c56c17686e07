// Sorts the rows of a step by the experts that they chose.
#pragma once

#include <cstdint>
#include <vector>

#include "matmul_table.h"

namespace shoestring {

// Owns what RoutedPairs points to, but for x.
struct SortedPairs {
    std::vector<int64_t> rows;
    std::vector<float> weights;
    std::vector<ExpertShare> shares;
    std::vector<int64_t> experts;  // of each share

    RoutedPairs routed(const float* x, int64_t num_rows, bool scale_input, const ExpertView& shape) const {
        return {x,
                num_rows,
                rows.data(),
                weights.data(),
                static_cast<int64_t>(rows.size()),
                shares.data(),
                static_cast<int64_t>(shares.size()),
                shape.gate.columns,
                shape.gate.rows,
                scale_input};
    }
};

// ids, weights [num_rows, slots], ids inside the table. Pairs of other experts than `wanted` (ascending; null: all) are
// left out. A row that chose an expert twice has two pairs, in the order of its slots.
SortedPairs sort_pairs(const int32_t* ids, const float* weights, int64_t num_rows, int64_t slots,
                       const std::vector<ExpertView>& table, const std::vector<int64_t>* wanted);

// The pairs of each row, experts ascending: [num_rows, slots]. Of pairs of all experts.
std::vector<int64_t> pairs_by_row(const SortedPairs& pairs, int64_t num_rows, int64_t slots);

}  // namespace shoestring
