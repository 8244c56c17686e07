// From logits to a token: penalties, bias, temperature, filters, one counter-based random number.
//
// Order: the mask; then as in vLLM and llama.cpp: repetition, then frequency and presence penalty; bias; temperature;
// top-k; top-p (of what top-k left, renormalised); min-p (relative to the most likely); draw. Plain scalar code,
// compiled once; exponentials come from the variant's table. Ties always go to the lower id.
#pragma once

#include <cstdint>

#include "rows_table.h"

namespace shoestring {

struct Ids {
    const int32_t* ids;
    int64_t count;
};

struct Sampling {
    const float* logits;
    int64_t vocabulary_size;  // ids from here on are never sampled
    float temperature;        // 0: the largest logit
    int64_t top_k;            // 0: off
    double top_p, min_p;      // 1 and 0: off
    float presence_penalty, frequency_penalty;
    float repetition_penalty;  // 1: off
    Ids context, generated;    // repetition counts both, presence and frequency only what was generated
    Ids bias_ids;
    const float* bias_values;
    uint64_t seed, sample, position;
    const uint32_t* allowed;  // bit i % 32 of word i / 32: i may be sampled; null: all may
};

struct Candidate {
    float logit;
    int32_t id;
};

// The sampled token, -1 where none is allowed. To work in, each [vocabulary_size]: `changed` logits, `weights`,
// `counts` (only where a penalty is on), `candidates`, `spare`.
int32_t sample(const RowsTable& kernels, const Sampling& sampling, float* changed, float* weights, int32_t* counts,
               Candidate* candidates, Candidate* spare);

// The `count` largest of n logits, descending, in candidates; it and spare: [n].
void largest_logits(const RowsTable& kernels, const float* logits, int64_t n, int64_t count, Candidate* candidates,
                    Candidate* spare);

// log Σ exp(logits)
double log_sum_exp(const RowsTable& kernels, const float* logits, int64_t n);

// A number in [0, 1) with 53 random bits: Philox 4x32-10 (Salmon et al., SC 2011) of this key and counter.
double uniform(uint64_t seed, uint64_t sample, uint64_t position);
void philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);

}  // namespace shoestring
