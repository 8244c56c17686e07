#include "arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

namespace shoestring {
namespace {

constexpr size_t HUGE_PAGE = size_t{2} << 20;

size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

}  // namespace

std::shared_ptr<uint8_t> map_arena(size_t bytes) {
    const size_t size = round_up(bytes == 0 ? 1 : bytes, static_cast<size_t>(sysconf(_SC_PAGESIZE)));
    if (size < bytes || size + HUGE_PAGE < size) throw std::bad_alloc();
    void* memory = mmap(nullptr, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    uint8_t* begin = static_cast<uint8_t*>(memory);
    uint8_t* aligned =
        begin + (round_up(reinterpret_cast<uintptr_t>(begin), HUGE_PAGE) - reinterpret_cast<uintptr_t>(begin));
    if (aligned > begin) munmap(begin, static_cast<size_t>(aligned - begin));
    if (aligned < begin + HUGE_PAGE) munmap(aligned + size, static_cast<size_t>(begin + HUGE_PAGE - aligned));
#ifdef MADV_HUGEPAGE
    madvise(aligned, size, MADV_HUGEPAGE);
#endif
    return {aligned, [size](uint8_t* data) { munmap(data, size); }};
}

}  // namespace shoestring
