// The functions of the vision family that a variant exports: what towers need beside rows and matmul. Each works on a
// range of rows; threads are the caller's business (bindings_vision.cpp).
#pragma once

#include <cstdint>

#include "weights.h"

namespace shoestring {

enum class Nonlinearity : int { NONE, GELU_TANH, GELU_ERF };

// x [rows, n] += the learned positions of a picture's patches, read from a square table by bilinear interpolation.
struct GridPositions {
    const float* table;  // [side · side, n]
    int64_t side, n;
    int64_t rows, columns;  // of patches
    int64_t merge;          // patches come in blocks of merge × merge
    float* x;               // [rows · columns, n]
};

// Attention among all rows of one part of a picture.
struct PartAttention {
    const float *q, *k, *v;  // [rows, heads, head_dim]
    int64_t rows;
    int heads, head_dim;
    float scale;
    float* out;  // [rows, heads, head_dim]
};

struct VisionTable {
    int lanes;

    // Rows [begin, end) of n.
    void (*layer_norm)(const float* x, const float* weight, const float* bias, int64_t n, float eps, float* out,
                       int64_t begin, int64_t end);
    // x = activation(x + bias); bias may be null.
    void (*activate)(float* x, const float* bias, Nonlinearity activation, int64_t n, int64_t begin, int64_t end);
    // x += y + bias.
    void (*add_biased)(float* x, const float* y, const float* bias, int64_t n, int64_t begin, int64_t end);
    void (*grid_positions)(const GridPositions&, int64_t begin, int64_t end);

    // Floats of a head's keys and values, as attention reads them, and of a thread's scratch.
    int64_t (*part_panel_floats)(int64_t rows, int64_t head_dim);
    int64_t (*part_scratch_floats)(int64_t head_dim);
    // Keys and values of blocks [begin, end) of PART_BLOCK rows.
    void (*part_pack)(const PartAttention&, int head, float* panels, int64_t begin, int64_t end);
    // Units [begin, end) of PART_ROWS rows.
    void (*part_attend)(const PartAttention&, int head, const float* panels, float* scratch, int64_t begin,
                        int64_t end);
};

constexpr int64_t PART_BLOCK = 64;  // rows of keys between two rescalings
constexpr int64_t PART_ROWS = 48;   // rows of queries of a unit

}  // namespace shoestring
