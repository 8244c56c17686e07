// A packed matrix and the memory it owns.
#pragma once

#include <memory>

#include "weights.h"

namespace shoestring {

// Anonymous pages, huge where the system gives them. Throws std::bad_alloc.
class PackedBytes {
  public:
    explicit PackedBytes(size_t bytes);
    ~PackedBytes();
    PackedBytes(const PackedBytes&) = delete;
    PackedBytes& operator=(const PackedBytes&) = delete;

    uint8_t* data() const { return data_; }
    size_t size() const { return bytes_; }

  private:
    uint8_t* data_;
    size_t bytes_;
};

struct Matrix {
    MatrixView view;
    std::shared_ptr<const PackedBytes> bytes;
};

// Packs in parallel. The region has been checked; drop_pages as in pack_groups.
Matrix pack_matrix(WeightType type, const Region& region, bool drop_pages);

}  // namespace shoestring
