// Python bindings of machine_limits.h: how long all threads take for so much of one thing.
#include "bindings.h"

#include <nanobind/stl/string_view.h>

#include <chrono>
#include <string>
#include <string_view>

namespace shoestring {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// (operations of all threads, seconds) of `rounds` rounds a thread.
nb::tuple run_peak(std::string_view what, int64_t rounds) {
    const MatmulTable& table = *active().matmul;
    const auto run = what == "dot"          ? table.run_dots
                     : what == "signed dot" ? table.run_signed_dots
                     : what == "fma"        ? table.run_fmas
                                            : nullptr;
    require(run != nullptr && rounds >= 1 && rounds <= int64_t{1} << 32,
            "run_peak: dot, signed dot or fma; rounds >= 1");
    int64_t operations = 0;
    double seconds = 0;
    {
        KernelScope scope;
        const int64_t threads = num_threads();
        const auto begin = Clock::now();
        parallel_for(threads, 1, [&](int64_t, int64_t, int) { run(rounds); });
        seconds = seconds_since(begin);
        operations = threads * run(1) * rounds;
    }
    return nb::make_tuple(operations, seconds);
}

// Seconds in which all threads read the data once, without its last piece below 256 bytes.
double run_read(In<uint8_t, 1> data) {
    constexpr int64_t PIECE = 256 << 10;
    const uint8_t* bytes = data.data();
    const int64_t count = data.size() / 256 * 256;
    KernelScope scope;
    const auto begin = Clock::now();
    parallel_for((count + PIECE - 1) / PIECE, 1, [&](int64_t first, int64_t last, int) {
        for (int64_t piece = first; piece < last; ++piece) {
            const int64_t left = count - piece * PIECE;
            active().matmul->read_bytes(bytes + piece * PIECE, left < PIECE ? left : PIECE);
        }
    });
    return seconds_since(begin);
}

}  // namespace

void bind_limits(nb::module_& module) {
    module.def("run_peak", run_peak);
    module.def("run_read", run_read);
}

}  // namespace shoestring
