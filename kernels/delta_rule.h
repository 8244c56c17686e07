// The gated delta rule and the short convolution before it: recurrences, token by token. Order: docs/numerics.md.
//
// Lanes are columns of the state; rows ascend. A head's state is stored as strips of STRIP columns that stay in L1
// while a block of tokens runs over them. One pass over a strip does three things for every row i:
//     S_i ← g S_i + k_i δ        o += q_i S_i        and, for the next token, u += k'_i S_i
// so that the next δ' = β' (v' - g' u) is known when it ends. The sums do not depend on where a chunk begins.
#pragma once

#include "lanes_math.h"
#include "norm.h"
#include "sequence_table.h"

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::Convolution;
using shoestring::DeltaRule;
using shoestring::Slots;

// --- convolution ---

constexpr int64_t CHANNEL_BLOCK = 512;  // 2 KB a row: whole stretches of memory, and a block's rows stay in L1

// The inputs that end at row `row` of a span that begins at `begin`, oldest first: of the step, or of the slot.
template <int WIDTH>
SHOESTRING_INLINE void inputs_until(const Convolution& op, int64_t row, int64_t begin, int64_t channel,
                                    const float* before, const float* inputs[WIDTH]) {
    for (int j = 0; j < WIDTH; ++j) {
        const int64_t at = row - (WIDTH - 1) + j;
        inputs[j] = at >= begin ? op.x + at * op.channels + channel : before + (at - begin + WIDTH - 1) * CHANNEL_BLOCK;
    }
}

// weight [channels, WIDTH] → [WIDTH][CHANNEL_BLOCK]
template <int WIDTH>
SHOESTRING_INLINE void transpose_weights(const float* weight, int count, float* columns) {
    int i = 0;
    if constexpr (WIDTH == 4)
        for (; i + LANES <= count; i += LANES) {
            Lanes column[4];
            load_columns(weight + i * 4, column);
            for (int j = 0; j < 4; ++j) store(columns + j * CHANNEL_BLOCK + i, column[j]);
        }
    for (; i < count; ++i)
        for (int j = 0; j < WIDTH; ++j) columns[j * CHANNEL_BLOCK + i] = weight[i * WIDTH + j];
}

// Up to CHANNEL_BLOCK channels of one span.
template <int WIDTH>
inline void convolve(const Convolution& op, int span, int64_t channel, int count) {
    constexpr int PAST = WIDTH - 1;
    const Slots& slots = op.slots;
    const int64_t slot_floats = PAST * op.channels;
    const int64_t begin = slots.span_starts[span], end = slots.span_starts[span + 1];
    alignas(64) float weight[WIDTH * CHANNEL_BLOCK], before[(PAST > 0 ? PAST : 1) * CHANNEL_BLOCK];
    transpose_weights<WIDTH>(op.weight + channel * WIDTH, count, weight);
    // A copy: the slot may be written before its last reader is done.
    const int32_t from = slots.read_slots[span];
    for (int j = 0; j < PAST; ++j) {
        float* to = before + j * CHANNEL_BLOCK;
        if (from < 0)
            std::memset(to, 0, size_t(count) * sizeof(float));
        else
            std::memcpy(to, slots.data + from * slot_floats + j * op.channels + channel, size_t(count) * sizeof(float));
    }
    const float* inputs[WIDTH];
    for (int64_t row = begin; row < end; ++row) {
        inputs_until<WIDTH>(op, row, begin, channel, before, inputs);
        const float* next = row + 1 < end ? inputs[PAST] + op.channels : inputs[PAST];
        float* out = op.out + row * op.channels + channel;
        int i = 0;
        for (; i + LANES <= count; i += LANES) {
            prefetch(next + i);
            Lanes sum = zero();
            for (int j = 0; j < WIDTH; ++j) sum = fma(load(weight + j * CHANNEL_BLOCK + i), load(inputs[j] + i), sum);
            store(out + i, silu(sum));
        }
        if (i < count) {
            Lanes sum = zero();
            for (int j = 0; j < WIDTH; ++j)
                sum = fma(load(weight + j * CHANNEL_BLOCK + i, count - i), load(inputs[j] + i, count - i), sum);
            store(out + i, silu(sum), count - i);
        }
    }
    auto save = [&](int64_t row, int32_t slot) {
        inputs_until<WIDTH>(op, row, begin, channel, before, inputs);
        float* to = slots.data + slot * slot_floats + channel;
        for (int j = 0; j < PAST; ++j) std::memcpy(to + j * op.channels, inputs[j + 1], size_t(count) * sizeof(float));
    };
    for (int64_t i = 0; i < slots.snapshot_count; ++i)
        if (slots.snapshots[2 * i] >= begin && slots.snapshots[2 * i] < end)
            save(slots.snapshots[2 * i], slots.snapshots[2 * i + 1]);
    save(end - 1, slots.write_slots[span]);
}

