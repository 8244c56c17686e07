// Python bindings of machine_limits.h: how long all threads take for so much of one thing.
#include "bindings.h"

#include <nanobind/stl/string_view.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "matrix.h"

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

// Seconds in which all threads read the matrices and the arrays once, in this order, each without its last piece below
// 256 bytes.
double run_read(nb::sequence matrices, nb::sequence arrays) {
    constexpr int64_t PIECE = 256 << 10;
    struct Piece {
        const uint8_t* data;
        int64_t count;
    };
    std::vector<Piece> pieces;
    const auto add = [&](const uint8_t* data, int64_t count) {
        count = count / 256 * 256;
        for (int64_t at = 0; at < count; at += PIECE) pieces.push_back({data + at, std::min(PIECE, count - at)});
    };
    for (nb::handle item : matrices) {
        const Matrix& matrix = nb::cast<const Matrix&>(item);
        add(matrix.view.data, static_cast<int64_t>(matrix.bytes.size));
    }
    for (nb::handle item : arrays) {
        const auto array = nb::cast<In<uint8_t, 1>>(item);
        add(array.data(), array.size());
    }
    KernelScope scope;
    const auto begin = Clock::now();
    parallel_for(static_cast<int64_t>(pieces.size()), 1, [&](int64_t first, int64_t last, int) {
        for (int64_t i = first; i < last; ++i)
            active().matmul->read_bytes(pieces[static_cast<size_t>(i)].data, pieces[static_cast<size_t>(i)].count);
    });
    return seconds_since(begin);
}

}  // namespace

void bind_limits(nb::module_& module) {
    module.def("run_peak", run_peak);
    module.def("run_read", run_read);
}

}  // namespace shoestring
