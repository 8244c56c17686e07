// A packed matrix and the memory it owns.
#pragma once

#include <memory>

#include "weights.h"

namespace shoestring {

// Memory for packed matrices: slabs of 64 MB at 2 MB boundaries, so that small matrices too lie on huge pages, which
// streaming from memory needs. A slab goes back to the system when its last matrix does.
struct PackedBytes {
    std::shared_ptr<uint8_t> data;  // owns its slab
    size_t size;
};

// 64-byte aligned, zero. Throws std::bad_alloc.
PackedBytes allocate_packed(size_t bytes);

struct Matrix {
    MatrixView view;
    PackedBytes bytes;
};

// Packs in parallel. The region has been checked; drop_pages as in pack_groups.
Matrix pack_matrix(WeightType type, const Region& region, bool drop_pages);

}  // namespace shoestring
