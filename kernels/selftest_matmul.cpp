// The matmul family: every weight type, variant and token count against the scalar variant, against guard pages.
#include "selftest.h"

#include <algorithm>
#include <vector>

#include "expert_pairs.h"
#include "parallel.h"

namespace shoestring::selftest {
namespace {

// A packed matrix of any bytes that stand for finite numbers, ending at a page that cannot be touched.
class Weights {
  public:
    Weights(WeightType type, int64_t rows, int64_t columns, uint64_t seed)
        : bytes_(num_groups(rows) * group_bytes(type, columns)) {
        const WeightFormat& f = format(type);
        const int64_t row_bytes = columns / f.block * f.file_bytes;
        Guarded<uint8_t> file(rows * row_bytes);
        Numbers numbers(seed);
        for (int64_t i = 0; i < file.size(); ++i) file[i] = static_cast<uint8_t>(numbers.next());
        for (int64_t at = 0; at < file.size(); at += f.file_bytes) finite(type, &file[at]);
        const Region region{file.data(), rows, columns, row_bytes, f.block == 1 ? f.file_bytes : 0};
        pack_groups(type, region, 0, num_groups(rows), bytes_.data(), false);
        view = {type, rows, columns, bytes_.data()};
        Guarded<float> read(columns), again(columns);
        for (int64_t row = 0; row < rows; ++row) {
            dequantize_rows(type, region, row, row + 1, read.data());
            dequantize_packed_row(view, row, again.data());
            failures += expect(read.same_as(again), f.name, "packed row", row);
            note("numbers of a file", read);
        }
    }

    MatrixView view{};
    int failures = 0;

  private:
    // Half-precision scales and float elements below 2: the exponent's top bit is cleared.
    static void finite(WeightType type, uint8_t* block) {
        const auto clear = [&](int byte) { block[byte] &= 0xbf; };
        switch (type) {
            case WeightType::F32:
                return clear(3);
            case WeightType::Q6_K:
                return clear(209);
            case WeightType::Q4_1:
            case WeightType::Q4_K:
            case WeightType::Q5_K:
                clear(3);
                [[fallthrough]];
            default:
                clear(1);
        }
    }

