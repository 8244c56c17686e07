#include "io_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <system_error>
#include <utility>

namespace shoestring {
namespace {

// Of a device whose blocks are not known. Also the unit in which buffered pages are released.
constexpr int64_t PAGE = 4096;

// What each system has for reads past the page cache.
#if defined(__APPLE__)
bool set_direct(int descriptor, bool on) { return fcntl(descriptor, F_NOCACHE, on ? 1 : 0) == 0; }
void read_at_random(int descriptor) { fcntl(descriptor, F_RDAHEAD, 0); }
void forget_pages(int, int64_t, int64_t) {}
int sync_data(int descriptor) { return fsync(descriptor); }
#else
bool set_direct(int descriptor, bool on) {
    const int flags = fcntl(descriptor, F_GETFL);
    const int wanted = (on ? flags | O_DIRECT : flags & ~O_DIRECT) & ~O_NONBLOCK;
    return flags >= 0 && fcntl(descriptor, F_SETFL, wanted) == 0;
}
void read_at_random(int descriptor) { posix_fadvise(descriptor, 0, 0, POSIX_FADV_RANDOM); }
void forget_pages(int descriptor, int64_t begin, int64_t count) {
    posix_fadvise(descriptor, begin, count, POSIX_FADV_DONTNEED);
}
int sync_data(int descriptor) { return fdatasync(descriptor); }
#endif

}  // namespace

IoFile::IoFile(int descriptor, std::string name, bool buffered)
    : descriptor_(fcntl(descriptor, F_DUPFD_CLOEXEC, 0)), name_(std::move(name)), alignment_(PAGE) {
    struct stat status;
    if (descriptor_ < 0 || fstat(descriptor_, &status) != 0) {
        const int error = errno;
        if (descriptor_ >= 0) close(descriptor_);
        throw std::system_error(error, std::generic_category());
    }
    size_ = status.st_size;
    if (!buffered) find_alignment();
    if (buffered || !try_direct()) fall_back();
}

IoFile::~IoFile() { close(descriptor_); }

// Where the kernel does not say (before Linux 6.1, or a file system that does not), a page suits every device.
void IoFile::find_alignment() {
#ifdef STATX_DIOALIGN
    struct statx status;
    if (statx(descriptor_, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) != 0 || !(status.stx_mask & STATX_DIOALIGN))
        return;
    const int64_t unit = std::max(status.stx_dio_offset_align, status.stx_dio_mem_align);
    if (unit > 0 && (unit & (unit - 1)) == 0 && unit <= (int64_t{1} << 16)) alignment_ = unit;
#endif
}

// A file system may accept the flag and refuse the first read.
bool IoFile::try_direct() {
    if (!set_direct(descriptor_, true)) return false;
    struct Free {
        void operator()(void* block) const { std::free(block); }
    };
    const size_t unit = static_cast<size_t>(alignment_);
    const std::unique_ptr<void, Free> block(std::aligned_alloc(unit < PAGE ? PAGE : unit, unit < PAGE ? PAGE : unit));
    if (block == nullptr) return false;
    const ssize_t count = pread(descriptor_, block.get(), unit, 0);
    // Write-only files and failing disks are for the first real transfer to report.
    direct_ = count >= 0 || errno != EINVAL;
    return direct();
}

// Reads ahead of a random access would stay in the page cache.
void IoFile::fall_back() {
    direct_ = false;
    set_direct(descriptor_, false);
    read_at_random(descriptor_);
}

Transfer IoFile::read(int64_t begin, int64_t end, uint8_t* buffer) {
    const int64_t first = round_down(begin), last = round_up(end);
    Transfer done;
    int64_t at = first;  // all bytes before are in the buffer
    while (at < end) {
        const bool was_direct = direct();
        const ssize_t count = pread(descriptor_, buffer + (at - first), static_cast<size_t>(last - at), at);
        ++done.calls;
        if (count < 0) {
            if (errno == EINVAL && was_direct) {
                fall_back();
            } else if (errno != EINTR) {
                done.error = errno;
                done.offset = at > begin ? at : begin;
                break;
            }
            ++done.retries;
            continue;
        }
        done.bytes += count;
        const int64_t reached = at + count;
        if (reached >= end) break;
        // A short read. A direct one has to begin at a block, and repeats the block that the end of the file cuts.
        const int64_t next = was_direct ? round_down(reached) : reached;
        if (next <= at) {
            done.error = Transfer::END_OF_FILE;
            done.offset = reached;
            break;
        }
        at = next;
        ++done.retries;
    }
    if (!direct()) forget_pages(descriptor_, first / PAGE * PAGE, last - first / PAGE * PAGE);
    return done;
}

Transfer IoFile::write(int64_t begin, int64_t end, const uint8_t* data, uint8_t* buffer) {
    Transfer done;
    const int64_t first = direct() ? round_down(begin) : begin, last = direct() ? round_up(end) : end;
    std::unique_lock<std::mutex> edges(edges_, std::defer_lock);
    if (first != begin || last != end) {
        edges.lock();
        const int64_t tail = last - alignment_ > first ? last - alignment_ : first;
        for (int64_t block : {first, tail}) {
            // Behind the end of the file are zeros.
            std::memset(buffer + (block - first), 0, static_cast<size_t>(alignment_));
            const Transfer read_back = read(block, block + alignment_, buffer + (block - first));
            if (read_back.error > 0) return read_back;
        }
    }
    std::memcpy(buffer + (begin - first), data, static_cast<size_t>(end - begin));
    for (int64_t at = first; at < last;) {
        const ssize_t count = pwrite(descriptor_, buffer + (at - first), static_cast<size_t>(last - at), at);
        ++done.calls;
        if (count < 0) {
            if (errno == EINVAL && direct()) {
                fall_back();
            } else if (errno != EINTR) {
                done.error = errno;
                done.offset = at > begin ? at : begin;
                return done;
            }
            ++done.retries;
            continue;
        }
        if (count == 0) {
            done.error = ENOSPC;
            done.offset = at > begin ? at : begin;
            return done;
        }
        done.bytes += count;
        const int64_t next = direct() ? round_down(at + count) : at + count;
        if (next < last) ++done.retries;
        at = at + count >= last ? last : next;
    }
    return done;
}

int IoFile::sync() {
    while (sync_data(descriptor_) != 0) {
        if (errno != EINTR) return errno;
    }
    if (!direct()) forget_pages(descriptor_, 0, 0);
    return 0;
}

}  // namespace shoestring
