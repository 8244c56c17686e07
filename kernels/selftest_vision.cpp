// The vision family: every variant against the scalar one, against guard pages.
#include "selftest.h"

#include "parallel.h"

namespace shoestring::selftest {
namespace {

using F = Guarded<float>;

// call(table, out) by the variant and by the scalar one, both over a copy of x.
template <class Call>
int both(const Variant& variant, const char* what, const F& x, int64_t size, const Call& call) {
    F ours(x.size()), scalar(x.size());
    ours.copy_from(x);
    scalar.copy_from(x);
    call(*variants().front().vision, scalar.data());
    call(*variant.vision, ours.data());
    if (&variant == &variants().front()) note(what, scalar);
    return expect(ours.same_as(scalar), variant.name, what, size);
}

int rows_of(const Variant& variant, int64_t n) {
    if (!next_case()) return 0;
    constexpr int64_t ROWS = 3;
    F x(ROWS * n), y(ROWS * n), weight(n), bias(n);
    Numbers numbers(static_cast<uint64_t>(n));
    for (const F* f : {&x, &y, &weight, &bias}) numbers.fill(*f);
    int failures = both(variant, "layer_norm", x, n, [&](const VisionTable& k, float* out) {
        k.layer_norm(x.data(), weight.data(), bias.data(), n, 1e-6f, out, 0, ROWS);
    });
    for (Nonlinearity function : {Nonlinearity::NONE, Nonlinearity::GELU_TANH, Nonlinearity::GELU_ERF})
        failures += both(variant, "activate", x, n, [&](const VisionTable& k, float* out) {
            k.activate(out, function == Nonlinearity::GELU_ERF ? nullptr : bias.data(), function, n, 0, ROWS);
        });
    return failures + both(variant, "add_biased", x, n, [&](const VisionTable& k, float* out) {
               k.add_biased(out, y.data(), bias.data(), n, 0, ROWS);
           });
}

int positions(const Variant& variant, int64_t n, int64_t side) {
    if (!next_case()) return 0;
    constexpr int64_t ROWS = 6, COLUMNS = 10;
    F table(side * side * n), x(ROWS * COLUMNS * n);
    Numbers numbers(static_cast<uint64_t>(side));
    numbers.fill(table);
    numbers.fill(x);
    return both(variant, "grid_positions", x, side, [&](const VisionTable& k, float* out) {
        k.grid_positions({table.data(), side, n, ROWS, COLUMNS, 2, out}, 0, ROWS * COLUMNS);
    });
}

int attention(const Variant& variant, int64_t rows, int head_dim) {
    if (!next_case()) return 0;
    constexpr int HEADS = 2;
    F q(rows * HEADS * head_dim), k(q.size()), v(q.size());
    Numbers numbers(static_cast<uint64_t>(rows));
    for (const F* f : {&q, &k, &v}) numbers.fill(*f);
    return both(variant, "attention of a part", q, rows, [&](const VisionTable& table, float* out) {
        const PartAttention op{q.data(), k.data(), v.data(), rows, HEADS, head_dim, 0.25f, out};
        F panels(table.part_panel_floats(rows, head_dim)), scratch(table.part_scratch_floats(head_dim));
        for (int head = 0; head < HEADS; ++head) {
            table.part_pack(op, head, panels.data(), 0, (rows + PART_BLOCK - 1) / PART_BLOCK);
            table.part_attend(op, head, panels.data(), scratch.data(), 0, (rows + PART_ROWS - 1) / PART_ROWS);
        }
    });
}

}  // namespace

int vision() {
    KernelLock lock;
    FloatingPointMode mode;
    int failures = 0;
    for (const Variant& variant : variants()) {
        for (int64_t n : {1, 15, 16, 17, 31, 32, 33, 100, 1152}) failures += rows_of(variant, n);
        for (int64_t side : {1, 2, 5, 48}) failures += positions(variant, 20, side);
        for (int64_t rows : {1, 47, 64, 65, 200})
            for (int head_dim : {1, 16, 72}) failures += attention(variant, rows, head_dim);
    }
    return failures;
}

}  // namespace shoestring::selftest
