// How fast matrices are multiplied, by type and number of rows: GOP a second, and GB of packed weights a second.
//
//     cmake --build build/release --target products && build/release/products [THREADS] [TYPE …]
//
// The weights are 2048 x 2048 (SIZE=4096 in the environment: another size), as many of them as fill 256 MB, used in
// turn, so that few rows read from memory. Then a mixture: 64 experts of width 512, 8 for each of 512 rows of 2048.
// Each figure is the median of five passes; a share that of the shares of the peak, which is measured anew before each
// pass. The environment: SHOESTRING_ISA chooses a variant, ROWS=64,512 the numbers of rows.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "dispatch.h"
#include "expert_pairs.h"
#include "matrix.h"
#include "parallel.h"

using namespace shoestring;

namespace {

constexpr int64_t TOTAL = int64_t{256} << 20;
constexpr int PASSES = 5;

double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

using Run = int64_t (*)(int64_t rounds);

// GOP/s of all threads: the instructions of products with nothing else, for some milliseconds.
double peak_now(Run run) {
    constexpr int64_t ROUNDS = 20000;
    const double begin = seconds_now();
    parallel_for(num_threads(), 1, [&](int64_t, int64_t, int) { run(ROUNDS); });
    return 1e-9 * static_cast<double>(num_threads() * run(1) * ROUNDS) / (seconds_now() - begin);
}

struct Rate {
    double seconds;  // a call
    double share;    // of the peak
};

// Of PASSES passes of `calls` calls each.
template <class Call>
Rate rate_of(int64_t calls, double operations, Run peak, const Call& call) {
    double times[PASSES], shares[PASSES];
    for (int pass = 0; pass < PASSES; ++pass) {
        const double limit = peak_now(peak);
        const double begin = seconds_now();
        for (int64_t i = 0; i < calls; ++i) call(i);
        times[pass] = (seconds_now() - begin) / static_cast<double>(calls);
        shares[pass] = 1e-9 * operations / times[pass] / limit;
    }
    std::sort(times, times + PASSES);
    std::sort(shares, shares + PASSES);
    return {times[PASSES / 2], shares[PASSES / 2]};
}

// Any bytes that stand for finite numbers below 2.
std::vector<uint8_t> file_of(WeightType type, int64_t rows, int64_t columns) {
    const WeightFormat& f = format(type);
    std::vector<uint8_t> file(static_cast<size_t>(rows * (columns / f.block) * f.file_bytes));
    uint32_t state = 1;
    for (uint8_t& byte : file) byte = static_cast<uint8_t>((state = state * 1664525u + 1013904223u) >> 24) & 0xbf;
    // Floats around 1: subnormal ones would take a hundred times as long.
    const size_t item = static_cast<size_t>(f.file_bytes);
    for (size_t at = item - 1; f.block == 1 && at < file.size(); at += item) file[at] = 0x3c | (file[at] & 0x83);
    return file;
}

// `count` equal matrices in memory of their own.
struct Matrices {
    std::vector<PackedBytes> owned;
    std::vector<MatrixView> views;
    int64_t bytes;

    Matrices(WeightType type, int64_t rows, int64_t columns, int64_t total)
        : bytes(num_groups(rows) * group_bytes(type, columns)) {
        const WeightFormat& f = format(type);
        const std::vector<uint8_t> file = file_of(type, rows, columns);
        const Region region{file.data(), rows, columns, columns / f.block * f.file_bytes,
                            f.block == 1 ? f.file_bytes : 0};
        for (int64_t i = 0; i < std::max<int64_t>(2, total / bytes); ++i) {
            owned.push_back(allocate_packed(static_cast<size_t>(bytes)));
            pack_groups(type, region, 0, num_groups(rows), owned.back().data.get(), false);
            views.push_back({type, rows, columns, owned.back().data.get()});
        }
    }
};

std::vector<float> activations(int64_t count) {
    std::vector<float> x(static_cast<size_t>(count));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 251) - 125.0f;
    return x;
}