void convolution(const Convolution& op, int span, int64_t begin, int64_t end) {
    for (int64_t channel = begin; channel < end; channel += CHANNEL_BLOCK) {
        const int count = int(end - channel < CHANNEL_BLOCK ? end - channel : CHANNEL_BLOCK);
        switch (op.width) {
            case 1:
                convolve<1>(op, span, channel, count);
                break;
            case 2:
                convolve<2>(op, span, channel, count);
                break;
            case 3:
                convolve<3>(op, span, channel, count);
                break;
            case 4:
                convolve<4>(op, span, channel, count);
                break;
            case 5:
                convolve<5>(op, span, channel, count);
                break;
            case 6:
                convolve<6>(op, span, channel, count);
                break;
            case 7:
                convolve<7>(op, span, channel, count);
                break;
            default:
                convolve<8>(op, span, channel, count);
                break;
        }
    }
}

// --- delta rule ---

// Columns of a strip: 128 rows of it are 16 KB, or 32 KB where the registers hold more sums.
constexpr int STRIP_VECTORS = LANE_REGISTERS >= 32 ? 4 : 2;
constexpr int STRIP = STRIP_VECTORS * LANES;
constexpr int TOKEN_BLOCK = 64;    // tokens that are prepared, then run over all strips
constexpr float NORM_EPS = 1e-6f;  // inside the root, on the sum of squares

// W vectors of columns at once; WHOLE: all lanes of them are columns, else only the first `count` of the last vector.
template <int W, bool WHOLE = true>
struct Strips {
    static constexpr int value = W;
    static constexpr bool whole = WHOLE;
};

template <bool WHOLE>
SHOESTRING_INLINE Lanes load_columns_of(const float* p, int count) {
    if constexpr (WHOLE) return load(p);
    return load(p, count);
}
template <bool WHOLE>
SHOESTRING_INLINE void store_columns_of(float* p, Lanes v, int count) {
    if constexpr (WHOLE)
        store(p, v);
    else
        store(p, v, count);
}

SHOESTRING_INLINE int columns_left(int column, int value_dim) {
    return value_dim - column < LANES ? value_dim - column : LANES;
}

inline int64_t delta_rule_scratch_floats(int64_t key_dim, int64_t value_dim) {
    const int64_t keys = (key_dim + LANES - 1) / LANES * LANES;
    return key_dim * (value_dim + LANES) + 2 * TOKEN_BLOCK * keys + 2 * TOKEN_BLOCK + TOKEN_BLOCK * value_dim;
}

// Rows of a head lie far apart, so that nothing else asks for them: so many tokens ahead this does.
constexpr int AHEAD = 4;
SHOESTRING_INLINE void ask_for(const float* row, int count) {
    for (int i = 0; i < count; i += 16) prefetch(row + i);
}

// out = x · 1/sqrt(Σx² + eps) · scale
SHOESTRING_INLINE void l2_norm(const float* x, int n, float scale, float* out) {
    Lanes sum = zero();
    for (int i = 0; i < n; i += LANES) {
        const Lanes part = load(x + i, n - i < LANES ? n - i : LANES);
        sum = fma(part, part, sum);
    }
    const Lanes root = div(set1(1.0f), sqrt(set1(fold_sum(sum) + NORM_EPS)));
    for (int i = 0; i < n; i += LANES)
        store(out + i, mul(mul(load(x + i, n - i < LANES ? n - i : LANES), root), set1(scale)));
}

