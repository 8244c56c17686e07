// Python bindings of the rows family: norms, elementwise, rotary tables, sampling.
#include "bindings.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include <atomic>
#include <optional>
#include <tuple>

#include "rope.h"
#include "sampling_policy.h"

namespace shoestring {
namespace {

// Below this many elements a parallel region costs more than it gives.
constexpr int64_t SERIAL_ELEMENTS = 16384;

// body(begin, end) over `rows` of n elements each, in parallel where that pays.
template <class Body>
void over_rows(int64_t rows, int64_t n, const Body& body) {
    const int64_t rows_a_chunk = n > 0 && SERIAL_ELEMENTS / n > 1 ? SERIAL_ELEMENTS / n : 1;
    parallel_for(rows, rows_a_chunk, [&](int64_t begin, int64_t end, int) { body(begin, end); });
}

template <class A, class B>
void require_same_shape(const A& a, const B& b, const char* message) {
    bool same = a.dims() == b.dims();
    for (int axis = 0; same && axis < a.dims(); ++axis) same = a.shape(axis) == b.shape(axis);
    require(same, message);
}

template <class A>
int64_t last_axis(const A& x) {
    require(x.dims() >= 1, "at least one dimension");
    return x.shape(x.dims() - 1);
}

const RowsTable& kernels() { return *active().rows; }

void rms_norm(In<float> x, std::optional<In<float, 1>> weight, std::optional<In<float>> gate, double eps,
              Out<float> out) {
    const int64_t n = last_axis(x);
    require(n > 0, "x: not empty");
    require_same_shape(x, out, "out: the shape of x");
    require(!weight || weight->shape(0) == n, "weight: as long as the last axis of x");
    require(!gate || gate->size() == x.size(), "gate: as many elements as x");
    const float* w = weight ? weight->data() : nullptr;
    const float* z = gate ? gate->data() : nullptr;
    KernelScope scope;
    over_rows(x.size() / n, n, [&](int64_t begin, int64_t end) {
        kernels().rms_norm(x.data(), w, z, n, static_cast<float>(eps), out.data(), begin, end);
    });
}

void rotate(Out<float, 3> x, In<float, 2> cos, In<float, 2> sin, bool interleaved) {
    require(cos.shape(0) == x.shape(0), "cos: one row a row of x");
    require_same_shape(cos, sin, "sin: the shape of cos");
    require(2 * cos.shape(1) <= x.shape(2), "cos: at most half the head's dims");
    const Rotation op{x.data(), cos.data(), sin.data(), x.shape(1), x.shape(2), 2 * cos.shape(1), interleaved};
    KernelScope scope;
    over_rows(x.shape(0), x.shape(1) * x.shape(2),
              [&](int64_t begin, int64_t end) { kernels().rotate(op, begin, end); });
}

void add(Out<float> x, In<float> y) {
    require_same_shape(x, y, "y: the shape of x");
    KernelScope scope;
    over_rows(x.size(), 1,
              [&](int64_t begin, int64_t end) { kernels().add(x.data() + begin, y.data() + begin, end - begin); });
}

void add_gated(Out<float, 2> x, In<float, 2> y, In<float> gate) {
    require_same_shape(x, y, "y: the shape of x");
    require(gate.size() == x.shape(0), "gate: one a row");
    const int64_t n = x.shape(1);
    KernelScope scope;
    over_rows(x.shape(0), n,
              [&](int64_t begin, int64_t end) { kernels().add_gated(x.data(), y.data(), gate.data(), n, begin, end); });
}

void scale_rows(Out<float> x, In<float> factors) {
    require(x.dims() >= 1 && factors.size() == x.shape(0), "factors: one a row of x");
    const int64_t rows = x.shape(0), n = rows == 0 ? 0 : x.size() / rows;
    KernelScope scope;
    over_rows(rows, n,
              [&](int64_t begin, int64_t end) { kernels().scale_rows(x.data(), factors.data(), n, begin, end); });
}

void swiglu(In<float> gate, In<float> up, Out<float> out) {
    require_same_shape(gate, up, "up: the shape of gate");
    require_same_shape(gate, out, "out: the shape of gate");
    KernelScope scope;
    over_rows(gate.size(), 1, [&](int64_t begin, int64_t end) {
        kernels().swiglu(gate.data() + begin, up.data() + begin, out.data() + begin, end - begin);
    });
}

void sigmoid_gate(Out<float> x, In<float> gate) {
    require(x.size() == gate.size(), "gate: as many elements as x");
    KernelScope scope;
    over_rows(x.size(), 1, [&](int64_t begin, int64_t end) {
        kernels().sigmoid_gate(x.data() + begin, gate.data() + begin, end - begin);
    });
}

void split_query_gate(In<float, 2> query_gate, Out<float, 3> query, Out<float, 3> gate) {
    const int64_t rows = query.shape(0), heads = query.shape(1), D = query.shape(2);
    require_same_shape(query, gate, "gate: the shape of query");
    require(query_gate.shape(0) == rows && query_gate.shape(1) == 2 * heads * D, "query_gate: [rows, heads · 2 · D]");
    KernelScope scope;
    over_rows(rows * heads, 2 * D, [&](int64_t begin, int64_t end) {
        const float* from = query_gate.data() + begin * 2 * D;
        for (int64_t head = begin; head < end; ++head, from += 2 * D)
            for (int64_t d = 0; d < D; ++d) {
                query.data()[head * D + d] = from[d];
                gate.data()[head * D + d] = from[D + d];
            }
    });
}

void negative_exp(In<float> x, Out<float> out) {
    require_same_shape(x, out, "out: the shape of x");
    KernelScope scope;
    kernels().negative_exp(x.data(), out.data(), x.size());
}

bool check_finite(In<float> x) {
    std::atomic<bool> finite{true};
    KernelScope scope;
    over_rows(x.size(), 1, [&](int64_t begin, int64_t end) {
        if (!kernels().all_finite(x.data() + begin, end - begin)) finite.store(false, std::memory_order_relaxed);
    });
    return finite.load();
}

void math_function(int which, In<float> x, Out<float> out) {
    require(which >= 0 && which <= 4, "which: 0 … 4");
    require_same_shape(x, out, "out: the shape of x");
    KernelScope scope;
    kernels().function(which, x.data(), out.data(), x.size());
}

// --- rotary tables -------------------------------------------------------------------------------------------

void frequencies(double theta, Out<double, 1> out) {
    require(theta > 0, "theta: positive");
    KernelScope scope;
    rope_frequencies(static_cast<int>(2 * out.shape(0)), theta, out.data());
}

void frequencies_llama3(Out<double, 1> out, double factor, double low, double high, double original) {
    require(factor > 0 && original > 0 && low > 0 && high >= low, "llama3 scaling: factor, low <= high, original > 0");
    KernelScope scope;
    rope_frequencies_llama3(out.data(), out.shape(0), factor, low, high, original);
}

void frequencies_yarn(double theta, double factor, double original, double beta_fast, double beta_slow,
                      Out<double, 1> out) {
    require(theta > 1 && factor > 0 && original > 0 && beta_fast > 0 && beta_slow > 0, "yarn: positive parameters");
    KernelScope scope;
    rope_frequencies_yarn(static_cast<int>(2 * out.shape(0)), theta, factor, original, beta_fast, beta_slow,
                          out.data());
}

void bind_rotary_table(In<int64_t, 2> positions, In<double, 1> frequencies, In<int32_t, 1> sections, double factor,
                       Out<float, 2> cos, Out<float, 2> sin) {
    const int64_t rows = positions.shape(0), count = frequencies.shape(0);
    require(sections.shape(0) == count, "sections: one a frequency");
    for (int64_t i = 0; i < count; ++i)
        require(sections.data()[i] >= 0 && sections.data()[i] < positions.shape(1), "sections: a position's number");
    require(cos.shape(0) == rows && cos.shape(1) == count, "cos: [rows, frequencies]");
    require_same_shape(cos, sin, "sin: the shape of cos");
    KernelScope scope;
    parallel_for(rows, 16, [&](int64_t begin, int64_t end, int) {
        rotary_table(positions.data(), positions.shape(1), frequencies.data(), sections.data(), count, factor,
                     cos.data(), sin.data(), begin, end);
    });
}

void bind_attention_temperature(In<int64_t, 1> index, int64_t floor_scale, double scale, Out<float, 1> out) {
    require(floor_scale > 0, "floor_scale: positive");
    require_same_shape(index, out, "out: the shape of index");
    KernelScope scope;
    attention_temperature(index.data(), index.size(), floor_scale, scale, out.data());
}

double scalar_log(double x) {
    KernelScope scope;
    return natural_log(x);
}

double attention_factor_yarn(double factor) {
    KernelScope scope;
    return yarn_attention_factor(factor);
}

// --- sampling ------------------------------------------------------------------------------------------------

using Sampled = std::tuple<int, double>;

Sampled sample_token(In<float, 1> logits, int64_t vocabulary_size, double temperature, int64_t top_k, double top_p,
                     double min_p, double presence_penalty, double frequency_penalty, double repetition_penalty,
                     In<int32_t, 1> context_ids, In<int32_t, 1> generated_ids, In<int32_t, 1> bias_ids,
                     In<float, 1> bias_values, uint64_t seed, uint64_t sample_index, uint64_t position,
                     Out<int32_t, 1> top_ids, Out<double, 1> top_logprobs, std::optional<In<uint32_t, 1>> allowed) {
    require(vocabulary_size >= 1 && vocabulary_size <= logits.shape(0), "vocabulary_size: at most as many as logits");
    require(bias_ids.shape(0) == bias_values.shape(0), "bias_ids, bias_values: as many of each");
    require(top_ids.shape(0) == top_logprobs.shape(0) && top_ids.shape(0) <= vocabulary_size,
            "top_ids, top_logprobs: as many of each, at most vocabulary_size");
    require(!allowed || allowed->shape(0) >= (vocabulary_size + 31) / 32, "allowed: a bit for each of the vocabulary");
    KernelScope scope;  // before the options are rounded to float
    const Sampling sampling{logits.data(),
                            vocabulary_size,
                            static_cast<float>(temperature),
                            top_k,
                            top_p,
                            min_p,
                            static_cast<float>(presence_penalty),
                            static_cast<float>(frequency_penalty),
                            static_cast<float>(repetition_penalty),
                            {context_ids.data(), context_ids.shape(0)},
                            {generated_ids.data(), generated_ids.shape(0)},
                            {bias_ids.data(), bias_ids.shape(0)},
                            bias_values.data(),
                            seed,
                            sample_index,
                            position,
                            allowed ? allowed->data() : nullptr};
    const size_t n = static_cast<size_t>(vocabulary_size);
    auto* changed =
        static_cast<float*>(shared_scratch(n * (2 * sizeof(float) + sizeof(int32_t) + 2 * sizeof(Candidate))));
    float* weights = changed + n;
    auto* counts = reinterpret_cast<int32_t*>(weights + n);
    auto* candidates = reinterpret_cast<Candidate*>(counts + n);
    Candidate* spare = candidates + n;
    const int32_t token = sample(kernels(), sampling, changed, weights, counts, candidates, spare);
    if (token < 0) return {token, 0.0};
    const double normaliser = log_sum_exp(kernels(), logits.data(), vocabulary_size);
    if (const int64_t count = top_ids.shape(0)) {
        largest_logits(kernels(), logits.data(), vocabulary_size, count, candidates, spare);
        for (int64_t i = 0; i < count; ++i) {
            top_ids.data()[i] = candidates[i].id;
            top_logprobs.data()[i] = static_cast<double>(candidates[i].logit) - normaliser;
        }
    }
    return {token, static_cast<double>(logits.data()[token]) - normaliser};
}

void log_softmax_at(In<float, 2> logits, In<int32_t, 1> targets, Out<double, 1> out) {
    const int64_t rows = logits.shape(0), n = logits.shape(1);
    require(targets.shape(0) == rows && out.shape(0) == rows, "targets, out: one a row");
    for (int64_t r = 0; r < rows; ++r)
        require(targets.data()[r] >= 0 && targets.data()[r] < n, "targets: ids below the number of logits");
    KernelScope scope;
    parallel_for(rows, 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t r = begin; r < end; ++r) {
            const float* row = logits.data() + r * n;
            out.data()[r] = static_cast<double>(row[targets.data()[r]]) - log_sum_exp(kernels(), row, n);
        }
    });
}

