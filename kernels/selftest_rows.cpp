// The rows family: every variant against the scalar one, at every length, against guard pages.
#include "selftest.h"

namespace shoestring::selftest {
namespace {

using F = Guarded<float>;

int of_length(const Variant& variant, int64_t n) {
    const RowsTable &ours = *variant.rows, &scalar = *variants().front().rows;
    constexpr int64_t ROWS = 2;
    F x(ROWS * n), y(ROWS * n), gate(ROWS * n), weight(n), column(ROWS), a(ROWS * n), b(ROWS * n);
    Numbers numbers(static_cast<uint64_t>(n));
    for (const F* f : {&x, &y, &gate, &weight, &column}) numbers.fill(*f);
    int failures = 0;
    auto same = [&](const char* what) { failures += expect(a.same_as(b), variant.name, what, n); };
    // Both calls on the same operands; in-place ops start from x.
    auto both = [&](const char* what, auto call) {
        a.copy_from(x);
        b.copy_from(x);
        call(ours, a.data());
        call(scalar, b.data());
        same(what);
    };
    both("rms_norm",
         [&](const RowsTable& k, float* out) { k.rms_norm(x.data(), weight.data(), nullptr, n, 1e-6f, out, 0, ROWS); });
    both("gated rms_norm", [&](const RowsTable& k, float* out) {
        k.rms_norm(x.data(), weight.data(), gate.data(), n, 1e-6f, out, 0, ROWS);
    });
    both("add_gated", [&](const RowsTable& k, float* out) { k.add_gated(out, y.data(), column.data(), n, 0, ROWS); });
    both("scale_rows", [&](const RowsTable& k, float* out) { k.scale_rows(out, column.data(), n, 0, ROWS); });
    both("add", [&](const RowsTable& k, float* out) { k.add(out, y.data(), ROWS * n); });
    both("swiglu", [&](const RowsTable& k, float* out) { k.swiglu(gate.data(), y.data(), out, ROWS * n); });
    both("sigmoid_gate", [&](const RowsTable& k, float* out) { k.sigmoid_gate(out, gate.data(), ROWS * n); });
    both("negative_exp", [&](const RowsTable& k, float* out) { k.negative_exp(x.data(), out, ROWS * n); });
    both("tempered_exp", [&](const RowsTable& k, float* out) { k.tempered_exp(x.data(), ROWS * n, 2, 0.7f, out); });
    for (int which = 0; which < 5; ++which)
        both("function", [&](const RowsTable& k, float* out) { k.function(which, x.data(), out, ROWS * n); });
    if (n % 2 == 0)
        for (bool interleaved : {false, true})
            both("rotate", [&](const RowsTable& k, float* out) {
                k.rotate({out, y.data(), gate.data(), 1, n, n, interleaved}, 0, ROWS);
            });
    failures += expect(ours.largest(x.data(), n) == scalar.largest(x.data(), n), variant.name, "largest", n);
    for (float bound : {-__builtin_inff(), 0.0f, x[n / 2], scalar.largest(x.data(), n)})
        for (int64_t begin : {int64_t{0}, n / 3, n}) {
            int64_t expected = begin;
            while (expected < n && !(x[expected] > bound)) ++expected;
            failures += expect(ours.first_above(x.data(), begin, n, bound) == expected, variant.name, "first_above", n);
        }
    failures += expect(ours.sum_exp(x.data(), n, 2) == scalar.sum_exp(x.data(), n, 2), variant.name, "sum_exp", n);
    failures += expect(ours.all_finite(x.data(), n), variant.name, "all_finite", n);
    x[n - 1] = __builtin_inff();
    failures += expect(!ours.all_finite(x.data(), n), variant.name, "all_finite of an infinity", n);
    return failures;
}

}  // namespace

int rows() {
    int failures = 0;
    for (const Variant& variant : variants()) {
        for (int64_t n = 1; n <= 70; ++n) failures += of_length(variant, n);
        for (int64_t n : {128, 576, 1023, 1024, 1025, 2049}) failures += of_length(variant, n);
    }
    return failures;
}

}  // namespace shoestring::selftest
