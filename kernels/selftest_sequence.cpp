// The sequence family: every variant against the scalar one, around every edge, against guard pages.
#include "selftest.h"

namespace shoestring::selftest {
namespace {

using F = Guarded<float>;

int attention(const Variant& variant, KVType type, int heads, int kv_heads, int head_dim, int64_t first, int rows,
              int64_t visible) {
    if (!next_case()) return 0;
    const SequenceTable &ours = *variant.sequence, &scalar = *variants().front().sequence;
    const int64_t entries = (first + rows - 1) / PAGE_TOKENS + 1;
    const int64_t pool = entries * kv_heads * kv_bytes(type, head_dim) * PAGE_TOKENS;
    Guarded<char> keys(pool), values(pool), scalar_keys(pool), scalar_values(pool);
    for (const Guarded<char>* p : {&keys, &values, &scalar_keys, &scalar_values})
        std::memset(p->data(), 0xff, static_cast<size_t>(pool));  // NaN, also as scale: must reach nothing
    const int64_t past = first + rows;
    F k(past * kv_heads * head_dim), v(past * kv_heads * head_dim), q(int64_t{rows} * heads * head_dim);
    F out(q.size()), scalar_out(q.size());
    Numbers numbers(static_cast<uint64_t>(head_dim));
    numbers.fill(k);
    numbers.fill(v);
    numbers.fill(q);
    Guarded<int32_t> pages(entries);
    Guarded<int64_t> first_page(1), all(past), index(rows), first_visible(rows);
    first_page[0] = 0;
    for (int64_t i = 0; i < entries; ++i) pages[i] = static_cast<int32_t>(entries - 1 - i);
    for (int64_t i = 0; i < past; ++i) all[i] = i;
    for (int64_t r = 0; r < rows; ++r) {
        index[r] = first + r;
        first_visible[r] = visible + (visible > 0 ? r : 0);
    }
    const Paging paging{pages.data(), entries, first_page.data()};
    auto fill = [&](const SequenceTable& kernels, Guarded<char>& to_keys, Guarded<char>& to_values) {
        const Store op{k.data(), v.data(),   to_keys.data(), to_values.data(), type,
                       paging,   all.data(), kv_heads,       head_dim};
        for (int64_t row = 0; row < past; row += PAGE_TOKENS)
            for (int h = 0; h < kv_heads; ++h)
                kernels.store_keys_values(op, 0, h, row, row + PAGE_TOKENS < past ? row + PAGE_TOKENS : past);
    };
    fill(ours, keys, values);
    fill(scalar, scalar_keys, scalar_values);
    int failures = expect(keys.same_as(scalar_keys) && values.same_as(scalar_values), variant.name, "store", past);

    auto attend = [&](const SequenceTable& kernels, F& to, bool by_segments) {
        const Attention op{q.data(), keys.data(), values.data(), type,  paging,   index.data(), first_visible.data(),
                           heads,    kv_heads,    head_dim,      0.25f, to.data()};
        const int64_t vectors = int64_t{rows} * heads / kv_heads;
        F scratch(kernels.attention_scratch_floats(vectors, head_dim));
        F partial(kernels.attention_partial_floats(vectors, head_dim)), running(partial.size());
        for (int h = 0; h < kv_heads; ++h) {
            const AttentionUnit unit{0, 0, h, rows};
            if (!by_segments) {
                kernels.attention_unit(op, unit, scratch.data());
                continue;
            }
            const int64_t begin = first_visible[0] / SEGMENT_TOKENS, end = index[rows - 1] / SEGMENT_TOKENS + 1;
            for (int64_t segment = begin; segment < end; ++segment) {
                kernels.attention_segment(op, unit, segment, scratch.data(), partial.data());
                kernels.attention_merge(op, unit, partial.data(), 1, running.data(), segment == begin,
                                        segment == end - 1);
            }
        }
    };
    attend(scalar, scalar_out, false);
    if (&ours == &scalar) note("attention", scalar_out);
    if (&ours == &scalar && first + rows <= 70) note("store", scalar_keys);
    for (bool by_segments : {false, true}) {
        attend(ours, out, by_segments);
        failures += expect(out.same_as(scalar_out), variant.name, by_segments ? "segments" : "attention", past);
    }
    for (int64_t i = 0; i < out.size(); ++i)
        if (!(out[i] < 3 && out[i] > -3)) return failures + expect(false, variant.name, "a mean of values", past);
    return failures;
}

struct SlotsOfTwo {
    Guarded<int32_t> starts{3}, read{2}, write{2}, snapshots{2};

