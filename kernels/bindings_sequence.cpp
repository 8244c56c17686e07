// Python bindings of the sequence family: operands checked, work cut into units, threads.
#include "bindings.h"

#include <cstring>
#include <vector>

namespace shoestring {
namespace {

// Pages of keys or values: float32, float16, or int8 (Q8_0), writable.
struct Pool {
    PyArrayObject* array;
    KVType type;

    int64_t shape(int axis) const { return PyArray_DIM(array, axis); }
    void* data() const { return PyArray_DATA(array); }
};

Pool pool_of(nb::handle object, const char* message) {
    require(PyArray_Check(object.ptr()), message);
    auto* array = reinterpret_cast<PyArrayObject*>(object.ptr());
    const char kind = PyArray_DESCR(array)->kind;
    const npy_intp size = PyArray_ITEMSIZE(array);
    require(((kind == 'f' && (size == 2 || size == 4)) || (kind == 'i' && size == 1)) && PyArray_ISCARRAY(array) &&
                PyArray_NDIM(array) == 4,
            message);
    return {array, size == 1 ? KVType::Q8_0 : size == 2 ? KVType::F16 : KVType::F32};
}

struct KeysValues {
    Pool keys, values;
};

// Pools of heads of `head_dim` dims that belong together.
KeysValues check_pools(nb::handle keys_array, nb::handle values_array, int64_t head_dim) {
    const Pool keys = pool_of(keys_array, "keys: [pages, kv_heads, head_dim, PAGE_TOKENS] float16 or float32, or int8");
    const Pool values = pool_of(values_array, "values: [pages, kv_heads, PAGE_TOKENS, head_dim] like keys");
    const int64_t stored = keys.type == KVType::Q8_0 ? kv_bytes(keys.type, head_dim) : head_dim;
    require(keys.type == values.type && keys.shape(0) == values.shape(0) && keys.shape(1) == values.shape(1) &&
                keys.shape(2) == stored && keys.shape(3) == PAGE_TOKENS && values.shape(2) == PAGE_TOKENS &&
                values.shape(3) == stored,
            "keys, values: shapes that do not belong together");
    return {keys, values};
}

void check_spans(const In<int32_t, 1>& span_starts, int64_t rows) {
    const int64_t spans = span_starts.shape(0) - 1;
    require(spans >= 0, "span_starts: at least one entry");
    const int32_t* starts = span_starts.data();
    require(starts[0] == 0 && starts[spans] == rows, "span_starts: from 0 to the number of rows");
    for (int64_t s = 0; s < spans; ++s) require(starts[s] <= starts[s + 1], "span_starts: ascending");
}

// Every page from the one of position `low` to that of `high` exists in the table of the span and in the pool.
void check_pages(const Paging& paging, int64_t span, int64_t low, int64_t high, int64_t pool_pages) {
    const int64_t first = low / PAGE_TOKENS - paging.first_page[span];
    const int64_t last = high / PAGE_TOKENS - paging.first_page[span];
    require(first >= 0 && last < paging.entries, "pages: a position outside the span's page table");
    const int32_t* pages = paging.pages + span * paging.entries;
    for (int64_t i = first; i <= last; ++i)
        require(pages[i] >= 0 && pages[i] < pool_pages, "pages: a page outside the pool");
}

Paging check_paging(const In<int32_t, 2>& pages, const In<int64_t, 1>& first_page, const In<int32_t, 1>& span_starts,
                    const In<int64_t, 1>& index, int64_t rows) {
    check_spans(span_starts, rows);
    const int64_t spans = span_starts.shape(0) - 1;
    require(pages.shape(0) == spans && first_page.shape(0) == spans, "pages, first_page: one entry a span");
    require(index.shape(0) == rows, "index: one entry a row");
    for (int64_t s = 0; s < spans; ++s)
        for (int64_t r = span_starts.data()[s]; r < span_starts.data()[s + 1]; ++r) {
            require(index.data()[r] >= 0, "index: not negative");
            require(r == span_starts.data()[s] || index.data()[r] == index.data()[r - 1] + 1,
                    "index: ascending without gaps in a span");
        }
    return {pages.data(), pages.shape(1), first_page.data()};
}

// Partial sums of segments that wait for the merge, a thread; models/workspace.py counts on it.
constexpr int64_t PARTIALS = 130;

void attention(In<float, 3> q, nb::handle keys_array, nb::handle values_array, In<int32_t, 2> pages,
               In<int64_t, 1> first_page, In<int32_t, 1> span_starts, In<int64_t, 1> index,
               In<int64_t, 1> first_visible, double scale, Out<float, 3> out) {
    const int64_t rows = q.shape(0), heads = q.shape(1), head_dim = q.shape(2);
    const auto [keys, values] = check_pools(keys_array, values_array, head_dim);
    const int64_t kv_heads = keys.shape(1);
    require(kv_heads > 0 && heads > 0 && heads % kv_heads == 0 && head_dim > 0, "q: heads a multiple of kv_heads");
    require(out.shape(0) == rows && out.shape(1) == heads && out.shape(2) == head_dim, "out: the shape of q");
    const Paging paging = check_paging(pages, first_page, span_starts, index, rows);
    require(first_visible.shape(0) == rows, "first_visible: one entry a row");
    const int64_t spans = span_starts.shape(0) - 1, group = heads / kv_heads;
    const int64_t unit_rows = group < 128 ? 128 / group : 1;

    static thread_local std::vector<AttentionUnit> units;
    units.clear();
    int64_t longest = 0, total = 0;
    for (int64_t s = 0; s < spans; ++s) {
        const int64_t begin = span_starts.data()[s], end = span_starts.data()[s + 1];
        if (begin == end) continue;
        int64_t low = first_visible.data()[begin];
        for (int64_t r = begin; r < end; ++r) {
            const int64_t visible = first_visible.data()[r];
            require(visible >= low && visible <= index.data()[r], "first_visible: ascending, not past the row itself");
            low = visible;
        }
        low = first_visible.data()[begin];
        require(low >= 0, "first_visible: not negative");
        check_pages(paging, s, low, index.data()[end - 1], keys.shape(0));
        for (int64_t h = 0; h < kv_heads; ++h)
            for (int64_t r = begin; r < end; r += unit_rows) {
                const int64_t count = r + unit_rows < end ? unit_rows : end - r;
                units.push_back({r, static_cast<int>(s), static_cast<int>(h), static_cast<int>(count)});
                const int64_t segments =
                    index.data()[r + count - 1] / SEGMENT_TOKENS - first_visible.data()[r] / SEGMENT_TOKENS + 1;
                total += segments;
                if (segments > longest) longest = segments;
            }
    }

    KernelScope scope;  // before the scale is rounded to float
    const SequenceTable& kernels = *active().sequence;
    const Attention op{q.data(),
                       keys.data(),
                       values.data(),
                       keys.type,
                       paging,
                       index.data(),
                       first_visible.data(),
                       static_cast<int>(heads),
                       static_cast<int>(kv_heads),
                       static_cast<int>(head_dim),
                       static_cast<float>(scale),
                       out.data()};
    const int64_t vectors = unit_rows * group, count = static_cast<int64_t>(units.size());
    const AttentionUnit* unit = units.data();
    reserve_own_scratch(static_cast<size_t>(kernels.attention_scratch_floats(vectors, head_dim)) * sizeof(float));
    auto scratch = [](int thread) { return static_cast<float*>(own_scratch(thread)); };
    // Units whose segments no thread shares are enough while the longest is not more than a fair part of all.
    const int64_t threads = num_threads();
    if (threads == 1 || longest == 1 || 2 * threads * longest <= total || 8 * count > PARTIALS * threads) {
        parallel_for(count, 1, [&](int64_t begin, int64_t end, int thread) {
            for (int64_t i = begin; i < end; ++i) kernels.attention_unit(op, unit[i], scratch(thread));
        });
        return;
    }
    // Few units, long rows: their segments are shared out, some at a time to bound the memory of the partials.
    const int64_t fitting = PARTIALS * threads / count - 1, most = longest < 64 ? longest : 64;
    const int64_t round = fitting < most ? fitting : most;
    const int64_t partial_floats = kernels.attention_partial_floats(vectors, head_dim);
    float* running =
        static_cast<float*>(shared_scratch(static_cast<size_t>(count * (round + 1) * partial_floats) * sizeof(float)));
    float* partials = running + count * partial_floats;
    auto segments_of = [&](int64_t i, int64_t& first, int64_t& end) {
        first = op.first_visible[unit[i].first_row] / SEGMENT_TOKENS;
        end = op.index[unit[i].first_row + unit[i].rows - 1] / SEGMENT_TOKENS + 1;
    };
    auto actual = [&](int64_t i) { return kernels.attention_partial_floats(unit[i].rows * group, head_dim); };
    // Rounds are phases: in all chunks of one, `done` is what the rounds before have merged.
    auto attend = [&](int64_t done, int64_t begin, int64_t end, int thread) {
        for (int64_t task = begin; task < end; ++task) {
            const int64_t i = task / round, j = task % round;
            int64_t first, last;
            segments_of(i, first, last);
            if (first + done + j < last)
                kernels.attention_segment(op, unit[i], first + done + j, scratch(thread),
                                          partials + i * round * partial_floats + j * actual(i));
        }
    };
    auto merge = [&](int64_t done, int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            int64_t first, last;
            segments_of(i, first, last);
            const int64_t left = last - first - done, here = left < round ? left : round;
            if (here > 0)
                kernels.attention_merge(op, unit[i], partials + i * round * partial_floats, here,
                                        running + i * partial_floats, done == 0, left <= round);
        }
    };
    const auto attend_at = [&](int64_t done) {
        return [&attend, done](int64_t begin, int64_t end, int thread) { attend(done, begin, end, thread); };
    };
    const auto merge_at = [&](int64_t done) {
        return [&merge, done](int64_t begin, int64_t end, int) { merge(done, begin, end); };
    };
    std::vector<decltype(attend_at(0))> attends;
    std::vector<decltype(merge_at(0))> merges;
    std::vector<Phase> phases;
    const size_t rounds = static_cast<size_t>((longest + round - 1) / round);
    attends.reserve(rounds);
    merges.reserve(rounds);
    for (int64_t done = 0; done < longest; done += round) {
        attends.push_back(attend_at(done));
        merges.push_back(merge_at(done));
        phases.push_back(phase_of(count * round, 1, attends.back()));
        phases.push_back(phase_of(count, 1, merges.back()));
    }
    parallel_phases(phases.data(), static_cast<int>(phases.size()));
}

void store_keys_values(nb::handle keys_array, nb::handle values_array, In<float, 3> k, In<float, 3> v,
                       In<int32_t, 2> pages, In<int64_t, 1> first_page, In<int32_t, 1> span_starts,
                       In<int64_t, 1> index) {
    const int64_t rows = k.shape(0), kv_heads = k.shape(1), head_dim = k.shape(2);
    require(v.shape(0) == rows && v.shape(1) == kv_heads && v.shape(2) == head_dim, "v: the shape of k");
    const auto [keys, values] = check_pools(keys_array, values_array, head_dim);
    require(keys.shape(1) == kv_heads, "keys: the heads of k");
    const Paging paging = check_paging(pages, first_page, span_starts, index, rows);
    struct Piece {
        int span;
        int64_t first_row, end_row;
    };
    static thread_local std::vector<Piece> pieces;
    pieces.clear();
    for (int64_t s = 0; s + 1 < span_starts.shape(0); ++s) {
        const int64_t begin = span_starts.data()[s], end = span_starts.data()[s + 1];
        if (begin == end) continue;
        check_pages(paging, s, index.data()[begin], index.data()[end - 1], keys.shape(0));
        for (int64_t r = begin; r < end;) {
            const int64_t in_page = PAGE_TOKENS - index.data()[r] % PAGE_TOKENS, left = end - r;
            const int64_t next = r + (in_page < left ? in_page : left);
            pieces.push_back({static_cast<int>(s), r, next});
            r = next;
        }
    }
    const Store op{k.data(),
                   v.data(),
                   keys.data(),
                   values.data(),
                   keys.type,
                   paging,
                   index.data(),
                   static_cast<int>(kv_heads),
                   static_cast<int>(head_dim)};
    const SequenceTable& kernels = *active().sequence;
    const Piece* piece = pieces.data();
    const int64_t count = static_cast<int64_t>(pieces.size()) * kv_heads;
    KernelScope scope;
    parallel_for(count, rows * kv_heads * head_dim < 8192 ? count : 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) {
            const Piece& p = piece[i / kv_heads];
            kernels.store_keys_values(op, p.span, static_cast<int>(i % kv_heads), p.first_row, p.end_row);
        }
    });
}