// g = exp(decay · softplus(a + dt_bias)) and beta = sigmoid(b) of up to TOKEN_BLOCK rows.
inline void gates(const DeltaRule& op, int64_t row, int count, int head, float* g, float* beta) {
    for (int t = 0; t < count; t += LANES) {
        float a[LANES] = {}, b[LANES] = {};
        for (int i = 0; i < LANES && t + i < count; ++i) {
            a[i] = op.a[(row + t + i) * op.value_heads + head];
            b[i] = op.b[(row + t + i) * op.value_heads + head];
        }
        const Lanes step = softplus(add(load(a), set1(op.dt_bias[head])));
        store(g + t, exp(mul(set1(op.decay[head]), step)));
        store(beta + t, sigmoid(load(b)));
    }
}

// `count` tokens over one strip of W · 16 columns: state [key_dim][W · 16]; q, k [count][stride];
// v and out point to the strip's first column of the first token. Not WHOLE: the last vector has only `last` columns;
// its other lanes are 0 in the state and stay so.
template <int W, bool WHOLE>
inline void run_strip(float* state, int key_dim, const float* q, const float* k, int64_t stride, const float* g,
                      const float* beta, int count, const float* v, int64_t v_stride, float* out, int64_t out_stride,
                      int last) {
    constexpr int COLUMNS = W * LANES;
    auto columns = [&](int w) { return w + 1 < W ? LANES : last; };
    Lanes u[W], o[W], delta[W];
    for (int w = 0; w < W; ++w) u[w] = zero();
    for (int i = 0; i < key_dim; ++i)
        for (int w = 0; w < W; ++w) u[w] = fma(set1(k[i]), load(state + i * COLUMNS + w * LANES), u[w]);
    for (int t = 0; t < count; ++t) {
        const Lanes decay = set1(g[t]);
        ask_for(v + (t + AHEAD < count ? t + AHEAD : t) * v_stride, COLUMNS);
        for (int w = 0; w < W; ++w) {
            const Lanes wanted = load_columns_of<WHOLE>(v + t * v_stride + w * LANES, columns(w));
            delta[w] = mul(set1(beta[t]), sub(wanted, mul(decay, u[w])));
            u[w] = o[w] = zero();
        }
        const float *key = k + t * stride, *query = q + t * stride;
        if (t + 1 < count) {
            const float* next = key + stride;
            for (int i = 0; i < key_dim; ++i)
                for (int w = 0; w < W; ++w) {
                    float* at = state + i * COLUMNS + w * LANES;
                    const Lanes s = fma(set1(key[i]), delta[w], mul(decay, load(at)));
                    store(at, s);
                    o[w] = fma(set1(query[i]), s, o[w]);
                    u[w] = fma(set1(next[i]), s, u[w]);
                }
        } else {
            for (int i = 0; i < key_dim; ++i)
                for (int w = 0; w < W; ++w) {
                    float* at = state + i * COLUMNS + w * LANES;
                    const Lanes s = fma(set1(key[i]), delta[w], mul(decay, load(at)));
                    store(at, s);
                    o[w] = fma(set1(query[i]), s, o[w]);
                }
        }
        for (int w = 0; w < W; ++w) store_columns_of<WHOLE>(out + t * out_stride + w * LANES, o[w], columns(w));
    }
}

// run(Strips) of so many vectors, 1 … W.
template <int W, class Run>
SHOESTRING_INLINE void run_width(int vectors, bool whole, const Run& run) {
    if constexpr (W > 1) {
        if (vectors != W) return run_width<W - 1>(vectors, whole, run);
    }
    if (whole)
        run(Strips<W>{});
    else
        run(Strips<W, false>{});
}

// Between a slot's [key_dim, value_dim] and the strips of the scratch, which are whole vectors wide.
inline int strip_width(int column, int value_dim) {
    const int left = value_dim - column;
    return left < STRIP ? (left + LANES - 1) / LANES * LANES : STRIP;
}
inline void load_state(const float* slot, int key_dim, int value_dim, float* state) {
    for (int column = 0; column < value_dim; column += STRIP) {
        const int width = strip_width(column, value_dim);
        for (int i = 0; i < key_dim; ++i, state += width)
            for (int c = 0; c < width; c += LANES) {
                const int64_t at = int64_t(i) * value_dim + column + c;
                const int count = columns_left(column + c, value_dim);
                store(state + c, !slot ? zero() : count < LANES ? load(slot + at, count) : load(slot + at));
            }
    }
}
inline void save_state(const float* state, int key_dim, int value_dim, float* slot) {
    for (int column = 0; column < value_dim; column += STRIP) {
        const int width = strip_width(column, value_dim);
        for (int i = 0; i < key_dim; ++i, state += width)
            for (int c = 0; c < width; c += LANES) {
                float* to = slot + int64_t(i) * value_dim + column + c;
                const int count = columns_left(column + c, value_dim);
                if (count < LANES)
                    store(to, load(state + c), count);
                else
                    store(to, load(state + c));
            }
    }
}

