// The function of the pack family that a variant exports.
#pragma once

#include "weights.h"

namespace shoestring {

struct PackTable {
    // Packs a rectangle of a matrix: `tile` is the rectangle in the file's bytes, and its first row begins a group of
    // 16. `packed`: where its first column of its first group goes; the next group's is `group_stride` bytes further.
    // Writes zeros for the rows that its last group lacks. A tile of BF16 with an odd number of columns ends its
    // matrix.
    void (*pack_tile)(WeightType type, const Region& tile, uint8_t* packed, int64_t group_stride);
};

}  // namespace shoestring
