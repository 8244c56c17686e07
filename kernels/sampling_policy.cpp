#include "sampling_policy.h"

#include <algorithm>
#include <cstring>

#include "rope.h"

namespace shoestring {
namespace {

// More likely first; a total order, so that every way of selecting gives the same candidates. -0 counts as 0.
bool before(const Candidate& a, const Candidate& b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

// NaN would break the order that selection needs; it can only come from a bias or penalty that is not finite.
float ordered(float logit) { return logit == logit ? logit : -__builtin_inff(); }

int32_t most_likely(const float* logits, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; ++i)
        if (ordered(logits[i]) > ordered(logits[best])) best = i;
    return static_cast<int32_t>(best);
}

bool valid(int32_t id, int64_t n) { return id >= 0 && id < n; }

void apply_penalties(const Sampling& s, float* logits, int32_t* counts) {
    const int64_t n = s.vocabulary_size;
    if (s.repetition_penalty != 1.0f) {
        std::memset(counts, 0, static_cast<size_t>(n) * sizeof(int32_t));
        for (const Ids& list : {s.context, s.generated})
            for (int64_t i = 0; i < list.count; ++i) {
                const int32_t id = list.ids[i];
                if (!valid(id, n) || counts[id]++) continue;
                logits[id] = logits[id] > 0 ? logits[id] / s.repetition_penalty : logits[id] * s.repetition_penalty;
            }
    }
    if (s.presence_penalty != 0.0f || s.frequency_penalty != 0.0f) {
        std::memset(counts, 0, static_cast<size_t>(n) * sizeof(int32_t));
        for (int64_t i = 0; i < s.generated.count; ++i)
            if (valid(s.generated.ids[i], n)) ++counts[s.generated.ids[i]];
        for (int64_t i = 0; i < s.generated.count; ++i) {
            const int32_t id = s.generated.ids[i];
            if (!valid(id, n) || counts[id] == 0) continue;
            logits[id] -= s.frequency_penalty * static_cast<float>(counts[id]);
            logits[id] -= s.presence_penalty;
            counts[id] = 0;
        }
    }
}

// The first `count` of n candidates in order, the rest behind them in any.
void select(Candidate* candidates, int64_t n, int64_t count) {
    if (count < n) std::nth_element(candidates, candidates + count, candidates + n, before);
    std::sort(candidates, candidates + std::min(count, n), before);
}

}  // namespace

int32_t sample(const RowsTable& kernels, const Sampling& s, float* logits, float* weights, int32_t* counts,
               Candidate* candidates) {
    const int64_t n = s.vocabulary_size;
    std::memcpy(logits, s.logits, static_cast<size_t>(n) * sizeof(float));
    apply_penalties(s, logits, counts);
    for (int64_t i = 0; i < s.bias_ids.count; ++i)
        if (valid(s.bias_ids.ids[i], n)) logits[s.bias_ids.ids[i]] += s.bias_values[i];
    if (!(s.temperature > 0.0f) || s.top_k == 1) return most_likely(logits, n);

    const float most = ordered(logits[most_likely(logits, n)]);
    if (!(most > -__builtin_inff() && most < __builtin_inff())) return most_likely(logits, n);
    kernels.tempered_exp(logits, n, most, s.temperature, weights);
    double total = 0;
    for (int64_t i = 0; i < n; ++i) {
        if (!(weights[i] >= 0.0f)) weights[i] = 0.0f;
        total += static_cast<double>(weights[i]);
    }
    const double random = uniform(s.seed, s.sample, s.position);
    const float least = static_cast<float>(s.min_p);  // the most likely weighs 1

    if ((s.top_k <= 0 || s.top_k >= n) && s.top_p >= 1.0) {
        // No order needed: ids ascend.
        if (least > 0) {
            total = 0;
            for (int64_t i = 0; i < n; ++i) total += weights[i] >= least ? static_cast<double>(weights[i]) : 0.0;
        }
        const double target = random * total;
        double sum = 0;
        int64_t last = 0;
        for (int64_t i = 0; i < n; ++i) {
            if (weights[i] == 0.0f || weights[i] < least) continue;
            sum += static_cast<double>(weights[i]);
            last = i;
            if (sum > target) break;
        }
        return static_cast<int32_t>(last);
    }

    for (int64_t i = 0; i < n; ++i) candidates[i] = {ordered(logits[i]), static_cast<int32_t>(i)};
    int64_t kept = s.top_k > 0 && s.top_k < n ? s.top_k : n, sorted = std::min<int64_t>(kept, 256);
    select(candidates, n, sorted);
    if (kept < n) {
        select(candidates, n, sorted = kept);
        total = 0;
        for (int64_t i = 0; i < kept; ++i) total += static_cast<double>(weights[candidates[i].id]);
    }
    if (s.top_p < 1.0) {
        // The shortest prefix that has the wanted share. Few candidates are enough unless the logits are flat.
        const double wanted = s.top_p * total;
        double sum = 0;
        int64_t i = 0;
        while (i < kept) {
            if (i == sorted) select(candidates, n, sorted = std::min(kept, sorted * 8));
            sum += static_cast<double>(weights[candidates[i++].id]);
            if (sum >= wanted) break;
        }
        kept = i;
    }
    int64_t end = 1;
    total = static_cast<double>(weights[candidates[0].id]);
    while (end < kept && weights[candidates[end].id] >= least)
        total += static_cast<double>(weights[candidates[end++].id]);
    const double target = random * total;
    double sum = 0;
    int64_t last = 0;
    for (int64_t i = 0; i < end; ++i) {
        if (weights[candidates[i].id] == 0.0f) continue;
        sum += static_cast<double>(weights[candidates[i].id]);
        last = i;
        if (sum > target) break;
    }
    return candidates[last].id;
}

void largest_logits(const float* logits, int64_t n, int64_t count, Candidate* candidates) {
    for (int64_t i = 0; i < n; ++i) candidates[i] = {ordered(logits[i]), static_cast<int32_t>(i)};
    select(candidates, n, count);
}

double log_sum_exp(const RowsTable& kernels, const float* logits, int64_t n) {
    const float most = kernels.largest(logits, n);
    return static_cast<double>(most) + natural_log(kernels.sum_exp(logits, n, most));
}

void philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]) {
    uint32_t k0 = key[0], k1 = key[1];
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < 10; ++round) {
        const uint64_t a = uint64_t{0xD2511F53} * c0, b = uint64_t{0xCD9E8D57} * c2;
        c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
        c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
        c1 = static_cast<uint32_t>(b);
        c3 = static_cast<uint32_t>(a);
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

double uniform(uint64_t seed, uint64_t sample, uint64_t position) {
    const uint32_t key[2] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
    const uint32_t counter[4] = {static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32),
                                 static_cast<uint32_t>(sample), static_cast<uint32_t>(sample >> 32)};
    uint32_t bits[4];
    philox(key, counter, bits);
    const uint64_t mantissa = (uint64_t{bits[0]} << 32 | bits[1]) >> 11;
    return static_cast<double>(mantissa) * 0x1p-53;
}

}  // namespace shoestring
