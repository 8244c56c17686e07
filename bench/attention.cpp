// How fast one row attends to a long past, by type of keys and values: ms a layer, GB/s, and the share of a read pass.
//
//     cmake --build build/release --target attention && build/release/attention [THREADS] [POSITIONS …]
//
// Layers of 8 heads with 2 key-value heads of 256, and of 40 with 8 of 128, with pages in random order; as many layers
// as fill 256 MB, used in turn. Each figure is the median of seven passes over all of them; the share is the median of
// shares of a pass that only reads the same memory, right after each. SHOESTRING_ISA chooses a variant.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "arena.h"
#include "dispatch.h"
#include "parallel.h"

using namespace shoestring;

namespace {

constexpr int64_t TOTAL = int64_t{256} << 20;
constexpr int PASSES = 7;

double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

// Bytes that are numbers below 2 in every type, also as scales.
void fill(uint8_t* data, int64_t bytes) {
    uint32_t state = 1;
    for (int64_t i = 0; i < bytes; ++i)
        data[i] = static_cast<uint8_t>((state = state * 1664525u + 1013904223u) >> 24) & (i % 2 ? 0xbf : 0xff);
}

void measure(KVType type, const char* name, int heads, int kv_heads, int head_dim, int64_t positions) {
    const SequenceTable& kernels = *active().sequence;
    const int64_t pages = (positions + PAGE_TOKENS - 1) / PAGE_TOKENS, group = heads / kv_heads;
    const int64_t pool = pages * kv_heads * kv_bytes(type, head_dim) * PAGE_TOKENS;
    const int64_t layers = std::max<int64_t>(1, TOTAL / (2 * pool)), bytes = 2 * pool * layers;
    const std::shared_ptr<uint8_t> memory = map_arena(static_cast<size_t>(bytes));
    fill(memory.get(), bytes);
    std::vector<int32_t> order(static_cast<size_t>(pages));
    for (int64_t i = 0; i < pages; ++i) order[static_cast<size_t>(i)] = static_cast<int32_t>(i);
    std::shuffle(order.begin(), order.end(), std::mt19937(1));

    const int64_t first_page = 0, index = positions - 1, first_visible = 0;
    const std::vector<float> q(static_cast<size_t>(heads * head_dim), 0.01f);
    std::vector<float> out(q.size());
    const int64_t segments = (positions + SEGMENT_TOKENS - 1) / SEGMENT_TOKENS;
    const int64_t floats = kernels.attention_partial_floats(group, head_dim);
    std::vector<float> partials(static_cast<size_t>(kv_heads * segments * floats)), running(partials.size());
    reserve_own_scratch(static_cast<size_t>(kernels.attention_scratch_floats(group, head_dim)) * sizeof(float));

    std::vector<double> attended, shares;
    std::atomic<int64_t> sink{0};
    for (int pass = 0; pass <= PASSES; ++pass) {  // the first one warms up
        const double begin = seconds_now();
        for (int64_t layer = 0; layer < layers; ++layer) {
            const uint8_t* keys = memory.get() + 2 * layer * pool;
            const Attention op{q.data(), keys,           keys + pool, type,     {order.data(), pages, &first_page},
                               &index,   &first_visible, heads,       kv_heads, head_dim,
                               0.1f,     out.data()};
            const auto unit = [](int64_t head) { return AttentionUnit{0, 0, static_cast<int>(head), 1}; };
            const auto attend = [&](int64_t from, int64_t to, int thread) {
                for (int64_t i = from; i < to; ++i)
                    kernels.attention_segment(op, unit(i / segments), i % segments,
                                              static_cast<float*>(own_scratch(thread)), partials.data() + i * floats);
            };
            const auto merge = [&](int64_t from, int64_t to, int) {
                for (int64_t h = from; h < to; ++h)
                    kernels.attention_merge(op, unit(h), partials.data() + h * segments * floats, segments,
                                            running.data() + h * floats, true, true);
            };
            const Phase phases[] = {phase_of(kv_heads * segments, 1, attend), phase_of(kv_heads, 1, merge)};
            parallel_phases(phases, 2);
        }
        const double middle = seconds_now();
        parallel_for(num_threads(), 1, [&](int64_t from, int64_t to, int) {
            const int64_t part = bytes / num_threads();
            for (int64_t i = from; i < to; ++i) sink += active().matmul->read_bytes(memory.get() + i * part, part);
        });
        if (pass == 0) continue;
        attended.push_back(middle - begin);
        shares.push_back((seconds_now() - middle) / (middle - begin));
    }
    const double seconds = median(attended);
    std::printf("%2d / %d x %d, %6lld positions, %-4s  %7.3f ms a layer  %5.1f GB/s  %3.0f %% of a read pass\n", heads,
                kv_heads, head_dim, static_cast<long long>(positions), name,
                1e3 * seconds / static_cast<double>(layers), 1e-9 * static_cast<double>(bytes) / seconds,
                100 * median(shares));
    std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
    set_num_threads(count > 1 ? std::atoi(arguments[1]) : 2);
    std::vector<int64_t> wanted;
    for (int i = 2; i < count; ++i) wanted.push_back(std::atoll(arguments[i]));
    if (wanted.empty()) wanted = {16000, 32768, 131072};
    KernelLock lock;
    FloatingPointMode mode;
    std::printf("%s, %d threads\n", active().name, num_threads());
    for (const int64_t positions : wanted)
        for (const auto& [heads, kv_heads, head_dim] : {std::array{8, 2, 256}, std::array{40, 8, 128}}) {
            measure(KVType::F16, "f16", heads, kv_heads, head_dim, positions);
            measure(KVType::Q8_0, "q8_0", heads, kv_heads, head_dim, positions);
        }
}