    Guarded<uint8_t> bytes_;
};

int products(WeightType type, int64_t rows, int64_t columns, int64_t tokens) {
    if (!next_case()) return 0;
    const Weights weights(type, rows, columns, static_cast<uint64_t>(rows + tokens));
    Guarded<float> x(tokens * columns), ours(tokens * rows), scalar(tokens * rows);
    Numbers(static_cast<uint64_t>(columns)).fill(x);
    int failures = weights.failures;
    const MatmulJob expected{weights.view, scalar.data()};
    variants().front().matmul->matmul(x.data(), tokens, &expected, 1);
    note(format(type).name, scalar);
    for (const Variant& variant : variants()) {
        const MatmulJob job{weights.view, ours.data()};
        variant.matmul->matmul(x.data(), tokens, &job, 1);
        failures += expect(ours.same_as(scalar), variant.name, format(type).name, rows * 1000 + tokens);
        if (tokens > FEW_ROWS) continue;
        std::fill(ours.data(), ours.data() + ours.size(), -1.0f);
        variant.matmul->products({x.data(), tokens, columns, nullptr, 0.0f, nullptr}, &job, 1, false);
        failures += expect(ours.same_as(scalar), variant.name, "few rows", rows * 1000 + tokens);
    }
    return failures;
}

// A feed-forward block of the norms, added to its rows: every variant against the scalar one.
int feed_forwards(WeightType type, int64_t tokens) {
    if (!next_case()) return 0;
    const int64_t hidden = format(type).block == 256 ? 256 : 64, width = hidden == 256 ? 512 : 96;
    const Weights gate(type, width, hidden, 1), up(type, width, hidden, 2), down(type, hidden, width, 3);
    Guarded<float> x(tokens * hidden), norm(hidden), normed(x.size()), between(tokens * width);
    Guarded<float> ours(x.size()), scalar(x.size());
    Numbers numbers(static_cast<uint64_t>(tokens));
    numbers.fill(x);
    numbers.fill(norm);
    const InputRows in{x.data(), tokens, hidden, norm.data(), 1e-6f, normed.data()};
    const FeedForward block{gate.view, up.view, down.view, between.data()};
    int failures = gate.failures + up.failures + down.failures;
    for (const Variant& variant : variants()) {
        const bool first = &variant == &variants().front();
        Guarded<float>& out = first ? scalar : ours;
        std::copy_n(x.data(), x.size(), out.data());
        variant.matmul->feed_forward(in, block, true, out.data());
        if (!first) failures += expect(ours.same_as(scalar), variant.name, "feed-forward", tokens);
    }
    note("feed-forward", scalar);
    return failures;
}

constexpr int64_t EXPERTS = 5;

// Experts in the order of the law: all at once, and cut in two calls. In pieces: from the last to the first.
int mixture_ways(const Variant& variant, const Guarded<float>& x, int64_t tokens, int64_t slots,
                 const Guarded<int32_t>& ids, const Guarded<float>& factors, const std::vector<ExpertView>& table,
                 bool scale_input, const Guarded<float>& out) {
    const MatmulTable& m = *variant.matmul;
    const SortedPairs all = sort_pairs(ids.data(), factors.data(), tokens, slots, table, nullptr);
    const RoutedPairs pairs = all.routed(x.data(), tokens, scale_input, table[0]);
    Guarded<float> other(out.size());
    std::fill(out.data(), out.data() + out.size(), 0.0f);
    std::fill(other.data(), other.data() + other.size(), 0.0f);
    m.add_experts(pairs, out.data());
    for (const std::vector<int64_t>& some : {std::vector<int64_t>{0, 1}, std::vector<int64_t>{2, 3, 4}}) {
        const SortedPairs part = sort_pairs(ids.data(), factors.data(), tokens, slots, table, &some);
        m.add_experts(part.routed(x.data(), tokens, scale_input, table[0]), other.data());
    }
    int failures = expect(other.same_as(out), variant.name, "experts in two calls", tokens);

    const int64_t bytes = m.call_bytes(tokens, pairs.num_pairs, pairs.hidden_size, pairs.width, scale_input);
    Guarded<float> memory(bytes / 4);
    uint8_t* begin = reinterpret_cast<uint8_t*>(memory.data());
    m.begin_call(pairs, begin);
    for (int64_t i = pairs.num_shares - 1; i >= 0; --i) m.gate_up(pairs, pairs.shares + i, 1, begin);
    for (int64_t i = pairs.num_shares - 1; i >= 0; --i) m.down(pairs, pairs.shares + i, 1, begin);
    const std::vector<int64_t> row_pairs = pairs_by_row(all, tokens, slots);
    m.sum_call(pairs, row_pairs.data(), slots, begin, other.data());
    failures += expect(other.same_as(out), variant.name, "experts in pieces", tokens);
    std::fill(other.data(), other.data() + other.size(), -1.0f);
    m.all_pieces(pairs, row_pairs.data(), slots, begin, other.data());
    return failures + expect(other.same_as(out), variant.name, "experts in one region", tokens);
}

int mixtures(WeightType type, int64_t tokens, int64_t slots, bool scale_input) {
    if (!next_case()) return 0;
    const bool wide = format(type).block == 256, panels = format(type).block == 1 && tokens > 100;
    const int64_t hidden = wide || panels ? 256 : 64, width = wide ? 512 : panels ? 257 : 96;
    std::vector<Weights*> owned;
    std::vector<ExpertView> table;
    int failures = 0;
    for (uint64_t e = 0; e < EXPERTS; ++e) {
        Weights* parts[3] = {new Weights(type, width, hidden, 3 * e), new Weights(type, width, hidden, 3 * e + 1),
                             new Weights(type, hidden, width, 3 * e + 2)};
        for (Weights* part : parts) {
            failures += part->failures;
            owned.push_back(part);
        }
        table.push_back({parts[0]->view, parts[1]->view, parts[2]->view});
    }
    Guarded<float> x(tokens * hidden), scores(tokens * EXPERTS), factors(tokens * slots);
    Guarded<float> ours(tokens * hidden), scalar(tokens * hidden);
    Guarded<int32_t> ids(tokens * slots);
    Numbers numbers(3);
    numbers.fill(x);
    numbers.fill(scores);
    for (const Variant& variant : variants()) {
        const bool first = &variant == &variants().front();
        const auto route = scale_input ? variant.matmul->route_sigmoid : variant.matmul->route_softmax;
        route(scores.data(), tokens, EXPERTS, slots, ids.data(), factors.data());
        failures += mixture_ways(variant, x, tokens, slots, ids, factors, table, scale_input, first ? scalar : ours);
        if (!first) failures += expect(ours.same_as(scalar), variant.name, "experts", tokens);
        if (first) note("route", ids);
        if (first) note("route", factors);
    }
    note("experts", scalar);
    for (Weights* weights : owned) delete weights;
    return failures;
}

}  // namespace

int matmul() {
    int failures = 0;
    for (int threads : {1, 3}) {
        set_num_threads(threads);
        KernelLock lock;
        FloatingPointMode mode;
        for (int i = 0; i < NUM_WEIGHT_TYPES; ++i) {
            const WeightType type = static_cast<WeightType>(i);
            const bool plain = format(type).block == 1;
            for (int64_t rows : {1, 15, 16, 17, 33}) {
                if (threads > 1 && rows < 33) continue;  // one group of rows is one thread's
                for (int64_t tokens : {1, 2, 3, 4, 5, 6, 7, 13})
                    failures += products(type, rows, plain ? 2 * rows + 1 : format(type).block * 2, tokens);
            }
            // Several panels, the last ones not full; several parts of the tokens.
            const int64_t wide = format(type).block == 256 ? 2304 : 2080;
            for (int64_t tokens : {8, 16, 35}) failures += products(type, 49, tokens == 35 ? wide : 768, tokens);
            failures += products(type, 17, 256, 245);
            // A last part of one token.
            if (threads == 1 && !plain) failures += products(type, 1, format(type).block == 256 ? 5632 : 5472, 97);
            // Floats by panels: tiles of all sizes, odd columns around the edge of a panel, parts of the tokens.
            for (int64_t columns : {63, 129, 257, 385})
                for (int64_t tokens : {47, 48, 49, 61}) failures += plain ? products(type, 273, columns, tokens) : 0;
            if (plain) failures += products(type, 257, 1101, 260);
            for (int64_t tokens : {1, 9}) failures += feed_forwards(type, tokens);
            for (int64_t tokens : {1, 2, 23}) failures += mixtures(type, tokens, 1 + tokens % 3, tokens == 2);
            for (int64_t tokens : {145, 146}) failures += plain ? mixtures(type, tokens, 2, tokens == 145) : 0;
        }
    }
    return failures;
}

}  // namespace shoestring::selftest