Slots check_slots(const Out<float>& slots, const In<int32_t, 1>& span_starts, const In<int32_t, 1>& read_slots,
                  const In<int32_t, 1>& write_slots, const In<int32_t, 2>& snapshots, int64_t rows) {
    check_spans(span_starts, rows);
    const int64_t spans = span_starts.shape(0) - 1, count = slots.shape(0);
    require(read_slots.shape(0) == spans && write_slots.shape(0) == spans, "read_slots, write_slots: one a span");
    for (int64_t s = 0; s < spans; ++s) {
        const int32_t from = read_slots.data()[s], to = write_slots.data()[s];
        require(from >= -1 && from < count, "read_slots: a slot that does not exist");
        require(to >= 0 && to < count, "write_slots: a slot that does not exist");
    }
    require(snapshots.shape(1) == 2, "snapshots: pairs (row, slot)");
    int32_t before = 0;
    for (int64_t i = 0; i < snapshots.shape(0); ++i) {
        const int32_t row = snapshots.data()[2 * i], slot = snapshots.data()[2 * i + 1];
        require(row >= before && row < rows, "snapshots: rows of the step, ascending");
        require(slot >= 0 && slot < count, "snapshots: a slot that does not exist");
        before = row;
    }
    return {slots.data(),       span_starts.data(), read_slots.data(),
            write_slots.data(), snapshots.data(),   snapshots.shape(0)};
}

