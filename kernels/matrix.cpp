#include "matrix.h"

#include <sys/mman.h>

#include <new>

#include "parallel.h"

namespace shoestring {

PackedBytes::PackedBytes(size_t bytes) : bytes_(bytes == 0 ? 1 : bytes) {
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<uint8_t*>(memory);
#ifdef MADV_HUGEPAGE
    madvise(memory, bytes_, MADV_HUGEPAGE);
#endif
}

PackedBytes::~PackedBytes() { munmap(data_, bytes_); }

Matrix pack_matrix(WeightType type, const Region& region, bool drop_pages) {
    const int64_t groups = num_groups(region.rows), bytes = group_bytes(type, region.columns);
    auto packed = std::make_shared<PackedBytes>(static_cast<size_t>(groups * bytes));
    // About a megabyte a chunk: large against a page, small against memory that is held twice.
    const int64_t grain = 1 + (int64_t{1} << 20) / (bytes + 1);
    parallel_for(groups, grain, [&](int64_t begin, int64_t end, int) {
        pack_groups(type, region, begin, end, packed->data(), drop_pages);
    });
    return {{type, region.rows, region.columns, packed->data()}, packed};
}

}  // namespace shoestring
