// How fast matrices are multiplied, by type and number of rows: GOP a second, and GB of packed weights a second.
//
//     cmake --build build/release --target products && build/release/products [THREADS] [TYPE …]
//
// The weights are 2048 x 2048 (SIZE=4096 in the environment: another size), as many of them as fill 256 MB, used in
// turn, so that few rows read from memory. Each figure is the median of five passes. SHOESTRING_ISA chooses a variant.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "dispatch.h"
#include "matrix.h"
#include "parallel.h"

using namespace shoestring;

namespace {

constexpr int64_t TOTAL = int64_t{256} << 20, MOST_TOKENS = 512;

double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Any bytes that stand for finite numbers below 2.
std::vector<uint8_t> file_of(WeightType type, int64_t size) {
    const WeightFormat& f = format(type);
    std::vector<uint8_t> file(static_cast<size_t>(size * size / f.block * f.file_bytes));
    uint32_t state = 1;
    for (uint8_t& byte : file) byte = static_cast<uint8_t>((state = state * 1664525u + 1013904223u) >> 24) & 0xbf;
    // Floats around 1: subnormal ones would take a hundred times as long.
    const size_t item = static_cast<size_t>(f.file_bytes);
    for (size_t at = item - 1; f.block == 1 && at < file.size(); at += item) file[at] = 0x3c | (file[at] & 0x83);
    return file;
}

void measure(WeightType type, int64_t size) {
    const WeightFormat& f = format(type);
    const std::vector<uint8_t> file = file_of(type, size);
    const Region region{file.data(), size, size, size / f.block * f.file_bytes, f.block == 1 ? f.file_bytes : 0};
    const int64_t bytes = num_groups(size) * group_bytes(type, size), count = std::max<int64_t>(2, TOTAL / bytes);
    std::vector<PackedBytes> matrices;
    for (int64_t i = 0; i < count; ++i) {
        matrices.push_back(allocate_packed(static_cast<size_t>(bytes)));
        pack_groups(type, region, 0, num_groups(size), matrices.back().data.get(), false);
    }
    std::vector<float> x(static_cast<size_t>(MOST_TOKENS * size)), out(static_cast<size_t>(MOST_TOKENS * size));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 251) - 125.0f;
    std::printf("%-5s", f.name);
    for (int64_t tokens : {1, 2, 4, 6, 8, 12, 16, 64, 512}) {
        const int64_t calls = std::max<int64_t>(3, count / (1 + tokens / 4));
        std::vector<double> times;
        for (int pass = 0; pass < 5; ++pass) {
            const double begin = seconds_now();
            for (int64_t i = 0; i < calls; ++i) {
                const MatmulJob job{{type, size, size, matrices[static_cast<size_t>(i % count)].data.get()},
                                    out.data()};
                active().matmul->matmul(x.data(), tokens, &job, 1);
            }
            times.push_back((seconds_now() - begin) / static_cast<double>(calls));
        }
        std::sort(times.begin(), times.end());
        const double gops = 2e-9 * static_cast<double>(tokens * size * size) / times[2];
        if (tokens == 1) std::printf("  %6.1f GB/s", 1e-9 * static_cast<double>(bytes) / times[2]);
        std::printf("  %lld: %6.1f", static_cast<long long>(tokens), gops);
    }
    std::printf("\n");
    std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
    set_num_threads(count > 1 ? std::atoi(arguments[1]) : 2);
    const char* wanted_size = std::getenv("SIZE");
    const int64_t size = wanted_size != nullptr ? std::atoll(wanted_size) : 2048;
    KernelLock lock;
    FloatingPointMode mode;
    std::printf("%s, %d threads, %lld x %lld; weights of one row in GB/s, then rows: GOP/s\n", active().name,
                num_threads(), static_cast<long long>(size), static_cast<long long>(size));
    for (int i = 0; i < NUM_WEIGHT_TYPES; ++i) {
        const WeightType type = static_cast<WeightType>(i);
        bool wanted = count < 3;
        for (int a = 2; a < count; ++a) wanted = wanted || std::strcmp(arguments[a], format(type).name) == 0;
        if (wanted) measure(type, size);
    }
}