Convolution checked_convolution(const In<float, 2>& x, const In<float, 2>& weight, const Out<float, 3>& slots,
                                const In<int32_t, 1>& span_starts, const In<int32_t, 1>& read_slots,
                                const In<int32_t, 1>& write_slots, const In<int32_t, 2>& snapshots,
                                const Out<float, 2>& out) {
    const int64_t rows = x.shape(0), channels = x.shape(1), width = weight.shape(1);
    require(weight.shape(0) == channels, "weight: [channels, width]");
    require(width >= 1 && width <= MAX_CONVOLUTION_WIDTH, "weight: a width from 1 to 8");
    require(slots.shape(1) == width - 1 && slots.shape(2) == channels, "slots: [slots, width - 1, channels]");
    require(out.shape(0) == rows && out.shape(1) == channels, "out: the shape of x");
    const Out<float> any_slots{slots.array};
    return {x.data(),
            weight.data(),
            check_slots(any_slots, span_starts, read_slots, write_slots, snapshots, rows),
            channels,
            static_cast<int>(width),
            out.data()};
}

// Channels of spans as chunks of work.
struct ChannelBlocks {
    int64_t block, blocks, count, grain;

    ChannelBlocks(int64_t rows, int64_t channels, int64_t spans) : block(512) {
        // Whole pages of a row for few threads; narrower, down to a few lines, to keep many busy.
        const int64_t wanted = 4 * num_threads();
        while (block > 64 && (channels + block - 1) / block * spans < wanted) block /= 2;
        blocks = (channels + block - 1) / block;
        count = blocks * spans;
        grain = rows * channels < 4096 && count > 0 ? count : 1;
    }
    void run(const Convolution& op, int64_t begin, int64_t end) const {
        for (int64_t i = begin; i < end; ++i) {
            const int64_t first = i % blocks * block, last = first + block < op.channels ? first + block : op.channels;
            active().sequence->convolution(op, static_cast<int>(i / blocks), first, last);
        }
    }
};