    Slots of(F& data, int rows) const {
        starts[0] = 0;
        starts[1] = rows;
        starts[2] = rows + 1;
        read[0] = 0;
        read[1] = -1;
        write[0] = 1;
        write[1] = 2;
        snapshots[0] = rows / 2;
        snapshots[1] = 3;
        return {data.data(), starts.data(), read.data(), write.data(), snapshots.data(), 1};
    }
};

// gated: with the norm of each head's rows behind it, which gives what rms_norm gives of the rule alone.
int delta_rule(const Variant& variant, int rows, int key_dim, int value_dim, bool gated) {
    if (!next_case()) return 0;
    constexpr int KEY_HEADS = 2, VALUE_HEADS = 3;
    const int64_t all = rows + 1;
    F qkv(all * (2 * KEY_HEADS * key_dim + VALUE_HEADS * value_dim)), a(all * VALUE_HEADS), b(all * VALUE_HEADS);
    F decay(VALUE_HEADS), dt_bias(VALUE_HEADS), start(int64_t{4} * VALUE_HEADS * key_dim * value_dim);
    Numbers numbers(static_cast<uint64_t>(key_dim));
    for (const F* f : {&qkv, &a, &b, &decay, &dt_bias, &start}) numbers.fill(*f);
    for (int h = 0; h < VALUE_HEADS; ++h) decay[h] = decay[h] < 0 ? decay[h] : -decay[h];
    Guarded<int32_t> key_head(VALUE_HEADS);
    for (int h = 0; h < VALUE_HEADS; ++h) key_head[h] = h % KEY_HEADS;
    F out(all * VALUE_HEADS * value_dim), scalar_out(out.size()), slots(start.size()), scalar_slots(start.size());
    F norm(value_dim), gate(out.size());
    numbers.fill(norm);
    numbers.fill(gate);
    const SlotsOfTwo spans;
    auto run = [&](const SequenceTable& kernels, F& to, F& state, bool with_norm) {
        state.copy_from(start);
        DeltaRule op{
            qkv.data(), a.data(),    b.data(), decay.data(), dt_bias.data(), key_head.data(), spans.of(state, rows),
            KEY_HEADS,  VALUE_HEADS, key_dim,  value_dim,    to.data()};
        if (with_norm) {
            op.norm = norm.data();
            op.gate = gate.data();
            op.eps = 1e-6f;
        }
        F scratch(kernels.delta_rule_scratch_floats(key_dim, value_dim));
        for (int span = 0; span < 2; ++span)
            for (int h = 0; h < VALUE_HEADS; ++h) kernels.delta_rule(op, span, h, scratch.data());
    };
    run(*variant.sequence, out, slots, gated);
    run(*variants().front().sequence, scalar_out, scalar_slots, false);
    if (gated)
        variants().front().rows->rms_norm(scalar_out.data(), norm.data(), gate.data(), value_dim, 1e-6f,
                                          scalar_out.data(), 0, all * VALUE_HEADS);
    if (&variant == &variants().front()) note("delta_rule", scalar_out);
    if (&variant == &variants().front()) note("delta_rule", scalar_slots);
    return expect(out.same_as(scalar_out) && slots.same_as(scalar_slots), variant.name, "delta_rule", rows);
}

int convolution(const Variant& variant, int rows, int channels, int width) {
    if (!next_case()) return 0;
    const int64_t all = rows + 1;
    F x(all * channels), weight(int64_t{channels} * width), start(int64_t{4} * (width - 1) * channels);
    Numbers numbers(static_cast<uint64_t>(channels));
    for (const F* f : {&x, &weight, &start}) numbers.fill(*f);
    F out(x.size()), scalar_out(x.size()), slots(start.size()), scalar_slots(start.size());
    const SlotsOfTwo spans;
    auto run = [&](const SequenceTable& kernels, F& to, F& state) {
        state.copy_from(start);
        const Convolution op{x.data(), weight.data(), spans.of(state, rows), channels, width, to.data()};
        for (int span = 0; span < 2; ++span) kernels.convolution(op, span, 0, channels);
    };
    run(*variant.sequence, out, slots);
    run(*variants().front().sequence, scalar_out, scalar_slots);
    if (&variant == &variants().front()) note("convolution", scalar_out);
    return expect(out.same_as(scalar_out) && slots.same_as(scalar_slots), variant.name, "convolution", channels);
}

}  // namespace

int sequence() {
    int failures = 0;
    for (const Variant& variant : variants()) {
        for (int head_dim : {1, 7, 16, 20, 64})
            for (int64_t first : {0, 1, 15, 63, 64, 130, 600})
                for (int group : {1, 2, 3, 7, 8}) {
                    failures += attention(variant, KVType::F16, group, 1, head_dim, first, 9, 0);
                    failures += attention(variant, KVType::F16, group, 1, head_dim, first, 1, first / 3);
                    failures += attention(variant, KVType::F32, 2 * group, 2, head_dim, first, 1, first / 2);
                    failures += attention(variant, KVType::F32, group, 1, head_dim, first, 5, first / 3);
                    failures += attention(variant, KVType::Q8_0, group, 1, head_dim, first, 1, 0);
                    failures += attention(variant, KVType::Q8_0, 2 * group, 2, head_dim, first, 6, first / 2);
                }
        // Keys of more dims than a panel has.
        for (int head_dim : {129, 144, 256})
            for (KVType type : {KVType::F16, KVType::Q8_0})
                for (int group : {2, 8}) failures += attention(variant, type, group, 1, head_dim, 70, 9, 0);
        for (int rows : {1, 2, 63, 64, 65, 130})
            for (int key_dim : {1, 15, 16, 33})
                for (int value_dim : {5, 16, 24, 32, 47, 48})
                    for (bool gated : {false, true}) failures += delta_rule(variant, rows, key_dim, value_dim, gated);
        for (int channels = 1; channels <= 40; ++channels)
            for (int width = 1; width <= MAX_CONVOLUTION_WIDTH; ++width)
                failures += convolution(variant, 7, channels, width);
    }
    return failures;
}

}  // namespace shoestring::selftest
