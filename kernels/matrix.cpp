#include "matrix.h"

#include <sys/mman.h>
#include <unistd.h>

#include <mutex>
#include <new>

#include "parallel.h"

namespace shoestring {

namespace {

constexpr size_t HUGE_PAGE = size_t{2} << 20;
constexpr size_t SLAB_BYTES = size_t{64} << 20;

size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

// A mapping that begins at a huge page's boundary.
std::shared_ptr<uint8_t> map_slab(size_t bytes) {
    void* memory = mmap(nullptr, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    uint8_t* begin = static_cast<uint8_t*>(memory);
    uint8_t* aligned =
        begin + (round_up(reinterpret_cast<uintptr_t>(begin), HUGE_PAGE) - reinterpret_cast<uintptr_t>(begin));
    if (aligned > begin) munmap(begin, static_cast<size_t>(aligned - begin));
    munmap(aligned + bytes, static_cast<size_t>(begin + HUGE_PAGE - aligned));
#ifdef MADV_HUGEPAGE
    madvise(aligned, bytes, MADV_HUGEPAGE);
#endif
    return {aligned, [bytes](uint8_t* slab) { munmap(slab, bytes); }};
}

std::mutex slab_mutex;
std::weak_ptr<uint8_t> open_slab;
size_t open_slab_used = 0;

}  // namespace

PackedBytes allocate_packed(size_t bytes) {
    const size_t size = round_up(bytes == 0 ? 1 : bytes, 64);
    // No huge page at the end: it could add 4 % to a matrix of 50 MB, which no estimate counts.
    if (size > SLAB_BYTES / 4) return {map_slab(round_up(size, static_cast<size_t>(sysconf(_SC_PAGESIZE)))), bytes};
    std::lock_guard lock(slab_mutex);
    std::shared_ptr<uint8_t> slab = open_slab.lock();
    if (slab == nullptr || open_slab_used + size > SLAB_BYTES) {
        slab = map_slab(SLAB_BYTES);
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
