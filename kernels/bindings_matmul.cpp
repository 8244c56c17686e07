// Python bindings of matrices: packing, reading back, products, routing.
#include "bindings.h"

#include <nanobind/stl/string_view.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

#include "matrix.h"

namespace shoestring {

WeightType weight_type(std::string_view name) {
    for (int i = 0; i < NUM_WEIGHT_TYPES; ++i) {
        if (name == FORMATS[i].name) return static_cast<WeightType>(i);
    }
    throw nb::value_error(("the kernels have no weight type " + std::string(name)).c_str());
}

namespace {

using namespace nb::literals;

// FORMATS as tuples: name, columns of a block, its bytes in a file, bytes of 16 rows' blocks packed, and in what blocks
// of int8 a product reads the activations (0: as floats).
nb::list weight_formats() {
    nb::list formats;
    for (const WeightFormat& f : FORMATS) {
        const int activation = f.activation == Activation::FLOAT ? 0 : f.activation == Activation::INT8_32 ? 32 : 256;
        formats.append(nb::make_tuple(f.name, f.block, f.file_bytes, f.packed_bytes, activation));
    }
    return formats;
}

// Checks that every element lies inside the data, without overflow for any numbers that a file may hold.
Region checked_region(const In<uint8_t, 1>& data, int64_t item_bytes, int64_t block, int64_t rows, int64_t columns,
                      int64_t offset, int64_t row_stride, int64_t column_stride) {
    constexpr int64_t LARGEST = int64_t{1} << 46;
    const auto small = [](int64_t n) { return n >= 0 && n <= LARGEST; };
    require(rows >= 1 && columns >= 1 && small(rows) && small(columns), "rows and columns: at least 1");
    require(columns % block == 0, "columns: not a multiple of the type's block");
    require(small(offset) && small(row_stride) && small(column_stride), "offset and strides: not negative");
    if (block > 1) column_stride = 0;
    const __int128 last_row = static_cast<__int128>(rows - 1) * row_stride;
    const __int128 last_column = block > 1 ? static_cast<__int128>(columns / block - 1) * item_bytes
                                           : static_cast<__int128>(columns - 1) * column_stride;
    require(offset + last_row + last_column + item_bytes <= data.size(), "the region does not lie inside the data");
    return {data.data() + offset, rows, columns, row_stride, column_stride};
}

Region checked_region(const In<uint8_t, 1>& data, WeightType type, int64_t rows, int64_t columns, int64_t offset,
                      int64_t row_stride, int64_t column_stride) {
    const WeightFormat& f = format(type);
    return checked_region(data, f.file_bytes, f.block, rows, columns, offset, row_stride, column_stride);
}

Matrix* pack(In<uint8_t, 1> data, std::string_view type_name, int64_t rows, int64_t columns, int64_t offset,
             int64_t row_stride, int64_t column_stride, bool drop_pages) {
    const WeightType type = weight_type(type_name);
    const Region region = checked_region(data, type, rows, columns, offset, row_stride, column_stride);
    KernelScope scope;
    return new Matrix(pack_matrix(type, region, drop_pages));
}

// The packed bytes, as a slot of an arena has them.
void copy_packed(const Matrix& matrix, Out<uint8_t, 1> out) {
    require(static_cast<size_t>(out.size()) == matrix.bytes.size, "copy_packed: out has the matrix's nbytes");
    std::copy_n(matrix.view.data, matrix.bytes.size, out.data());
}

// A matrix whose packed bytes lie in an arena, which it keeps alive; they may still be arriving.
Matrix* matrix_at(In<uint8_t, 1> arena, int64_t offset, std::string_view type_name, int64_t rows, int64_t columns) {
    constexpr int64_t LARGEST = int64_t{1} << 31;
    const WeightType type = weight_type(type_name);
    require(rows >= 1 && columns >= 1 && rows <= LARGEST && columns <= LARGEST, "rows and columns: at least 1");
    require(columns % format(type).block == 0, "columns: not a multiple of the type's block");
    const int64_t bytes = num_groups(rows) * group_bytes(type, columns);
    require(offset >= 0 && offset <= arena.size() && bytes <= arena.size() - offset,
            "the matrix does not lie inside the arena");
    const uint8_t* begin = arena.data() + offset;
    require(reinterpret_cast<uintptr_t>(begin) % 64 == 0, "a matrix begins at a multiple of 64 bytes");
    PyObject* owner = reinterpret_cast<PyObject*>(arena.array);
    Py_INCREF(owner);
    const std::shared_ptr<uint8_t> data(const_cast<uint8_t*>(begin), [owner](uint8_t*) {
        nb::gil_scoped_acquire lock;
        Py_DECREF(owner);
    });
    return new Matrix{{type, rows, columns, begin}, {data, static_cast<size_t>(bytes)}};
}

template <typename Body>
void for_rows(int64_t rows, int64_t columns, const Body& body) {
    parallel_for(rows, 1 + 65536 / columns, [&](int64_t begin, int64_t end, int) { body(begin, end); });
}

void to_float32(In<uint8_t, 1> data, std::string_view type_name, int64_t offset, int64_t row_stride,
                int64_t column_stride, Out<float, 2> out) {
    const WeightType type = weight_type(type_name);
    const int64_t rows = out.shape(0), columns = out.shape(1);
    const Region region = checked_region(data, type, rows, columns, offset, row_stride, column_stride);
    float* numbers = out.data();
    KernelScope scope;
    for_rows(rows, columns,
             [&](int64_t begin, int64_t end) { dequantize_rows(type, region, begin, end, numbers + begin * columns); });
}

void widen_fp8(In<uint8_t, 1> data, In<float, 2> scale, int64_t offset, int64_t row_stride, int64_t column_stride,
               Out<float, 2> out) {
    const int64_t rows = out.shape(0), columns = out.shape(1);
    const Region region = checked_region(data, 1, 1, rows, columns, offset, row_stride, column_stride);
    require(scale.shape(0) == (rows + 127) / 128 && scale.shape(1) == (columns + 127) / 128,
            "scale: one number a 128 x 128 block");
    const float* scales = scale.data();
    float* numbers = out.data();
    KernelScope scope;
    for_rows(rows, columns, [&](int64_t begin, int64_t end) {
        widen_fp8_rows(region, scales, begin, end, numbers + begin * columns);
    });
}

void add_one(In<float, 1> vector, Out<float, 1> out) {
    require(vector.size() == out.size(), "add_one: as many numbers out as in");
    KernelScope scope;
    for (int64_t i = 0; i < out.size(); ++i) out.data()[i] = vector.data()[i] + 1.0f;
}

void embed(const Matrix& table, In<int32_t, 1> token_ids, Out<float, 2> out) {
    const int64_t tokens = token_ids.size(), columns = table.view.columns;
    require(out.shape(0) == tokens && out.shape(1) == columns, "embed: out is [tokens, columns]");
    const int32_t* ids = token_ids.data();
    for (int64_t t = 0; t < tokens; ++t) require(ids[t] >= -1 && ids[t] < table.view.rows, "embed: no such token id");
    float* numbers = out.data();
    KernelScope scope;
    for_rows(tokens, columns, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
            if (ids[t] >= 0) dequantize_packed_row(table.view, ids[t], numbers + t * columns);
        }
    });
}