// One token of one head, from slot to slot (null: zeros; the same one: in place) without a copy in between. Rows of
// the state are walked ROW_BLOCK at a time, whole, so that memory is read in order; u and o wait in the scratch.
inline void one_token(const float* from, float* to, int key_dim, int value_dim, const float* q, const float* k, float g,
                      float beta, const float* v, float* out, float* delta) {
    constexpr int ROW_BLOCK = 8;
    constexpr int64_t BYTES_AHEAD = 8192;
    const Lanes decay = set1(g);
    for (int c = 0; c < value_dim; c += LANES) store(delta + c, zero());
    for (int row = 0; from && row < key_dim; row += ROW_BLOCK) {
        const int rows = key_dim - row < ROW_BLOCK ? key_dim - row : ROW_BLOCK;
        const float* block = from + int64_t(row) * value_dim;
        auto sum_columns = [&](auto strips, int column) {
            constexpr int W = decltype(strips)::value;
            constexpr bool WHOLE = decltype(strips)::whole;
            const int count = columns_left(column, value_dim);
            Lanes u[W];
            for (int w = 0; w < W; ++w) u[w] = load(delta + column + w * LANES);
            for (int i = 0; i < rows; ++i)
                for (int w = 0; w < W; ++w) {
                    const float* at = block + int64_t(i) * value_dim + column + w * LANES;
                    prefetch(reinterpret_cast<const char*>(at) + BYTES_AHEAD);
                    u[w] = fma(set1(k[row + i]), load_columns_of<WHOLE>(at, count), u[w]);
                }
            for (int w = 0; w < W; ++w) store(delta + column + w * LANES, u[w]);
        };
        int column = 0;
        for (; column + 4 * LANES <= value_dim; column += 4 * LANES) sum_columns(Strips<4>{}, column);
        for (; column + LANES <= value_dim; column += LANES) sum_columns(Strips<1>{}, column);
        if (column < value_dim) sum_columns(Strips<1, false>{}, column);
    }
    for (int c = 0; c < value_dim; c += LANES) {
        const int count = columns_left(c, value_dim);
        const Lanes wanted = count < LANES ? load(v + c, count) : load(v + c);
        store(delta + c, mul(set1(beta), sub(wanted, mul(decay, load(delta + c)))));
    }
    std::memset(out, 0, size_t(value_dim) * sizeof(float));
    for (int row = 0; row < key_dim; row += ROW_BLOCK) {
        const int rows = key_dim - row < ROW_BLOCK ? key_dim - row : ROW_BLOCK;
        auto update_columns = [&](auto strips, int column) {
            constexpr int W = decltype(strips)::value;
            constexpr bool WHOLE = decltype(strips)::whole;
            const int count = columns_left(column, value_dim);
            Lanes o[W], change[W];
            for (int w = 0; w < W; ++w) {
                o[w] = load_columns_of<WHOLE>(out + column + w * LANES, count);
                change[w] = load(delta + column + w * LANES);
            }
            for (int i = 0; i < rows; ++i)
                for (int w = 0; w < W; ++w) {
                    const int64_t at = int64_t(row + i) * value_dim + column + w * LANES;
                    const Lanes old = from ? load_columns_of<WHOLE>(from + at, count) : zero();
                    const Lanes s = fma(set1(k[row + i]), change[w], mul(decay, old));
                    store_columns_of<WHOLE>(to + at, s, count);
                    o[w] = fma(set1(q[row + i]), s, o[w]);
                }
            for (int w = 0; w < W; ++w) store_columns_of<WHOLE>(out + column + w * LANES, o[w], count);
        };
        int column = 0;
        for (; column + 2 * LANES <= value_dim; column += 2 * LANES) update_columns(Strips<2>{}, column);
        for (; column + LANES <= value_dim; column += LANES) update_columns(Strips<1>{}, column);
        if (column < value_dim) update_columns(Strips<1, false>{}, column);
    }
}

