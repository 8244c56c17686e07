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

int32_t most_likely(const RowsTable& kernels, const float* logits, int64_t n, float most) {
    // Above all that is smaller, so that the first of several wins; 0 where nothing is above -infinity.
    if (!(most > -__builtin_inff())) return 0;
    const float below = __builtin_nextafterf(most, -__builtin_inff());
    const int64_t first = kernels.first_above(logits, 0, n, below);
    return static_cast<int32_t>(first);
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

bool is_allowed(const uint32_t* allowed, int64_t id) { return allowed[id >> 5] >> (id & 31) & 1; }

// The lowest id that is allowed, -1 if there is none.
int32_t first_allowed(const uint32_t* allowed, int64_t n) {
    for (int64_t word = 0; word < (n + 31) / 32; ++word)
        if (allowed[word] != 0) {
            const int64_t id = 32 * word + __builtin_ctz(allowed[word]);
            return id < n ? static_cast<int32_t>(id) : -1;
        }
    return -1;
}

// The logits of allowed ids, -infinity for others: neither penalty nor bias brings those back. Whole words of one
// kind are most of any grammar's mask.
void keep_allowed(const float* logits, const uint32_t* allowed, int64_t n, float* out) {
    for (int64_t i = 0; i < n; i += 32) {
        const int64_t end = std::min(n, i + 32);
        const uint32_t word = allowed[i >> 5];
        if (word == 0)
            std::fill(out + i, out + end, -__builtin_inff());
        else if (word == ~uint32_t{0})
            std::memcpy(out + i, logits + i, static_cast<size_t>(end - i) * sizeof(float));
        else
            for (int64_t j = i; j < end; ++j) out[j] = word >> (j - i) & 1 ? logits[j] : -__builtin_inff();
    }
}

constexpr int64_t SORT_ALL = 8192;  // from so many on, sorting all by their bits is cheaper than selecting

// Descending logits as ascending numbers; equal logits, -0 and 0 too, are equal numbers.
uint32_t rank_bits(float logit) {
    const float canonical = logit + 0.0f;
    uint32_t bits;
    std::memcpy(&bits, &canonical, sizeof bits);
    return bits & 0x80000000u ? bits : ~bits & 0x7fffffffu;
}

// All n candidates in order: least significant digit first, stable, so that ids break ties. `spare`: n more.
void sort_all(const float* logits, int64_t n, Candidate* candidates, Candidate* spare) {
    constexpr int BITS = 11, DIGITS = 1 << BITS, PASSES = 3;
    static thread_local uint32_t counts[PASSES][DIGITS];
    std::memset(counts, 0, sizeof counts);
    for (int64_t i = 0; i < n; ++i) {
        const uint32_t rank = rank_bits(ordered(logits[i]));
        for (int pass = 0; pass < PASSES; ++pass) ++counts[pass][rank >> (BITS * pass) & (DIGITS - 1)];
        spare[i] = {ordered(logits[i]), static_cast<int32_t>(i)};
    }
    for (int pass = 0; pass < PASSES; ++pass) {
        uint32_t before = 0;
        for (uint32_t& count : counts[pass]) {
            const uint32_t here = count;
            count = before;
            before += here;
        }
        // An odd number of passes ends in `candidates`.
        const Candidate* from = pass % 2 == 0 ? spare : candidates;
        Candidate* to = pass % 2 == 0 ? candidates : spare;
        for (int64_t i = 0; i < n; ++i)
            to[counts[pass][rank_bits(from[i].logit) >> (BITS * pass) & (DIGITS - 1)]++] = from[i];
    }
}

// The `count` largest of all n, in order. Keeps the best so far and skips whatever is not above the least of them; a
// later equal one has a higher id. `candidates`, `spare`: n each.
void select(const RowsTable& kernels, const float* logits, int64_t n, int64_t count, Candidate* candidates,
            Candidate* spare) {
    if (count >= SORT_ALL) return sort_all(logits, n, candidates, spare);
    const int64_t room = std::min(n, std::max<int64_t>(2 * count, 1024));
    int64_t held = 0, next = 0;
    for (; next < room; ++next) candidates[held++] = {ordered(logits[next]), static_cast<int32_t>(next)};
    while (next < n) {
        if (held == room) {
            std::nth_element(candidates, candidates + count - 1, candidates + held, before);
            held = count;
        }
        const float least = candidates[count - 1].logit;
        while (held < room && (next = kernels.first_above(logits, next, n, least)) < n) {
            candidates[held++] = {logits[next], static_cast<int32_t>(next)};
            ++next;
        }
    }
    if (count < held) std::nth_element(candidates, candidates + count, candidates + held, before);
    std::sort(candidates, candidates + std::min(count, held), before);
}

int32_t draw(const RowsTable& kernels, const Sampling& s, float* changed, float* weights, int32_t* counts,
             Candidate* candidates, Candidate* spare) {
    const int64_t n = s.vocabulary_size;
    const float* logits = s.logits;
    if (s.allowed != nullptr || s.repetition_penalty != 1.0f || s.presence_penalty != 0.0f ||
        s.frequency_penalty != 0.0f || s.bias_ids.count > 0) {
        if (s.allowed != nullptr)
            keep_allowed(s.logits, s.allowed, n, changed);
        else
            std::memcpy(changed, s.logits, static_cast<size_t>(n) * sizeof(float));
        apply_penalties(s, changed, counts);
        for (int64_t i = 0; i < s.bias_ids.count; ++i)
            if (valid(s.bias_ids.ids[i], n)) changed[s.bias_ids.ids[i]] += s.bias_values[i];
        logits = changed;
    }
    const float most = kernels.largest(logits, n);
    if (!(s.temperature > 0.0f) || s.top_k == 1 || !(most > -__builtin_inff() && most < __builtin_inff()))
        return most_likely(kernels, logits, n, most);

    const bool all = s.top_k <= 0 || s.top_k >= n;
    const double random = uniform(s.seed, s.sample, s.position);
    const float least = static_cast<float>(s.min_p);  // the most likely weighs 1
    double total = 0;
    if (all) {
        kernels.tempered_exp(logits, n, most, s.temperature, weights);
        for (int64_t i = 0; i < n; ++i) {
            if (!(weights[i] >= 0.0f)) weights[i] = 0.0f;
            total += static_cast<double>(weights[i]);
        }
    }

    if (all && s.top_p >= 1.0) {
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

    // From here on in the order of the candidates; `weights` belong to the first `sorted` of them.
    int64_t kept = all ? n : s.top_k, sorted = 0;
    auto sort = [&](int64_t count) {
        select(kernels, logits, n, count, candidates, spare);
        float* in_order = reinterpret_cast<float*>(spare);
        for (int64_t i = 0; i < count; ++i) in_order[i] = candidates[i].logit;
        kernels.tempered_exp(in_order, count, most, s.temperature, weights);
        for (int64_t i = 0; i < count; ++i)
            if (!(weights[i] >= 0.0f)) weights[i] = 0.0f;
        sorted = count;
    };
    sort(all ? std::min<int64_t>(kept, 256) : kept);
    if (!all) {
        total = 0;
        for (int64_t i = 0; i < kept; ++i) total += static_cast<double>(weights[i]);
    }
    if (s.top_p < 1.0) {
        // The shortest prefix with a share of top_p. Few candidates are enough unless the logits are flat.
        const double wanted = s.top_p * total;
        double sum = 0;
        int64_t i = 0;
        while (i < kept) {
            if (i == sorted) sort(sorted * 8 < SORT_ALL ? std::min(kept, sorted * 8) : kept);
            sum += static_cast<double>(weights[i++]);
            if (sum >= wanted) break;
        }
        kept = i;
    }
    int64_t end = 1;
    total = static_cast<double>(weights[0]);
    while (end < kept && weights[end] >= least) total += static_cast<double>(weights[end++]);
    const double target = random * total;
    double sum = 0;
    int64_t last = 0;
    for (int64_t i = 0; i < end; ++i) {
        if (weights[i] == 0.0f) continue;
        sum += static_cast<double>(weights[i]);
        last = i;
        if (sum > target) break;
    }
    return candidates[last].id;
}

}  // namespace

int32_t sample(const RowsTable& kernels, const Sampling& s, float* changed, float* weights, int32_t* counts,
               Candidate* candidates, Candidate* spare) {
    if (s.allowed == nullptr) return draw(kernels, s, changed, weights, counts, candidates, spare);
    const int32_t first = first_allowed(s.allowed, s.vocabulary_size);
    if (first < 0) return first;
    const int32_t token = draw(kernels, s, changed, weights, counts, candidates, spare);
    // Only logits that are no finite numbers can lead elsewhere.
    return is_allowed(s.allowed, token) ? token : first;
}

void largest_logits(const RowsTable& kernels, const float* logits, int64_t n, int64_t count, Candidate* candidates,
                    Candidate* spare) {
    select(kernels, logits, n, count, candidates, spare);
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
