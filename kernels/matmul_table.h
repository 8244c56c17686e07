// The functions of the matmul family that a variant exports.
#pragma once

#include <cstdint>

#include "weights.h"

namespace shoestring {

// out [tokens, weight.rows]
struct MatmulJob {
    MatrixView weight;
    float* out;
};

// Most rows of the fused products (few_rows.h).
constexpr int64_t FEW_ROWS = 16;

// Rows that enter products: x [rows, columns], or their rms_norm, which `normed` gets. normed null: x itself.
struct InputRows {
    const float* x;
    int64_t rows, columns;
    const float* norm;  // [columns]
    float eps;
    float* normed;
};

// gate and up [width, columns], down [out, width]; hidden [rows, width] is what is between them.
struct FeedForward {
    MatrixView gate, up, down;
    float* hidden;
};

// The matrices of one expert: gate and up [width, hidden], down [hidden, width].
struct ExpertView {
    MatrixView gate, up, down;
};

// One expert's part of RoutedPairs.
struct ExpertShare {
    ExpertView expert;
    int64_t first, count;
};

// Rows and the experts that they chose. A pair is a row and one of its experts; pairs are sorted by expert, then row.
struct RoutedPairs {
    const float* x;  // [rows, hidden_size]
    int64_t num_rows;
    const int64_t* rows;   // of each pair
    const float* weights;  // of each pair
    int64_t num_pairs;
    const ExpertShare* shares;  // experts ascending, one after the other: together all pairs
    int64_t num_shares;
    int64_t hidden_size, width;
    bool scale_input;  // the weight multiplies the expert's input, not its output
};

struct MatmulTable {
    // Jobs that share x [tokens, columns].
    void (*matmul)(const float* x, int64_t tokens, const MatmulJob* jobs, int num_jobs);

    // The same, and a whole feed-forward block, for up to FEW_ROWS rows. adds: to what is in out.
    void (*products)(const InputRows& in, const MatmulJob* jobs, int num_jobs, bool adds);
    void (*feed_forward)(const InputRows& in, const FeedForward& block, bool adds, float* out);

    // out [rows, hidden_size] += each pair's result, experts ascending.
    void (*add_experts)(const RoutedPairs& pairs, float* out);

    // out = the same, all pieces below in one parallel region.
    void (*all_pieces)(const RoutedPairs& pairs, const int64_t* row_pairs, int64_t slots, uint8_t* memory, float* out);

    // The same in pieces: begin, then gate_up and down of each share in any order, then the sum. All see the same
    // `memory`, call_bytes long and 64-byte aligned. The shares of a piece are some of pairs.shares.
    int64_t (*call_bytes)(int64_t num_rows, int64_t num_pairs, int64_t hidden_size, int64_t width, bool scale_input);
    void (*begin_call)(const RoutedPairs& pairs, uint8_t* memory);
    void (*gate_up)(const RoutedPairs& pairs, const ExpertShare* shares, int64_t num_shares, uint8_t* memory);
    void (*down)(const RoutedPairs& pairs, const ExpertShare* shares, int64_t num_shares, uint8_t* memory);
    // row_pairs [rows, slots]: the pairs of each row, experts ascending.
    void (*sum_call)(const RoutedPairs& pairs, const int64_t* row_pairs, int64_t slots, uint8_t* memory, float* out);

    // scores [rows, experts] → ids, weights [rows, top]
    void (*route_softmax)(const float* scores, int64_t rows, int64_t experts, int64_t top, int32_t* ids,
                          float* weights);
    void (*route_sigmoid)(const float* scores, int64_t rows, int64_t experts, int64_t top, int32_t* ids,
                          float* weights);

    // machine_limits.h: what the instructions reach. Return operations, and bytes.
    int64_t (*run_dots)(int64_t rounds);
    int64_t (*run_signed_dots)(int64_t rounds);
    int64_t (*run_fmas)(int64_t rounds);
    int64_t (*read_bytes)(const uint8_t* data, int64_t count);
};

}  // namespace shoestring
