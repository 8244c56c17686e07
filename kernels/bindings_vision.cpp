// Python bindings of the vision family: layer norm, biases and activations, learned positions, attention of a part.
#include "bindings.h"

#include <nanobind/stl/optional.h>

#include <optional>

namespace shoestring {
namespace {

const VisionTable& kernels() { return *active().vision; }

// body(begin, end) over rows of n elements, in chunks that pay for a parallel region.
template <class Body>
void over_rows(int64_t rows, int64_t n, const Body& body) {
    parallel_for(rows, 1 + 16384 / n, [&](int64_t begin, int64_t end, int) { body(begin, end); });
}

void layer_norm(In<float, 2> x, In<float, 1> weight, In<float, 1> bias, double eps, Out<float, 2> out) {
    const int64_t rows = x.shape(0), n = x.shape(1);
    require(n > 0 && weight.shape(0) == n && bias.shape(0) == n, "layer_norm: weight and bias as long as a row of x");
    require(out.shape(0) == rows && out.shape(1) == n, "layer_norm: out has the shape of x");
    KernelScope scope;
    over_rows(rows, n, [&](int64_t begin, int64_t end) {
        kernels().layer_norm(x.data(), weight.data(), bias.data(), n, static_cast<float>(eps), out.data(), begin, end);
    });
}

void activate(Out<float, 2> x, std::optional<In<float, 1>> bias, int activation) {
    const int64_t rows = x.shape(0), n = x.shape(1);
    require(n > 0 && (!bias || bias->shape(0) == n), "activate: bias as long as a row of x");
    require(activation >= 0 && activation <= 2, "activate: activation 0 to 2");
    const float* added = bias ? bias->data() : nullptr;
    KernelScope scope;
    over_rows(rows, n, [&](int64_t begin, int64_t end) {
        kernels().activate(x.data(), added, static_cast<Nonlinearity>(activation), n, begin, end);
    });
}

void add_biased(Out<float, 2> x, In<float, 2> y, In<float, 1> bias) {
    const int64_t rows = x.shape(0), n = x.shape(1);
    require(n > 0 && y.shape(0) == rows && y.shape(1) == n, "add_biased: y has the shape of x");
    require(bias.shape(0) == n, "add_biased: bias as long as a row of x");
    KernelScope scope;
    over_rows(rows, n, [&](int64_t begin, int64_t end) {
        kernels().add_biased(x.data(), y.data(), bias.data(), n, begin, end);
    });
}

void grid_positions(Out<float, 2> x, In<float, 2> table, int64_t rows, int64_t columns, int64_t merge) {
    constexpr int64_t MOST = int64_t{1} << 20;
    const int64_t n = x.shape(1);
    int64_t side = 0;
    while (side < MOST && side * side < table.shape(0)) ++side;
    require(side > 0 && side * side == table.shape(0) && table.shape(1) == n, "table: [side · side, columns of x]");
    require(rows > 0 && columns > 0 && rows <= MOST && columns <= MOST && rows * columns == x.shape(0),
            "x: a row a patch");
    require(merge > 0 && rows % merge == 0 && columns % merge == 0, "merge: divides rows and columns");
    const GridPositions op{table.data(), side, n, rows, columns, merge, x.data()};
    KernelScope scope;
    over_rows(rows * columns, n, [&](int64_t begin, int64_t end) { kernels().grid_positions(op, begin, end); });
}

void part_attention(In<float, 3> q, In<float, 3> k, In<float, 3> v, double scale, Out<float, 3> out) {
    const int64_t rows = q.shape(0), heads = q.shape(1), head_dim = q.shape(2);
    for (int axis = 0; axis < 3; ++axis)
        require(k.shape(axis) == q.shape(axis) && v.shape(axis) == q.shape(axis) && out.shape(axis) == q.shape(axis),
                "part_attention: q, k, v and out have one shape");
    require(head_dim > 0 && head_dim <= 4096 && heads <= 4096, "part_attention: 1 to 4096 heads and dims");
    if (rows == 0) return;
    KernelScope scope;  // before the scale is rounded to float
    const PartAttention op{q.data(),
                           k.data(),
                           v.data(),
                           rows,
                           static_cast<int>(heads),
                           static_cast<int>(head_dim),
                           static_cast<float>(scale),
                           out.data()};
    const VisionTable& table = kernels();
    float* panels =
        static_cast<float*>(shared_scratch(static_cast<size_t>(table.part_panel_floats(rows, head_dim)) * 4));
    reserve_own_scratch(static_cast<size_t>(table.part_scratch_floats(head_dim)) * 4);
    for (int head = 0; head < op.heads; ++head) {
        parallel_for((rows + PART_BLOCK - 1) / PART_BLOCK, 4,
                     [&](int64_t begin, int64_t end, int) { table.part_pack(op, head, panels, begin, end); });
        parallel_for((rows + PART_ROWS - 1) / PART_ROWS, 1, [&](int64_t begin, int64_t end, int thread) {
            table.part_attend(op, head, panels, static_cast<float*>(own_scratch(thread)), begin, end);
        });
    }
}

}  // namespace

void bind_vision(nb::module_& module) {
    module.def("layer_norm", layer_norm);
    module.def("activate", activate, nb::arg("x"), nb::arg("bias").none(), nb::arg("activation"));
    module.def("add_biased", add_biased);
    module.def("grid_positions", grid_positions);
    module.def("part_attention", part_attention);
}

}  // namespace shoestring
