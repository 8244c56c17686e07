// The thread pool: persistent workers that spin briefly, then sleep; the caller takes part.
//
// Work is cut into contiguous slices of the output, one a thread; a thread that is done takes chunks from the
// slices of others. Who computes a chunk changes no bits. Workers run with the floating-point mode of
// docs/numerics.md; the caller sets its own through FloatingPointMode. Only one kernel runs at a time: who calls
// parallel_for or scratch holds a KernelLock.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shoestring {

// Rounds to nearest even, keeps subnormals, without traps; restores the old mode at the end of the scope.
class FloatingPointMode {
  public:
    FloatingPointMode();
    ~FloatingPointMode();
    FloatingPointMode(const FloatingPointMode&) = delete;
    FloatingPointMode& operator=(const FloatingPointMode&) = delete;

  private:
    uint64_t saved_;
};

// The same for a caller that runs several kernels, and Python between them: `set_standard_mode` returns the mode to
// give to `set_mode` at the end, in the same thread.
uint64_t set_standard_mode();
void set_mode(uint64_t mode);

// Held while a kernel runs.
class KernelLock {
  public:
    KernelLock();
    ~KernelLock();
    KernelLock(const KernelLock&) = delete;
    KernelLock& operator=(const KernelLock&) = delete;
};

constexpr int MAX_THREADS = 256;

// Threads that compute, the caller included; 1 … MAX_THREADS. Takes the KernelLock itself.
void set_num_threads(int count);
int num_threads();

using Range = void (*)(void* context, int64_t begin, int64_t end, int thread);

// range(context, begin, end, thread) over [0, count) in chunks of at most `grain`.
struct Phase {
    int64_t count, grain;
    Range range;
    void* context;
};

// The phases in turn, on all threads, in one parallel region: a phase sees all that the one before has written. What
// one chunk holds alone is computed without a region.
void parallel_phases(const Phase* phases, int num_phases);

// Parallel regions so far. Read it under the KernelLock.
int64_t num_regions();

// Memory until the kernel ends: `shared` is one block, `own` one block per thread; 64-byte aligned. Blocks grow and
// are reused. A second call within a kernel may move the blocks and loses their contents. Throw std::bad_alloc.
void* shared_scratch(size_t bytes);
void reserve_own_scratch(size_t bytes_a_thread);
void* own_scratch(int thread);

// Bytes that the scratch blocks hold.
size_t scratch_bytes();

// A phase of body(begin, end, thread); body must outlive it.
template <class Body>
static inline Phase phase_of(int64_t count, int64_t grain, const Body& body) {
    return {count, grain,
            [](void* context, int64_t begin, int64_t end, int thread) {
                (*static_cast<const Body*>(context))(begin, end, thread);
            },
            const_cast<Body*>(&body)};
}

template <class Body>
static inline void parallel_for(int64_t count, int64_t grain, const Body& body) {
    const Phase phase = phase_of(count, grain, body);
    parallel_phases(&phase, 1);
}

}  // namespace shoestring