void measure(WeightType type, int64_t size, const std::vector<int64_t>& rows, Run peak) {
    const Matrices matrices(type, size, size, TOTAL);
    const int64_t count = static_cast<int64_t>(matrices.views.size());
    const int64_t most = *std::max_element(rows.begin(), rows.end());
    const std::vector<float> x = activations(most * size);
    std::vector<float> out(x.size());
    for (const int64_t tokens : rows) {
        const double operations = 2 * static_cast<double>(tokens * size * size);
        const Rate rate = rate_of(std::max<int64_t>(3, count / (1 + tokens / 4)), operations, peak, [&](int64_t i) {
            const MatmulJob job{matrices.views[static_cast<size_t>(i % count)], out.data()};
            active().matmul->matmul(x.data(), tokens, &job, 1);
        });
        if (tokens == 1) std::printf("  %6.1f GB/s", 1e-9 * static_cast<double>(matrices.bytes) / rate.seconds);
        std::printf("  %lld: %6.1f", static_cast<long long>(tokens), 1e-9 * operations / rate.seconds);
        if (tokens >= 64) std::printf(" (%.0f %%)", 100 * rate.share);
    }
}

void measure_experts(WeightType type, Run peak) {
    constexpr int64_t EXPERTS = 64, TOP = 8, ROWS = 512, HIDDEN = 2048, WIDTH = 512;
    const int64_t bytes = num_groups(WIDTH) * group_bytes(type, HIDDEN);
    const Matrices wide(type, WIDTH, HIDDEN, 2 * EXPERTS * bytes), down(type, HIDDEN, WIDTH, EXPERTS * bytes);
    std::vector<ExpertView> table;
    for (size_t e = 0; e < EXPERTS; ++e) table.push_back({wide.views[2 * e], wide.views[2 * e + 1], down.views[e]});
    std::vector<int32_t> ids;
    uint32_t state = 7;
    for (int64_t row = 0; row < ROWS; ++row) {
        const int64_t start = static_cast<int64_t>((state = state * 1664525u + 1013904223u) >> 8);
        for (int64_t i = 0; i < TOP; ++i) ids.push_back(static_cast<int32_t>((start + 13 * i * i) % EXPERTS));
    }
    const std::vector<float> weights(ids.size(), 0.125f), x = activations(ROWS * HIDDEN);
    std::vector<float> out(x.size());
    const SortedPairs pairs = sort_pairs(ids.data(), weights.data(), ROWS, TOP, table, nullptr);
    const RoutedPairs routed = pairs.routed(x.data(), ROWS, false, table[0]);
    const double operations = 2 * static_cast<double>(ROWS * TOP * 3 * HIDDEN * WIDTH);
    const Rate rate = rate_of(3, operations, peak, [&](int64_t) { active().matmul->add_experts(routed, out.data()); });
    std::printf("  experts: %6.1f (%.0f %%)", 1e-9 * operations / rate.seconds, 100 * rate.share);
}

}  // namespace

int main(int count, char** arguments) {
    set_num_threads(count > 1 ? std::atoi(arguments[1]) : 2);
    const char* wanted_size = std::getenv("SIZE");
    const int64_t size = wanted_size != nullptr ? std::atoll(wanted_size) : 2048;
    std::vector<int64_t> rows{1, 2, 4, 6, 8, 12, 16, 64, 512};
    if (const char* wanted_rows = std::getenv("ROWS"); wanted_rows != nullptr) {
        rows.clear();
        for (const char* p = wanted_rows; *p != '\0'; p += *p == ',')
            rows.push_back(std::strtoll(p, const_cast<char**>(&p), 10));
    }
    KernelLock lock;
    FloatingPointMode mode;
    const MatmulTable& table = *active().matmul;
    peak_now(table.run_dots);  // starts the threads
    std::printf("%s, %d threads; peaks: bytes %.0f, int8 %.0f GOP/s, float32 %.0f GFLOP/s\n", active().name,
                num_threads(), peak_now(table.run_dots), peak_now(table.run_signed_dots), peak_now(table.run_fmas));
    std::printf("%lld x %lld; weights of one row in GB/s, then rows: GOP/s (share of the peak)\n",
                static_cast<long long>(size), static_cast<long long>(size));
    for (int i = 0; i < NUM_WEIGHT_TYPES; ++i) {
        const WeightType type = static_cast<WeightType>(i);
        bool wanted = count < 3;
        for (int a = 2; a < count; ++a) wanted = wanted || std::strcmp(arguments[a], format(type).name) == 0;
        if (!wanted) continue;
        const Run limit = format(type).activation == Activation::FLOAT ? table.run_fmas
                          : type == WeightType::Q8_0                   ? table.run_signed_dots
                                                                       : table.run_dots;
        std::printf("%-5s", format(type).name);
        measure(type, size, rows, limit);
        measure_experts(type, limit);
        std::printf("\n");
        std::fflush(stdout);
    }
}