void causal_convolution(In<float, 2> x, In<float, 2> weight, Out<float, 3> slots, In<int32_t, 1> span_starts,
                        In<int32_t, 1> read_slots, In<int32_t, 1> write_slots, In<int32_t, 2> snapshots,
                        Out<float, 2> out) {
    const Convolution op = checked_convolution(x, weight, slots, span_starts, read_slots, write_slots, snapshots, out);
    const ChannelBlocks blocks(x.shape(0), x.shape(1), span_starts.shape(0) - 1);
    KernelScope scope;
    parallel_for(blocks.count, blocks.grain, [&](int64_t begin, int64_t end, int) { blocks.run(op, begin, end); });
}

DeltaRule checked_delta_rule(const In<float, 2>& qkv, const In<float, 2>& a, const In<float, 2>& b,
                             const In<float, 1>& decay, const In<float, 1>& dt_bias,
                             const In<int32_t, 1>& key_head_index, int key_heads, const Out<float, 4>& slots,
                             const In<int32_t, 1>& span_starts, const In<int32_t, 1>& read_slots,
                             const In<int32_t, 1>& write_slots, const In<int32_t, 2>& snapshots,
                             const Out<float, 3>& out) {
    const int64_t rows = qkv.shape(0), value_heads = slots.shape(1), key_dim = slots.shape(2),
                  value_dim = slots.shape(3);
    require(key_heads >= 1 && key_dim >= 1 && value_dim >= 1, "slots: [slots, value_heads, key_dim, value_dim]");
    require(qkv.shape(1) == 2 * int64_t{key_heads} * key_dim + value_heads * value_dim,
            "qkv: [rows, 2 · key_heads · key_dim + value_heads · value_dim]");
    require(a.shape(0) == rows && b.shape(0) == rows && a.shape(1) == value_heads && b.shape(1) == value_heads,
            "a, b: [rows, value_heads]");
    require(decay.shape(0) == value_heads && dt_bias.shape(0) == value_heads && key_head_index.shape(0) == value_heads,
            "decay, dt_bias, key_head_index: one a value head");
    for (int64_t h = 0; h < value_heads; ++h)
        require(key_head_index.data()[h] >= 0 && key_head_index.data()[h] < key_heads,
                "key_head_index: a key head that does not exist");
    require(out.shape(0) == rows && out.shape(1) == value_heads && out.shape(2) == value_dim,
            "out: [rows, value_heads, value_dim]");
    const Out<float> any_slots{slots.array};
    return {qkv.data(),
            a.data(),
            b.data(),
            decay.data(),
            dt_bias.data(),
            key_head_index.data(),
            check_slots(any_slots, span_starts, read_slots, write_slots, snapshots, rows),
            key_heads,
            static_cast<int>(value_heads),
            static_cast<int>(key_dim),
            static_cast<int>(value_dim),
            out.data()};
}

