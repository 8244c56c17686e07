// Threads that move pieces of files, in the order of their priority: the disk is their limit, not the caller.
//
// Owns the threads, a buffer for each, and the tickets: one ticket is a list of pieces that is done as a whole. All
// functions may be called by several threads. Pieces are packed outside the KernelLock.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "io_cut.h"

namespace shoestring {

// NOW is what an answer waits for. Pieces of the others leave one thread free for it.
enum class Priority : int { NOW, GUESS, BACKGROUND };
constexpr int NUM_PRIORITIES = 3;

struct IoCounters {
    int64_t bytes_asked = 0;    // of the regions
    int64_t bytes_read = 0;     // with what alignment adds
    int64_t bytes_written = 0;  // likewise
    int64_t reads = 0;          // calls of the operating system
    int64_t retries = 0;        // those after a short read or a signal
    int64_t peak_in_flight = 0;
    double busy_seconds = 0;  // while at least one read is in flight
};

struct Failure {
    static constexpr int CLOSED = -2;
    int error = 0;  // 0: none; an errno, Transfer::END_OF_FILE, or CLOSED
    bool writing = false;
    int64_t ticket = 0;
    int64_t offset = 0;
    std::string file;
};

// What has become of the tickets that a caller waits for. Tickets in `done`, or the one that failed, are forgotten.
struct Waited {
    std::vector<int64_t> done;
    Failure failure;
    int64_t unknown = 0;  // a ticket that does not exist, or that was waited for before
};

class IoPool {
  public:
    // Throws std::bad_alloc, std::system_error.
    IoPool(int threads, int64_t buffer_bytes);
    ~IoPool();
    IoPool(const IoPool&) = delete;
    IoPool& operator=(const IoPool&) = delete;

    int64_t nbytes() const { return count_ * buffer_bytes_; }
    // The largest region of a file that fits into a buffer wherever it begins.
    int64_t most_bytes(const IoFile& file) const { return buffer_bytes_ - 2 * file.alignment(); }

    // Returns a ticket, from 1 on; 0 if the pool is closed. `sync`: done only when the device has all that was written.
    int64_t submit(std::vector<Piece> pieces, Priority priority, bool sync);
    void set_priority(int64_t ticket, Priority priority);

    // Waits until one of the tickets is done, or for so long. Each ticket is waited for until it is done, once.
    Waited wait(const std::vector<int64_t>& tickets, std::chrono::milliseconds longest);

    IoCounters counters() const;

    // Ends the pieces in flight; tickets that are not done fail. Idempotent.
    void close();

  private:
    struct Ticket {
        int64_t number;
        Priority priority;
        bool sync;
        bool done = false;
        size_t next = 0;  // the first piece that no thread has begun
        size_t unfinished;
        std::vector<Piece> pieces;
        Failure failure;
        const Piece* failed = nullptr;
    };
    using Lock = std::unique_lock<std::mutex>;

    void work(uint8_t* buffer);
    bool take(Ticket*& ticket, size_t& piece);
    Transfer move(const Piece& piece, uint8_t* buffer);
    void finish(Lock& lock, Ticket& ticket, const Piece& piece, const Transfer& transfer);
    void drop_rest(Ticket& ticket);
    void begin_read();
    void end_read();

    const int64_t count_;  // of threads
    const int64_t buffer_bytes_;
    std::shared_ptr<uint8_t> buffers_;
    mutable std::mutex mutex_;
    std::mutex close_mutex_;
    std::condition_variable work_, done_;
    std::unordered_map<int64_t, std::unique_ptr<Ticket>> tickets_;
    std::deque<Ticket*> queues_[NUM_PRIORITIES];  // tickets with pieces that no thread has begun
    int64_t last_ticket_ = 0;
    int64_t reads_in_flight_ = 0;
    int64_t low_pieces_ = 0;  // pieces in work that are not NOW
    std::chrono::steady_clock::time_point busy_since_;
    IoCounters counters_;
    bool closed_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace shoestring
