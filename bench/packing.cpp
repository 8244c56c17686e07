// How fast weights are packed, by type: GB of file bytes a second.
//
//     cmake --build build/release --target packing && build/release/packing [THREADS]
//
// Each thread packs pieces of half a megabyte, which stay in its cache as a piece that was just read does, to ever new
// places of 256 MB. Seconds are those of the threads' CPU time, so that other programs disturb little.
// SHOESTRING_ISA=scalar measures the plain form.
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "matrix.h"

using namespace shoestring;

namespace {

constexpr int64_t PIECE = 512 << 10, ARENA = int64_t{256} << 20, COLUMNS = 2048;

double cpu_seconds() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// GB a second of all threads.
double rate(WeightType type, bool transposed, int threads) {
    const WeightFormat& f = format(type);
    const int64_t row_bytes = COLUMNS / f.block * f.file_bytes, rows = PIECE / row_bytes / GROUP_ROWS * GROUP_ROWS;
    const int64_t packed = num_groups(rows) * group_bytes(type, COLUMNS);
    static const PackedBytes arena = allocate_packed(static_cast<size_t>(ARENA));
    std::memset(arena.data.get(), 0, static_cast<size_t>(ARENA));
    std::vector<std::thread> workers;
    std::vector<double> rates(static_cast<size_t>(threads));
    for (int t = 0; t < threads; ++t)
        workers.emplace_back([&, t] {
            std::vector<uint8_t> file(static_cast<size_t>(rows * row_bytes), static_cast<uint8_t>(t + 1));
            const Region region = transposed
                                      ? Region{file.data(), rows, COLUMNS, f.file_bytes, rows * f.file_bytes}
                                      : Region{file.data(), rows, COLUMNS, row_bytes, f.block == 1 ? f.file_bytes : 0};
            const int64_t share = ARENA / threads, places = share / packed;
            const double begin = cpu_seconds();
            double seconds = 0;
            int64_t count = 0;
            for (; seconds < 0.2; ++count) {
                pack_groups(type, region, 0, num_groups(rows), arena.data.get() + t * share + count % places * packed,
                            false);
                seconds = cpu_seconds() - begin;
            }
            rates[static_cast<size_t>(t)] = static_cast<double>(count * rows * row_bytes) / seconds / 1e9;
        });
    for (std::thread& worker : workers) worker.join();
    double sum = 0;
    for (double r : rates) sum += r;
    return sum;
}

}  // namespace

int main(int count, char** arguments) {
    const int threads = count > 1 ? std::atoi(arguments[1]) : 2;
    std::printf("%d threads\n", threads);
    for (int i = 0; i < NUM_WEIGHT_TYPES; ++i) {
        const WeightType type = static_cast<WeightType>(i);
        std::printf("%-5s %6.1f GB/s", format(type).name, rate(type, false, threads));
        if (format(type).block == 1) std::printf("   transposed %6.1f GB/s", rate(type, true, threads));
        std::printf("\n");
    }
}