void reserve_delta_rule(const DeltaRule& op) {
    const int64_t floats = active().sequence->delta_rule_scratch_floats(op.key_dim, op.value_dim);
    reserve_own_scratch(static_cast<size_t>(floats) * sizeof(float));
}

// Value head `i % value_heads` of span `i / value_heads`.
void run_delta_rule(const DeltaRule& op, int64_t i, int thread) {
    active().sequence->delta_rule(op, static_cast<int>(i / op.value_heads), static_cast<int>(i % op.value_heads),
                                  static_cast<float*>(own_scratch(thread)));
}

void delta_rule(In<float, 2> qkv, In<float, 2> a, In<float, 2> b, In<float, 1> decay, In<float, 1> dt_bias,
                In<int32_t, 1> key_head_index, int key_heads, Out<float, 4> slots, In<int32_t, 1> span_starts,
                In<int32_t, 1> read_slots, In<int32_t, 1> write_slots, In<int32_t, 2> snapshots, Out<float, 3> out) {
    const DeltaRule op = checked_delta_rule(qkv, a, b, decay, dt_bias, key_head_index, key_heads, slots, span_starts,
                                            read_slots, write_slots, snapshots, out);
    KernelScope scope;
    reserve_delta_rule(op);
    parallel_for((span_starts.shape(0) - 1) * op.value_heads, 1, [&](int64_t begin, int64_t end, int thread) {
        for (int64_t i = begin; i < end; ++i) run_delta_rule(op, i, thread);
    });
}

// causal_convolution, then delta_rule, and each head's rows through the gated rms_norm: one parallel region.
void delta_net(In<float, 2> x, In<float, 2> z, In<float, 2> a, In<float, 2> b, In<float, 2> weight, In<float, 1> decay,
               In<float, 1> dt_bias, In<float, 1> norm, double eps, In<int32_t, 1> key_head_index, int key_heads,
               Out<float, 3> past, Out<float, 4> memory, In<int32_t, 1> span_starts, In<int32_t, 1> read_slots,
               In<int32_t, 1> write_slots, In<int32_t, 2> snapshots, Out<float, 2> qkv, Out<float, 3> out) {
    const Convolution convolution =
        checked_convolution(x, weight, past, span_starts, read_slots, write_slots, snapshots, qkv);
    const In<float, 2> convolved{qkv.array};
    DeltaRule rule = checked_delta_rule(convolved, a, b, decay, dt_bias, key_head_index, key_heads, memory, span_starts,
                                        read_slots, write_slots, snapshots, out);
    const int64_t spans = span_starts.shape(0) - 1, heads = rule.value_heads, value_dim = rule.value_dim;
    require(z.shape(0) == x.shape(0) && z.shape(1) == heads * value_dim, "z: [rows, value_heads · value_dim]");
    require(norm.shape(0) == value_dim, "norm: [value_dim]");
    const ChannelBlocks blocks(x.shape(0), x.shape(1), spans);
    rule.norm = norm.data();
    rule.gate = z.data();
    KernelScope scope;
    rule.eps = static_cast<float>(eps);
    reserve_delta_rule(rule);
    const auto convolve = [&](int64_t begin, int64_t end, int) { blocks.run(convolution, begin, end); };
    const auto remember = [&](int64_t begin, int64_t end, int thread) {
        for (int64_t i = begin; i < end; ++i) run_delta_rule(rule, i, thread);
    };
    const Phase phases[] = {phase_of(blocks.count, blocks.grain, convolve), phase_of(spans * heads, 1, remember)};
    parallel_phases(phases, 2);
}

}  // namespace

void bind_sequence(nb::module_& module) {
    module.attr("PAGE_TOKENS") = PAGE_TOKENS;
    module.def("attention", attention);
    module.def("store_keys_values", store_keys_values);
    module.def("causal_convolution", causal_convolution);
    module.def("delta_rule", delta_rule);
    module.def("delta_net", delta_net);
}

}  // namespace shoestring
