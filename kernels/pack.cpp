// Packing whole matrices from a file's bytes: all columns of a range of groups.
#include "weights.h"

#include <sys/mman.h>
#include <unistd.h>

#include "dispatch.h"

namespace shoestring {
namespace {

void drop(const uint8_t* begin, const uint8_t* end) {
    const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t first = (reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page;
    const uintptr_t last = reinterpret_cast<uintptr_t>(end) / page * page;
    if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace

void pack_groups(WeightType type, const Region& region, int64_t begin, int64_t end, uint8_t* packed, bool drop_pages) {
    const int64_t bytes = group_bytes(type, region.columns), row = begin * GROUP_ROWS;
    const int64_t last = end * GROUP_ROWS < region.rows ? end * GROUP_ROWS : region.rows;
    const uint8_t* data = region.data + row * region.row_stride;
    const Region tile{data, last - row, region.columns, region.row_stride, region.column_stride};
    active().pack->pack_tile(type, tile, packed + begin * bytes, bytes);
    const bool contiguous_rows =
        region.column_stride == 0 || format(type).block > 1 || region.column_stride == format(type).file_bytes;
    if (drop_pages && contiguous_rows) drop(data, region.data + last * region.row_stride);
}

}  // namespace shoestring