double uniform_number(uint64_t seed, uint64_t sample_index, uint64_t position) {
    return uniform(seed, sample_index, position);
}

std::tuple<uint32_t, uint32_t, uint32_t, uint32_t> philox_block(uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1,
                                                                uint32_t c2, uint32_t c3) {
    const uint32_t key[2] = {k0, k1}, counter[4] = {c0, c1, c2, c3};
    uint32_t out[4];
    philox(key, counter, out);
    return {out[0], out[1], out[2], out[3]};
}

}  // namespace

void bind_rows(nb::module_& module) {
    module.def("rms_norm", rms_norm, nb::arg("x"), nb::arg("weight").none(), nb::arg("gate").none(), nb::arg("eps"),
               nb::arg("out"));
    module.def("rotate", rotate);
    module.def("add", add);
    module.def("add_gated", add_gated);
    module.def("scale_rows", scale_rows);
    module.def("swiglu", swiglu);
    module.def("sigmoid_gate", sigmoid_gate);
    module.def("split_query_gate", split_query_gate);
    module.def("negative_exp", negative_exp);
    module.def("check_finite", check_finite);
    module.def("math_function", math_function);
    module.def("rope_frequencies", frequencies);
    module.def("rope_frequencies_llama3", frequencies_llama3);
    module.def("rope_frequencies_yarn", frequencies_yarn);
    module.def("rotary_table", bind_rotary_table);
    module.def("attention_temperature", bind_attention_temperature);
    module.def("natural_log", scalar_log);
    module.def("yarn_attention_factor", attention_factor_yarn);
    module.def("sample", sample_token, nb::arg("logits"), nb::arg("vocabulary_size"), nb::arg("temperature"),
               nb::arg("top_k"), nb::arg("top_p"), nb::arg("min_p"), nb::arg("presence_penalty"),
               nb::arg("frequency_penalty"), nb::arg("repetition_penalty"), nb::arg("context_ids"),
               nb::arg("generated_ids"), nb::arg("bias_ids"), nb::arg("bias_values"), nb::arg("seed"),
               nb::arg("sample_index"), nb::arg("position"), nb::arg("top_ids"), nb::arg("top_logprobs"),
               nb::arg("allowed").none() = nb::none());
    module.def("log_softmax_at", log_softmax_at);
    module.def("uniform", uniform_number);
    module.def("philox", philox_block);
}

}  // namespace shoestring