// Rows [row, row + count) of a head, [count][value_dim], through the gated rms_norm to their places in the result.
inline void norm_rows(const DeltaRule& op, const float* rows, int64_t row, int count, int head) {
    const int64_t n = op.value_dim, stride = op.value_heads * n;
    int64_t at = row * stride + head * n;
    for (int t = 0; t < count; ++t, at += stride, rows += n) {
        const int64_t next = t + AHEAD < count ? at + AHEAD * stride : at;
        ask_for(op.gate + next, op.value_dim);
        ask_for(op.out + next, op.value_dim);
        rms_norm(rows, op.norm, op.gate + at, n, op.eps, op.out + at, 0, 1);
    }
}

void delta_rule(const DeltaRule& op, int span, int head, float* scratch) {
    const int DK = op.key_dim, DV = op.value_dim;
    const int64_t keys = (DK + LANES - 1) / LANES * LANES, row_floats = 2ll * op.key_heads * DK + op.value_heads * DV;
    float* state = scratch;
    float *q = state + int64_t(DK) * (DV + LANES), *k = q + TOKEN_BLOCK * keys, *g = k + TOKEN_BLOCK * keys;
    float *beta = g + TOKEN_BLOCK, *unnormed = beta + TOKEN_BLOCK;  // [TOKEN_BLOCK][DV]
    const Slots& slots = op.slots;
    const int64_t head_floats = int64_t(DK) * DV, slot_floats = op.value_heads * head_floats;
    auto slot = [&](int64_t number) { return slots.data + number * slot_floats + head * head_floats; };
    const float scale = 1.0f / __builtin_sqrtf(float(DK));

    const int32_t from = slots.read_slots[span];
    const int64_t end = slots.span_starts[span + 1];
    int64_t snapshot = 0, row = slots.span_starts[span];
    while (snapshot < slots.snapshot_count && slots.snapshots[2 * snapshot] < row) ++snapshot;
    const bool one = end - row == 1 && !(snapshot < slots.snapshot_count && slots.snapshots[2 * snapshot] == row);
    if (!one) load_state(from < 0 ? nullptr : slot(from), DK, DV, state);
    while (row < end) {
        int64_t until = row + TOKEN_BLOCK < end ? row + TOKEN_BLOCK : end;
        if (snapshot < slots.snapshot_count && slots.snapshots[2 * snapshot] + 1 < until)
            until = slots.snapshots[2 * snapshot] + 1;
        const int count = int(until - row);
        const float* qkv = op.qkv + row * row_floats;
        const float* heads = qkv + op.key_head_index[head] * DK;
        for (int t = 0; t < count; ++t, heads += row_floats) {
            const float* next = t + AHEAD < count ? heads + AHEAD * row_floats : heads;
            ask_for(next, DK);
            ask_for(next + op.key_heads * DK, DK);
            l2_norm(heads, DK, scale, q + t * keys);
            l2_norm(heads + op.key_heads * DK, DK, 1.0f, k + t * keys);
        }
        gates(op, row, count, head, g, beta);
        const float* v = qkv + 2 * op.key_heads * DK + head * DV;
        float* out = op.norm ? unnormed : op.out + (row * op.value_heads + head) * DV;
        const int64_t out_stride = op.norm ? DV : int64_t(op.value_heads) * DV;
        if (one) {
            one_token(from < 0 ? nullptr : slot(from), slot(slots.write_slots[span]), DK, DV, q, k, *g, *beta, v, out,
                      state);
            if (op.norm) norm_rows(op, unnormed, row, 1, head);
            return;
        }
        for (int column = 0; column < DV; column += STRIP) {
            auto run = [&](auto strips) {
                run_strip<decltype(strips)::value, decltype(strips)::whole>(
                    state + int64_t(DK) * column, DK, q, k, keys, g, beta, count, v + column, row_floats, out + column,
                    out_stride, (DV - column - 1) % LANES + 1);
            };
            const int left = DV - column < STRIP ? DV - column : STRIP;
            run_width<STRIP_VECTORS>((left + LANES - 1) / LANES, left % LANES == 0, run);
        }
        if (op.norm) norm_rows(op, unnormed, row, count, head);
        row = until;
        for (; snapshot < slots.snapshot_count && slots.snapshots[2 * snapshot] == row - 1; ++snapshot)
            save_state(state, DK, DV, slot(slots.snapshots[2 * snapshot + 1]));
    }
    save_state(state, DK, DV, slot(slots.write_slots[span]));
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
