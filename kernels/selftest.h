// What the parts of the self-test share: arrays that end at an unmapped page, digests of results, the parts themselves.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "dispatch.h"

namespace shoestring::selftest {

// Each returns the number of failures, after printing them.
int matmul();
int pack();
int rows();
int sequence();
int vision();
int io();

// Whether the next case of a part is to be run: every one, or with `--every N` every N-th.
bool next_case();

// Takes bits that every machine must compute into the digest of `what`. All NaN are alike.
void note(const char* what, const void* data, int64_t bytes);
void note(const char* what, const float* data, int64_t count);

// `count` elements whose last one ends at a page that cannot be touched; nothing aligns their beginning.
template <class T>
class Guarded {
  public:
    explicit Guarded(int64_t count) : count_(count) {
        const size_t bytes = static_cast<size_t>(count) * sizeof(T);
        const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        mapped_ = (bytes + page - 1) / page * page + page;
        base_ = static_cast<char*>(mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (base_ == MAP_FAILED || mprotect(base_ + mapped_ - page, page, PROT_NONE) != 0) std::abort();
        data_ = reinterpret_cast<T*>(base_ + mapped_ - page - bytes);
    }
    ~Guarded() { munmap(base_, mapped_); }
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;

    T* data() const { return data_; }
    T& operator[](int64_t i) const { return data_[i]; }
    int64_t size() const { return count_; }
    bool same_as(const Guarded& other) const {
        return std::memcmp(data_, other.data_, static_cast<size_t>(count_) * sizeof(T)) == 0;
    }
    void copy_from(const Guarded& other) { std::memcpy(data_, other.data_, static_cast<size_t>(count_) * sizeof(T)); }

  private:
    int64_t count_;
    size_t mapped_;
    char* base_;
    T* data_;
};

// Numbers in [-2, 2), the same on every machine.
class Numbers {
  public:
    explicit Numbers(uint64_t seed) : state_(seed * 2 + 1) {}
    uint32_t next() {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return static_cast<uint32_t>(state_ >> 33);
    }
    void fill(const Guarded<float>& to) {
        for (int64_t i = 0; i < to.size(); ++i) to[i] = static_cast<float>(next() >> 7) * 0x1p-22f - 2.0f;
    }

  private:
    uint64_t state_;
};

template <class T>
void note(const char* what, const Guarded<T>& data) {
    if constexpr (sizeof(T) == sizeof(float))
        note(what, reinterpret_cast<const float*>(data.data()), data.size());
    else
        note(what, data.data(), data.size() * static_cast<int64_t>(sizeof(T)));
}

inline int expect(bool holds, const char* variant, const char* what, int64_t size) {
    if (!holds) std::printf("FAILED %s: %s, size %lld\n", variant, what, static_cast<long long>(size));
    return holds ? 0 : 1;
}

}  // namespace shoestring::selftest
