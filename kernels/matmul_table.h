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

// The matrices of one expert: gate and up [width, hidden], down [hidden, width].
struct ExpertView {
    MatrixView gate, up, down;
};

struct MatmulTable {
    // Jobs that share x [tokens, columns].
    void (*matmul)(const float* x, int64_t tokens, const MatmulJob* jobs, int num_jobs);

    // x, out [tokens, hidden]; ids, weights [tokens, slots]; order: the pairs token · slots + slot, sorted by
    // (expert, token); starts [num_experts + 1]: where each expert's pairs begin in it.
    void (*experts)(const float* x, int64_t tokens, int64_t slots, const int32_t* ids, const float* weights,
                    const ExpertView* table, int64_t num_experts, bool scale_input, float* out);

    // scores [rows, experts] → ids, weights [rows, top]
    void (*route_softmax)(const float* scores, int64_t rows, int64_t experts, int64_t top, int32_t* ids,
                          float* weights);
    void (*route_sigmoid)(const float* scores, int64_t rows, int64_t experts, int64_t top, int32_t* ids,
                          float* weights);
};

}  // namespace shoestring
