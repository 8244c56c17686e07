#include "expert_pairs.h"

namespace shoestring {

SortedPairs sort_pairs(const int32_t* ids, const float* weights, int64_t num_rows, int64_t slots,
                       const std::vector<ExpertView>& table, const std::vector<int64_t>* wanted) {
    constexpr int64_t LEFT_OUT = -1;
    std::vector<int64_t> counts(table.size(), 0), next(table.size(), LEFT_OUT);
    for (int64_t p = 0; p < num_rows * slots; ++p) ++counts[static_cast<size_t>(ids[p])];
    SortedPairs sorted;
    int64_t first = 0;
    const size_t num_wanted = wanted == nullptr ? table.size() : wanted->size();
    for (size_t i = 0; i < num_wanted; ++i) {
        const size_t expert = wanted == nullptr ? i : static_cast<size_t>((*wanted)[i]);
        if (counts[expert] == 0) continue;
        next[expert] = first;
        sorted.shares.push_back({table[expert], first, counts[expert]});
        sorted.experts.push_back(static_cast<int64_t>(expert));
        first += counts[expert];
    }
    sorted.rows.resize(static_cast<size_t>(first));
    sorted.weights.resize(static_cast<size_t>(first));
    for (int64_t row = 0; row < num_rows; ++row) {
        for (int64_t p = row * slots; p < (row + 1) * slots; ++p) {
            int64_t& place = next[static_cast<size_t>(ids[p])];
            if (place == LEFT_OUT) continue;
            sorted.rows[static_cast<size_t>(place)] = row;
            sorted.weights[static_cast<size_t>(place)] = weights[p];
            ++place;
        }
    }
    return sorted;
}

std::vector<int64_t> pairs_by_row(const SortedPairs& pairs, int64_t num_rows, int64_t slots) {
    std::vector<int64_t> filled(static_cast<size_t>(num_rows), 0), result(pairs.rows.size());
    for (size_t p = 0; p < pairs.rows.size(); ++p) {
        const int64_t row = pairs.rows[p];
        result[static_cast<size_t>(row * slots + filled[static_cast<size_t>(row)]++)] = static_cast<int64_t>(p);
    }
    return result;
}

}  // namespace shoestring
