#include "matrix.h"

#include <mutex>

#include "arena.h"
#include "parallel.h"

namespace shoestring {

namespace {

constexpr size_t SLAB_BYTES = size_t{64} << 20;

std::mutex slab_mutex;
std::weak_ptr<uint8_t> open_slab;
size_t open_slab_used = 0;

}  // namespace

PackedBytes allocate_packed(size_t bytes) {
    const size_t size = (bytes == 0 ? 64 : (bytes + 63) / 64 * 64);
    if (size > SLAB_BYTES / 4) return {map_arena(size), bytes};
    std::lock_guard lock(slab_mutex);
    std::shared_ptr<uint8_t> slab = open_slab.lock();
    if (slab == nullptr || open_slab_used + size > SLAB_BYTES) {
        slab = map_arena(SLAB_BYTES);
        open_slab = slab;
        open_slab_used = 0;
    }
    PackedBytes packed{std::shared_ptr<uint8_t>(slab, slab.get() + open_slab_used), bytes};
    open_slab_used += size;
    return packed;
}

Matrix pack_matrix(WeightType type, const Region& region, bool drop_pages) {
    const int64_t groups = num_groups(region.rows), bytes = group_bytes(type, region.columns);
    PackedBytes packed = allocate_packed(static_cast<size_t>(groups * bytes));
    // About a megabyte per chunk: large compared with a page, and little memory that exists twice.
    const int64_t grain = 1 + (int64_t{1} << 20) / (bytes + 1);
    parallel_for(groups, grain, [&](int64_t begin, int64_t end, int) {
        pack_groups(type, region, begin, end, packed.data.get(), drop_pages);
    });
    return {{type, region.rows, region.columns, packed.data.get()}, packed};
}

}  // namespace shoestring
