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

// Items of a phase that are computed.
struct alignas(64) Done {
    std::atomic<int64_t> items{0};
};

// A parallel region is open or closed; workers enter only an open one, so that the caller never waits for a
// worker that the machine has not scheduled yet. State: (epoch << 32) | (closed << 31) | workers inside.
constexpr uint64_t CLOSED = uint64_t{1} << 31;

class Pool {
  public:
    explicit Pool(int count) : count_(count) {
        for (int thread = 1; thread < count; ++thread) workers_.emplace_back([this, thread] { work(thread); });
    }

    ~Pool() {
        stop_.store(true);
        announce();
        for (std::thread& worker : workers_) worker.join();
    }

    int count() const { return count_; }

    void run(const Phase* phases, int num_phases) {
        const size_t wanted = static_cast<size_t>(num_phases);
        if (wanted > most_phases_) {
            // No worker reads them now: it leaves a region before the region ends.
            slices_.reset(new Slice[wanted * static_cast<size_t>(count_)]);
            done_.reset(new Done[wanted]);
            most_phases_ = wanted;
        }
        phases_ = phases;
        num_phases_ = num_phases;
        for (int p = 0; p < num_phases; ++p) cut(p);
        const uint64_t epoch = (state_.load(std::memory_order_relaxed) >> 32) + 1;
        left_.store(0, std::memory_order_relaxed);
        state_.store(epoch << 32, std::memory_order_release);
        announce();
        take_part(0);
        const uint64_t inside = state_.fetch_or(CLOSED, std::memory_order_acq_rel) & (CLOSED - 1);
        wait_until([&] { return left_.load(std::memory_order_acquire) == inside; });
    }

  private:
    void announce() {
        signal_.fetch_add(1);
        signal_.notify_all();
    }

    template <class Condition>
    static void wait_until(const Condition& condition) {
        for (int spin = 0; !condition(); ++spin) {
            if (spin < SPINS)
                pause();
            else
                std::this_thread::yield();
        }
    }

    Slice* slices_of(int phase) { return slices_.get() + static_cast<size_t>(phase) * static_cast<size_t>(count_); }

    // A slice of a phase for each thread.
    void cut(int phase) {
        const int64_t count = phases_[phase].count, grain = phases_[phase].grain;
        const int64_t chunks = (count + grain - 1) / grain;
        Slice* slices = slices_of(phase);
        for (int thread = 0; thread < count_; ++thread) {
            slices[thread].next.store(chunks * thread / count_ * grain, std::memory_order_relaxed);
            const int64_t end = chunks * (thread + 1) / count_ * grain;
            slices[thread].end = end < count ? end : count;
        }
        done_[phase].items.store(0, std::memory_order_relaxed);
    }

    // All phases in turn. A phase begins when the one before has no chunk left that is computed.
    void take_part(int thread) {
        for (int p = 0; p < num_phases_; ++p) {
            const int64_t items = take_chunks(p, thread);
            if (p + 1 == num_phases_) return;
            std::atomic<int64_t>& done = done_[p].items;
            if (items > 0) done.fetch_add(items, std::memory_order_acq_rel);
            const int64_t count = phases_[p].count;
            wait_until([&] { return done.load(std::memory_order_acquire) == count; });
        }
    }

    int64_t take_chunks(int p, int thread) {
        const Phase& phase = phases_[p];
        Slice* slices = slices_of(p);
        int64_t items = 0;
        for (int turn = 0; turn < count_; ++turn) {
            Slice& slice = slices[(thread + turn) % count_];
            while (slice.next.load(std::memory_order_relaxed) < slice.end) {
                const int64_t begin = slice.next.fetch_add(phase.grain, std::memory_order_relaxed);
                if (begin >= slice.end) break;
                const int64_t end = begin + phase.grain < slice.end ? begin + phase.grain : slice.end;
                phase.range(phase.context, begin, end, thread);
                items += end - begin;
            }
        }
        return items;
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
                take_part(thread);
                left_.fetch_add(1, std::memory_order_release);
            }
        }
    }

    const int count_;
    std::unique_ptr<Slice[]> slices_;  // [phases][threads]
    std::unique_ptr<Done[]> done_;     // of each phase
    size_t most_phases_ = 0;
    const Phase* phases_ = nullptr;
    int num_phases_ = 0;
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
int64_t regions = 0;   // under the mutex
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

int64_t num_regions() { return regions; }

void parallel_phases(const Phase* phases, int num_phases) {
    bool alone = wanted_threads == 1;
    if (!alone) {
        alone = true;
        for (int p = 0; p < num_phases; ++p) alone = alone && phases[p].count <= phases[p].grain;
    }
    if (alone) {
        for (int p = 0; p < num_phases; ++p) {
            const Phase& phase = phases[p];
            for (int64_t begin = 0; begin < phase.count; begin += phase.grain) {
                const int64_t end = begin + phase.grain < phase.count ? begin + phase.grain : phase.count;
                phase.range(phase.context, begin, end, 0);
            }
        }
        return;
    }
    if (pool == nullptr) pool = new Pool(wanted_threads);
    ++regions;
    pool->run(phases, num_phases);
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
