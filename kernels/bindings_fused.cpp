// Python bindings of fused products: few rows, their norm, and what is added to, in one parallel region.
#include "bindings.h"

#include "matrix.h"

namespace shoestring {
namespace {

using namespace nb::literals;

// normed None: the rows themselves enter.
InputRows checked_input(const In<float, 2>& x, nb::handle norm, double eps, nb::handle normed) {
    const int64_t rows = x.shape(0), columns = x.shape(1);
    require(rows <= FEW_ROWS, "x: more rows than FEW_ROWS");
    if (normed.is_none()) return {x.data(), rows, columns, nullptr, 0.0f, nullptr};
    const auto out = nb::cast<Out<float, 2>>(normed);
    const auto weight = nb::cast<In<float, 1>>(norm);
    require(out.shape(0) == rows && out.shape(1) == columns, "normed: the shape of x");
    require(weight.shape(0) == columns, "norm: as long as a row of x");
    return {x.data(), rows, columns, weight.data(), static_cast<float>(eps), out.data()};
}

void fused_matmuls(In<float, 2> x, nb::handle norm, double eps, nb::handle normed, nb::sequence weights,
                   nb::sequence outs, bool adds) {
    constexpr size_t MOST = 16;
    MatmulJob jobs[MOST];
    const size_t count = nb::len(weights);
    require(count <= MOST && nb::len(outs) == count, "fused_matmuls: up to 16 weights, an output for each");
    const InputRows in = checked_input(x, norm, eps, normed);
    for (size_t i = 0; i < count; ++i) {
        const MatrixView& weight = nb::cast<const Matrix&>(weights[i]).view;
        const auto out = nb::cast<Out<float, 2>>(outs[i]);
        require(weight.columns == in.columns, "fused_matmuls: x has another number of columns than the weight");
        require(out.shape(0) == in.rows && out.shape(1) == weight.rows,
                "fused_matmuls: out is [rows of x, rows of weight]");
        jobs[i] = {weight, out.data()};
    }
    KernelScope scope;
    active().matmul->products(in, jobs, static_cast<int>(count), adds);
}

void feed_forward(In<float, 2> x, nb::handle norm, double eps, nb::handle normed, const Matrix& gate, const Matrix& up,
                  const Matrix& down, Out<float, 2> hidden, Out<float, 2> out, bool adds) {
    const InputRows in = checked_input(x, norm, eps, normed);
    const int64_t width = gate.view.rows;
    require(gate.view.columns == in.columns && up.view.columns == in.columns && up.view.rows == width,
            "feed_forward: gate and up are [width, columns of x]");
    require(down.view.columns == width, "feed_forward: down has as many columns as gate has rows");
    require(hidden.shape(0) == in.rows && hidden.shape(1) == width, "feed_forward: hidden is [rows, width]");
    require(out.shape(0) == in.rows && out.shape(1) == down.view.rows, "feed_forward: out is [rows, rows of down]");
    const FeedForward block{gate.view, up.view, down.view, hidden.data()};
    KernelScope scope;
    active().matmul->feed_forward(in, block, adds, out.data());
}

}  // namespace

void bind_fused(nb::module_& module) {
    module.attr("FEW_ROWS") = FEW_ROWS;
    module.def("fused_matmuls", fused_matmuls, "x"_a, "norm"_a.none(), "eps"_a, "normed"_a.none(), "weights"_a,
               "outs"_a, "adds"_a);
    module.def("feed_forward", feed_forward, "x"_a, "norm"_a.none(), "eps"_a, "normed"_a.none(), "gate"_a, "up"_a,
               "down"_a, "hidden"_a, "out"_a, "adds"_a);
}

}  // namespace shoestring
