// Which experts a token takes: the top of its scores, ties to the lower index, and their weights.
#pragma once

#include "lanes_math.h"

namespace SHOESTRING_VARIANT {
namespace {

// ids: the `top` largest of scores, descending; of equal scores the lower index first. NaN ranks below everything.
void top_scores(const float* scores, int64_t experts, int64_t top, int32_t* ids) {
    int64_t found = 0;
    for (int64_t e = 0; e < experts; ++e) {
        const float score = scores[e] == scores[e] ? scores[e] : -__builtin_inff();
        if (found == top && !(score > scores[ids[top - 1]])) continue;
        int64_t place = found < top ? found++ : top - 1;
        for (; place > 0 && score > scores[ids[place - 1]]; --place) ids[place] = ids[place - 1];
        ids[place] = static_cast<int32_t>(e);
    }
}

// Renormalising a softmax over all experts to the chosen ones is the softmax of their scores: the sum over the others
// cancels. Weight i = e_i / Σ e_j, e_i = exp(score_i - largest), added in descending order of score.
void route_softmax(const float* scores, int64_t rows, int64_t experts, int64_t top, int32_t* ids, float* weights) {
    for (int64_t r = 0; r < rows; ++r, scores += experts, ids += top, weights += top) {
        top_scores(scores, experts, top, ids);
        float sum = 0.0f;
        for (int64_t i = 0; i < top; ++i) {
            weights[i] = exp(scores[ids[i]] - scores[ids[0]]);
            sum = sum + weights[i];
        }
        for (int64_t i = 0; i < top; ++i) weights[i] = weights[i] / sum;
    }
}

void route_sigmoid(const float* scores, int64_t rows, int64_t experts, int64_t top, int32_t* ids, float* weights) {
    for (int64_t r = 0; r < rows; ++r, scores += experts, ids += top, weights += top) {
        top_scores(scores, experts, top, ids);
        for (int64_t i = 0; i < top; ++i) weights[i] = sigmoid(scores[ids[i]]);
    }
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