void run_jobs(const In<float, 2>& x, const MatmulJob* jobs, size_t count) {
    const float* activations = x.data();
    const int64_t tokens = x.shape(0);
    KernelScope scope;
    const MatmulTable& table = *active().matmul;
    if (tokens <= FEW_ROWS)
        table.products({activations, tokens, x.shape(1), nullptr, 0.0f, nullptr}, jobs, static_cast<int>(count), false);
    else
        table.matmul(activations, tokens, jobs, static_cast<int>(count));
}

MatmulJob checked_job(const In<float, 2>& x, const Matrix& weight, const Out<float, 2>& out) {
    require(x.shape(1) == weight.view.columns, "matmul: x has another number of columns than the weight");
    require(out.shape(0) == x.shape(0) && out.shape(1) == weight.view.rows,
            "matmul: out is [rows of x, rows of weight]");
    return {weight.view, out.data()};
}

void matmul(In<float, 2> x, const Matrix& weight, Out<float, 2> out) {
    const MatmulJob job = checked_job(x, weight, out);
    run_jobs(x, &job, 1);
}

void matmuls(In<float, 2> x, nb::sequence weights, nb::sequence outs) {
    constexpr size_t MOST = 16;
    MatmulJob jobs[MOST];
    const size_t count = nb::len(weights);
    require(count <= MOST && nb::len(outs) == count, "matmuls: up to 16 weights, an output for each");
    for (size_t i = 0; i < count; ++i)
        jobs[i] = checked_job(x, nb::cast<const Matrix&>(weights[i]), nb::cast<Out<float, 2>>(outs[i]));
    run_jobs(x, jobs, count);
}

template <auto MatmulTable::* function>
void route(In<float, 2> scores, Out<int32_t, 2> ids, Out<float, 2> weights) {
    const int64_t rows = scores.shape(0), experts = scores.shape(1), top = ids.shape(1);
    require(top >= 1 && top <= experts, "route: more experts a token than there are");
    require(ids.shape(0) == rows && weights.shape(0) == rows && weights.shape(1) == top,
            "route: ids, weights [rows, top]");
    const float* in = scores.data();
    int32_t* chosen = ids.data();
    float* factors = weights.data();
    KernelScope scope;
    (active().matmul->*function)(in, rows, experts, top, chosen, factors);
}

}  // namespace

void bind_matmul(nb::module_& module) {
    nb::class_<Matrix>(module, "Matrix")
        .def_prop_ro("type", [](const Matrix& m) { return format(m.view.type).name; })
        .def_prop_ro("rows", [](const Matrix& m) { return m.view.rows; })
        .def_prop_ro("columns", [](const Matrix& m) { return m.view.columns; })
        .def_prop_ro("nbytes", [](const Matrix& m) { return m.bytes.size; })
        .def("copy_packed", copy_packed, "out"_a);
    module.def("weight_formats", weight_formats);
    module.def("pack", pack, "data"_a, "tensor_type"_a, "rows"_a, "columns"_a, "offset"_a, "row_stride"_a,
               "column_stride"_a, "drop_pages"_a, nb::rv_policy::take_ownership);
    module.def("matrix_at", matrix_at, nb::rv_policy::take_ownership);
    module.def("to_float32", to_float32);
    module.def("widen_fp8", widen_fp8);
    module.def("add_one", add_one);
    module.def("embed", embed);
    module.def("matmul", matmul);
    module.def("matmuls", matmuls);
    module.def("route_softmax", route<&MatmulTable::route_softmax>);
    module.def("route_sigmoid", route<&MatmulTable::route_sigmoid>);
}

}  // namespace shoestring
