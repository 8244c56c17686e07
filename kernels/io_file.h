// One open regular file: reads and writes of any region past the page cache.
//
// Where the file system has direct I/O, a read covers the region's superset at the file's alignment. Elsewhere (FUSE,
// NFS, overlays) reads are buffered, and their pages are released behind them. All functions may run in several
// threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

namespace shoestring {

// What a read or write did. error: 0, an errno, or END_OF_FILE; offset: the byte where it failed.
struct Transfer {
    static constexpr int END_OF_FILE = -1;
    int error = 0;
    int64_t offset = 0;
    int64_t bytes = 0;
    int64_t calls = 0;
    int64_t retries = 0;
};

class IoFile {
  public:
    // Duplicates the descriptor, which must have a file description of its own: its flags change. `buffered`: use no
    // direct I/O. Throws std::system_error.
    IoFile(int descriptor, std::string name, bool buffered);
    ~IoFile();
    IoFile(const IoFile&) = delete;
    IoFile& operator=(const IoFile&) = delete;

    const std::string& name() const { return name_; }
    int descriptor() const { return descriptor_; }
    int64_t size() const { return size_; }  // when it was opened
    bool direct() const { return direct_.load(std::memory_order_relaxed); }
    int64_t alignment() const { return alignment_; }

    int64_t round_down(int64_t n) const { return n / alignment_ * alignment_; }
    int64_t round_up(int64_t n) const { return round_down(n + alignment_ - 1); }

    // Bytes that a buffer needs for a region of so many bytes, wherever the region begins.
    int64_t buffer_bytes(int64_t region_bytes) const { return round_up(region_bytes) + alignment_; }

    // Reads [begin, end). The buffer begins at a page; byte `begin` comes to buffer + (begin - round_down(begin)).
    Transfer read(int64_t begin, int64_t end, uint8_t* buffer);

    // Writes data to [begin, end), by way of the buffer. Two regions in flight must not overlap. A region whose end is
    // not aligned may extend the file to the next multiple of the alignment, with zeros.
    Transfer write(int64_t begin, int64_t end, const uint8_t* data, uint8_t* buffer);

    // Waits until the device has everything written. 0 or an errno.
    int sync();

  private:
    void find_alignment();
    bool try_direct();
    void fall_back();

    int descriptor_;
    std::string name_;
    int64_t size_ = 0;
    int64_t alignment_;
    std::atomic<bool> direct_{false};
    std::mutex edges_;  // one thread at a time rewrites blocks that it changes in part
};

}  // namespace shoestring
