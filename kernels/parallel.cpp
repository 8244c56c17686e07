#include "parallel.h"

#include <pthread.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace shoestring {
namespace {

#if defined(__x86_64__)
constexpr uint64_t STANDARD_MODE = 0x1f80;  // all exceptions masked, nearest even, FTZ and DAZ off
uint64_t read_mode() { return _mm_getcsr(); }
void write_mode(uint64_t mode) { _mm_setcsr(static_cast<unsigned>(mode)); }
void pause() { _mm_pause(); }
#elif defined(__aarch64__)
constexpr uint64_t STANDARD_MODE = 0;
uint64_t read_mode() {
    uint64_t mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
void write_mode(uint64_t mode) { asm volatile("msr fpcr, %0" ::"r"(mode)); }
void pause() { asm volatile("yield"); }
#else
#error "the floating-point mode of this architecture is not known here"
#endif

// About 30 µs: longer than the gap between two kernels of a step, short enough to give a busy machine its core.
constexpr int SPINS = 1500;

struct alignas(64) Slice {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
};

// A parallel region is open or closed; workers enter only an open one, so that the caller never waits for a
// worker that the machine has not scheduled yet. State: (epoch << 32) | (closed << 31) | workers inside.
constexpr uint64_t CLOSED = uint64_t{1} << 31;

class Pool {
  public:
    explicit Pool(int count) : count_(count), slices_(new Slice[static_cast<size_t>(count)]) {
        for (int thread = 1; thread < count; ++thread) workers_.emplace_back([this, thread] { work(thread); });
    }

    ~Pool() {
        stop_.store(true);
        announce();
        for (std::thread& worker : workers_) worker.join();
    }

    int count() const { return count_; }

    void run(int64_t count, int64_t grain, Range range, void* context) {
        range_ = range;
        context_ = context;
        grain_ = grain;
        const int64_t chunks = (count + grain - 1) / grain;
        for (int thread = 0; thread < count_; ++thread) {
            slices_[thread].next.store(chunks * thread / count_ * grain, std::memory_order_relaxed);
            const int64_t end = chunks * (thread + 1) / count_ * grain;
            slices_[thread].end = end < count ? end : count;
        }
        const uint64_t epoch = (state_.load(std::memory_order_relaxed) >> 32) + 1;
        left_.store(0, std::memory_order_relaxed);
        state_.store(epoch << 32, std::memory_order_release);
        announce();
        take_chunks(0);
        const uint64_t inside = state_.fetch_or(CLOSED, std::memory_order_acq_rel) & (CLOSED - 1);
        for (int spin = 0; left_.load(std::memory_order_acquire) != inside; ++spin) {
            if (spin < SPINS)
                pause();
            else
                std::this_thread::yield();
        }
    }

  private:
    void announce() {
        signal_.fetch_add(1);
        signal_.notify_all();
    }

    void take_chunks(int thread) {
        for (int turn = 0; turn < count_; ++turn) {
            Slice& slice = slices_[(thread + turn) % count_];
            while (slice.next.load(std::memory_order_relaxed) < slice.end) {
                const int64_t begin = slice.next.fetch_add(grain_, std::memory_order_relaxed);
                if (begin >= slice.end) break;
                const int64_t end = begin + grain_ < slice.end ? begin + grain_ : slice.end;
                range_(context_, begin, end, thread);
            }
        }
    }

    bool enter() {
        uint64_t state = state_.load(std::memory_order_acquire);
        while (!(state & CLOSED)) {
            if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) return true;
        }
        return false;
    }

    void work(int thread) {
        write_mode(STANDARD_MODE);
        uint32_t seen = 0;
        while (true) {
            for (int spin = 0; spin < SPINS && signal_.load(std::memory_order_acquire) == seen; ++spin) pause();
            signal_.wait(seen);
            seen = signal_.load(std::memory_order_acquire);
            if (stop_.load()) return;
            if (enter()) {
                take_chunks(thread);
                left_.fetch_add(1, std::memory_order_release);
            }
        }
    }

    const int count_;
    std::unique_ptr<Slice[]> slices_;
    Range range_ = nullptr;
    void* context_ = nullptr;
    int64_t grain_ = 1;
    alignas(64) std::atomic<uint64_t> state_{CLOSED};
    alignas(64) std::atomic<uint64_t> left_{0};
    alignas(64) std::atomic<uint32_t> signal_{0};
    std::atomic<bool> stop_{false};
    std::vector<std::thread> workers_;
};

// Grows by mapping anew; the contents are not kept.
struct Scratch {
    void* data = nullptr;
    size_t bytes = 0;

    void* get(size_t wanted) {
        if (wanted > bytes) {
            if (data != nullptr) munmap(data, bytes);
            bytes = 0;
            const size_t size = (wanted + wanted / 4 + 4095) / 4096 * 4096;
            data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (data == MAP_FAILED) {
                data = nullptr;
                throw std::bad_alloc();
            }
            bytes = size;
        }
        return data;
    }
};

std::mutex kernel_mutex;
int wanted_threads = 1;
Pool* pool = nullptr;  // never destroyed at exit: a worker may still wait on it
Scratch shared_block;
Scratch own_blocks[MAX_THREADS];

// A fork copies only the calling thread: the child starts its own workers at its next kernel.
void before_fork() { kernel_mutex.lock(); }
void after_fork_parent() { kernel_mutex.unlock(); }
void after_fork_child() {
    pool = nullptr;
    kernel_mutex.unlock();
}
const int fork_handlers = pthread_atfork(before_fork, after_fork_parent, after_fork_child);

}  // namespace

uint64_t set_standard_mode() {
    const uint64_t mode = read_mode();
    write_mode(STANDARD_MODE);
    return mode;
}
void set_mode(uint64_t mode) { write_mode(mode); }

FloatingPointMode::FloatingPointMode() : saved_(set_standard_mode()) {}
FloatingPointMode::~FloatingPointMode() { set_mode(saved_); }

KernelLock::KernelLock() { kernel_mutex.lock(); }
KernelLock::~KernelLock() { kernel_mutex.unlock(); }

void set_num_threads(int count) {
    KernelLock lock;
    wanted_threads = count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : count;
    if (pool != nullptr && pool->count() != wanted_threads) {
        delete pool;
        pool = nullptr;
    }
}

int num_threads() {
    (void)fork_handlers;
    return wanted_threads;
}

void parallel_ranges(int64_t count, int64_t grain, Range range, void* context) {
    if (count <= 0) return;
    if (wanted_threads == 1 || count <= grain) {
        for (int64_t begin = 0; begin < count; begin += grain)
            range(context, begin, begin + grain < count ? begin + grain : count, 0);
        return;
    }
    if (pool == nullptr) pool = new Pool(wanted_threads);
    pool->run(count, grain, range, context);
}

void* shared_scratch(size_t bytes) { return shared_block.get(bytes); }
void reserve_own_scratch(size_t bytes_a_thread) {
    for (int thread = 0; thread < wanted_threads; ++thread) own_blocks[thread].get(bytes_a_thread);
}
void* own_scratch(int thread) { return own_blocks[thread].data; }

size_t scratch_bytes() {
    size_t total = shared_block.bytes;
    for (const Scratch& block : own_blocks) total += block.bytes;
    return total;
}

}  // namespace shoestring
