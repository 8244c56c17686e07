// The rows family: every variant against the scalar one, at every length, against guard pages. And what is compiled
// once: rotary tables, sampling.
#include "rope.h"
#include "sampling_policy.h"
#include "selftest.h"

namespace shoestring::selftest {
namespace {

using F = Guarded<float>;

int of_length(const Variant& variant, int64_t n) {
    if (!next_case()) return 0;
    const bool first = &variant == &variants().front();
    const RowsTable &ours = *variant.rows, &scalar = *variants().front().rows;
    constexpr int64_t ROWS = 2;
    F x(ROWS * n), y(ROWS * n), gate(ROWS * n), weight(n), column(ROWS), a(ROWS * n), b(ROWS * n);
    Numbers numbers(static_cast<uint64_t>(n));
    for (const F* f : {&x, &y, &gate, &weight, &column}) numbers.fill(*f);
    int failures = 0;
    auto same = [&](const char* what) { failures += expect(a.same_as(b), variant.name, what, n); };
    const auto note_first = [&](const char* what, const auto& bits) {
        if (first) note(what, static_cast<const void*>(&bits), static_cast<int64_t>(sizeof bits));
    };
    // Both calls on the same operands; in-place ops start from x.
    auto both = [&](const char* what, auto call) {
        a.copy_from(x);
        b.copy_from(x);
        call(ours, a.data());
        call(scalar, b.data());
        same(what);
        if (first) note(what, b);
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
    note_first("largest", scalar.largest(x.data(), n));
    note_first("sum_exp", scalar.sum_exp(x.data(), n, 2));
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

// Nothing to compare within one program.
void tables_and_samples() {
    constexpr int64_t ROWS = 40, COUNT = 24;
    Guarded<double> frequencies(COUNT);
    Guarded<int64_t> positions(ROWS);
    Guarded<int32_t> sections(COUNT);
    F cos(ROWS * COUNT), sin(ROWS * COUNT), temperature(ROWS);
    for (int64_t i = 0; i < ROWS; ++i) positions[i] = i * i * i * 157;
    for (int64_t i = 0; i < COUNT; ++i) sections[i] = 0;
    const auto tables = [&](double factor) {
        rotary_table(positions.data(), 1, frequencies.data(), sections.data(), COUNT, factor, cos.data(), sin.data(), 0,
                     ROWS);
        note("rotary tables", frequencies);
        note("rotary tables", cos);
        note("rotary tables", sin);
    };
    rope_frequencies(2 * COUNT, 1e7, frequencies.data());
    tables(1);
    rope_frequencies_llama3(frequencies.data(), COUNT, 16, 1, 4, 8192);
    tables(1);
    rope_frequencies_yarn(2 * COUNT, 1e6, 4, 32768, 32, 1, frequencies.data());
    tables(yarn_attention_factor(4));
    attention_temperature(positions.data(), ROWS, 8192, 0.1, temperature.data());
    note("attention temperature", temperature);

    constexpr int64_t VOCABULARY = 3001;
    F logits(VOCABULARY), changed(VOCABULARY), weights(VOCABULARY);
    Guarded<int32_t> counts(VOCABULARY), ids(12), sampled(1);
    Guarded<Candidate> candidates(VOCABULARY), spare(VOCABULARY);
    Numbers numbers(9);
    for (uint64_t position = 0; position < 200; ++position) {
        numbers.fill(logits);
        for (int64_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(numbers.next() % VOCABULARY);
        Sampling options{};
        options.logits = logits.data();
        options.vocabulary_size = VOCABULARY - 1;
        options.temperature = 0.125f * static_cast<float>(position % 9);
        options.top_k = static_cast<int64_t>(position % 4) * 40;
        options.top_p = position % 3 == 0 ? 1 : 0.9;
        options.min_p = position % 5 == 0 ? 0.02 : 0;
        options.presence_penalty = 0.5f;
        options.frequency_penalty = 0.25f;
        options.repetition_penalty = 1.1f;
        options.context = {ids.data(), 8};
        options.generated = {ids.data() + 8, 4};
        options.seed = 2026;
        options.position = position;
        sampled[0] = sample(*active().rows, options, changed.data(), weights.data(), counts.data(), candidates.data(),
                            spare.data());
        note("sample", sampled);
        const double total = log_sum_exp(*active().rows, logits.data(), VOCABULARY);
        note("log_sum_exp", &total, static_cast<int64_t>(sizeof total));
    }
}

}  // namespace

int rows() {
    int failures = 0;
    tables_and_samples();
    for (const Variant& variant : variants()) {
        for (int64_t n = 1; n <= 70; ++n) failures += of_length(variant, n);
        for (int64_t n : {128, 576, 1023, 1024, 1025, 2049}) failures += of_length(variant, n);
    }
    return failures;
}

}  // namespace shoestring::selftest
