// Paged attention: grouped heads, causal, from any first visible position. Canonical order: docs/numerics.md.
//
// A unit is some rows of one span × the query heads that share one key-value head: its "vectors". For each page
// the scores of all its vectors are a matrix product with the page's transposed keys, the weighted values another
// one, both by the same register tile; keys and values are widened once per unit and page, 16 columns at a time.
// Segments of SEGMENT_TOKENS positions are independent of each other, so that threads may share a long row;
// their partials (maximum, sum of exponentials, weighted values) merge in ascending order.
//
// Shapes: V vectors of the unit, D head dim, P = PAGE_TOKENS.
#pragma once

#include "attention_direct.h"
#include "lanes_math.h"
#include "sequence_table.h"

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::Attention;
using shoestring::AttentionUnit;
using shoestring::Paging;
using shoestring::SEGMENT_TOKENS;

constexpr int STRIPS = PAGE_TOKENS / LANES;  // of 16 positions in a page
// Dims of a panel of keys: it stays in the first-level cache while the unit's queries pass by.
constexpr int PANEL_ROWS = 128;
// Factors of sums that go on as they are.
constexpr struct Ones {
    float each[TILE_VECTORS];
    constexpr Ones() : each{} {
        for (float& one : each) one = 1;
    }
} ONES;

SHOESTRING_INLINE int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// How a tile's multipliers lie: queries [k][T], the weights of positions [T][PAGE_TOKENS]. Either way their distances
// are constants, as so many pointers would not fit the registers.
enum class Multipliers { QUERIES, WEIGHTS };

// out[t][16 s + lane] = Σ_k a(t, k) · panel[s][k][lane], k ascending from `begin`, starting from start[t] · out[t].
template <Multipliers FORM, int T, int S>
SHOESTRING_INLINE void attention_tile(const float* a, const float* panel, int64_t panel_stride, int begin, int end,
                                      const float* start, float* out, int64_t out_stride) {
    Lanes sum[T][S];
    for (int t = 0; t < T; ++t)
        for (int s = 0; s < S; ++s)
            sum[t][s] = start ? mul(load(out + t * out_stride + s * LANES), set1(start[t])) : zero();
    // Columns first: a number is then held for one step alone, and all sums stay in registers.
    auto step = [&](int k) {
        Lanes column[S];
        for (int s = 0; s < S; ++s) column[s] = load(panel + s * panel_stride + k * LANES);
        for (int t = 0; t < T; ++t) {
            const Lanes number = set1(FORM == Multipliers::QUERIES ? a[k * T + t] : a[t * PAGE_TOKENS + k]);
            for (int s = 0; s < S; ++s) sum[t][s] = fma(number, column[s], sum[t][s]);
        }
    };
    if (S == 1) {
#pragma GCC unroll 4
        for (int k = begin; k < end; ++k) step(k);
    } else {
        for (int k = begin; k < end; ++k) step(k);
    }
    for (int t = 0; t < T; ++t)
        for (int s = 0; s < S; ++s) store(out + t * out_stride + s * LANES, sum[t][s]);
}

// `count` vectors (1 .. TILE_VECTORS) × `strips` strips.
template <Multipliers FORM>
inline void attention_tiles(int count, int strips, const float* a, const float* panel, int64_t panel_stride, int begin,
                            int end, const float* start, float* out, int64_t out_stride) {
    each_tile(count, strips, [&]<int T, int S>(int strip) {
        attention_tile<FORM, T, S>(a, panel + strip * panel_stride, panel_stride, begin, end, start,
                                   out + strip * LANES, out_stride);
    });
}

// 16 columns of a key or value page, widened: panel[k][16] of rows [begin, end).
template <class Numbers>
SHOESTRING_INLINE void widen_panel(const Numbers& numbers, int strip, int begin, int end, int columns, float* panel,
                                   Ahead& ahead) {
    for (int k = begin; k < end && ahead.at < ahead.end; ++k, ahead.at += 64) prefetch_l2(ahead.at);
    if (columns == LANES) {
        for (int k = begin; k < end; ++k) store(panel + k * LANES, numbers(k, strip));
    } else {
        for (int k = begin; k < end; ++k) store(panel + k * LANES, numbers(k, strip, columns));
    }
}

// Where a unit's numbers lie in a thread's scratch; sizes by attention_scratch.
struct AttentionScratch {
    float *q, *scores, *panel, *scales, *largest, *rescale, *partial, *running;
};

// A partial: weighted values [V, D16], then the maximum [V16] and the sum [V16] of each vector.
inline int64_t attention_partial_floats(int64_t vectors, int64_t head_dim) {
    return vectors * round_up(head_dim, LANES) + 2 * round_up(vectors, LANES);
}

inline int64_t attention_scratch_floats(int64_t vectors, int64_t head_dim) {
    const int64_t padded = round_up(vectors, LANES);
    const int64_t longest = head_dim > PAGE_TOKENS ? head_dim : PAGE_TOKENS;
    return vectors * round_up(head_dim, LANES) + vectors * PAGE_TOKENS + MOST_STRIPS * longest * LANES +
           kv_scales(head_dim) * PAGE_TOKENS + 2 * padded + 2 * attention_partial_floats(vectors, head_dim);
}

inline AttentionScratch attention_scratch(float* scratch, int64_t vectors, int64_t head_dim) {
    const int64_t padded = round_up(vectors, LANES);
    const int64_t longest = head_dim > PAGE_TOKENS ? head_dim : PAGE_TOKENS;
    AttentionScratch s;
    s.q = scratch;
    s.scores = s.q + vectors * round_up(head_dim, LANES);
    s.panel = s.scores + vectors * PAGE_TOKENS;
    s.scales = s.panel + MOST_STRIPS * longest * LANES;
    s.largest = s.scales + kv_scales(head_dim) * PAGE_TOKENS;
    s.rescale = s.largest + padded;
    s.partial = s.rescale + padded;
    s.running = s.partial + attention_partial_floats(vectors, head_dim);
    return s;
}

inline void clear_partial(float* partial, int64_t vectors, int64_t head_dim) {
    float* largest = partial + vectors * round_up(head_dim, LANES);
    for (float* p = partial; p < largest; p += LANES) store(p, zero());
    for (int64_t v = 0; v < round_up(vectors, LANES); v += LANES) {
        store(largest + v, negate(infinity()));
        store(largest + round_up(vectors, LANES) + v, zero());
    }
}

// The page of the pool that holds the page-th PAGE_TOKENS positions of a span.
SHOESTRING_INLINE int64_t page_at(const Paging& paging, int span, int64_t page) {
    return paging.pages[span * paging.entries + (page - paging.first_page[span])];
}

// The part of a page, at absolute position `start`, that a row sees: [low, high).
struct Visible {
    int low, high;
};
SHOESTRING_INLINE Visible visible(const Attention& op, int64_t row, int64_t start) {
    const int64_t low = op.first_visible[row] - start, high = op.index[row] + 1 - start;
    Visible v;
    v.low = int(low < 0 ? 0 : low > PAGE_TOKENS ? PAGE_TOKENS : low);
    v.high = int(high < 0 ? 0 : high > PAGE_TOKENS ? PAGE_TOKENS : high);
    return v;
}

// Scores [P] of one vector → their exponentials, zero where masked; returns their sum.
SHOESTRING_INLINE float exponentials(float* scores, Visible seen, float largest) {
    const Lanes shift = set1(largest);
    Lanes sum = zero();
    for (int s = seen.low / LANES; s * LANES < seen.high; ++s) {
        Lanes p = exp_nonpositive(sub(load(scores + s * LANES), shift));
        if (s * LANES < seen.low || (s + 1) * LANES > seen.high) {
            const Ints position = add(lane_numbers(), set1(s * LANES));
            p = select(both(less(set1(seen.low - 1), position), less(position, set1(seen.high))), p, zero());
        }
        store(scores + s * LANES, p);
        sum = add(sum, p);
    }
    return fold_sum(sum);
}

SHOESTRING_INLINE float largest_score(const float* scores, Visible seen, float largest) {
    Lanes most = set1(largest);
    for (int s = seen.low / LANES; s * LANES < seen.high; ++s) {
        Lanes score = load(scores + s * LANES);
        if (s * LANES < seen.low || (s + 1) * LANES > seen.high) {
            const Ints position = add(lane_numbers(), set1(s * LANES));
            score = select(both(less(set1(seen.low - 1), position), less(position, set1(seen.high))), score,
                           negate(infinity()));
        }
        most = max(most, score);
    }
    return fold_max(most);
}

// One page of one unit: where it begins, what its first and its last row see of it.
struct Part {
    int64_t start;
    int vectors, group, first_row;
    bool direct;
    Visible first, last;
};

// Tiles of a unit's vectors.
SHOESTRING_INLINE int num_tiles(int vectors) { return (vectors + TILE_VECTORS - 1) / TILE_VECTORS; }
SHOESTRING_INLINE int first_of_tile(int vectors, int tile) { return vectors * tile / num_tiles(vectors); }

// One row, whose vectors all see the same positions.
SHOESTRING_INLINE bool is_direct(const Attention& op, const AttentionUnit& unit) {
    return unit.rows == 1 && op.heads / op.kv_heads <= DIRECT_VECTORS && op.head_dim % LANES == 0;
}

SHOESTRING_INLINE Visible seen_by(const Attention& op, const Part& part, int vector) {
    return visible(op, part.first_row + vector / part.group, part.start);
}

template <class Keys>
void page_scores(const Attention& op, const Part& part, const Keys& keys, const AttentionScratch& s, Ahead ahead) {
    const int D = op.head_dim, vectors = part.vectors, together = strips_at_once(vectors);
    const int64_t D16 = round_up(D, LANES);
    int strip = part.first.low / LANES;
    const int last_strip = (part.last.high + LANES - 1) / LANES;
    if (part.direct) return direct_scores(vectors, s.q, D16, keys, D, strip, last_strip, s.scores, ahead);
    for (; strip < last_strip; strip += together) {
        const int strips = strip + together <= STRIPS ? together : STRIPS - strip;
        for (int d = 0; d < D; d += PANEL_ROWS) {
            const int end = d + PANEL_ROWS < D ? d + PANEL_ROWS : D;
            for (int i = 0; i < strips; ++i)
                widen_panel(keys, strip + i, d, end, LANES, s.panel + i * int64_t(D) * LANES, ahead);
            for (int i = 0; i < num_tiles(vectors); ++i) {
                const int v = first_of_tile(vectors, i), count = first_of_tile(vectors, i + 1) - v;
                if (seen_by(op, part, v + count - 1).high <= strip * LANES) continue;
                attention_tiles<Multipliers::QUERIES>(count, strips, s.q + v * D16, s.panel, int64_t(D) * LANES, d, end,
                                                      d == 0 ? nullptr : ONES.each,
                                                      s.scores + v * PAGE_TOKENS + strip * LANES, PAGE_TOKENS);
            }
        }
    }
}

template <class Values>
void page_values(const Attention& op, const Part& part, const Values& values, const AttentionScratch& s, Ahead ahead) {
    const int D = op.head_dim, vectors = part.vectors, together = strips_at_once(vectors);
    const int64_t D16 = round_up(D, LANES);
    const int low = part.first.low, high = part.last.high, strips_D = int(D16 / LANES);
    if (part.direct) return direct_values(vectors, s.scores, values, D, low, high, s.rescale, s.partial, ahead);
    for (int strip = 0; strip < strips_D; strip += together) {
        const int strips = strip + together <= strips_D ? together : strips_D - strip;
        for (int i = 0; i < strips; ++i) {
            const int left = D - (strip + i) * LANES;
            widen_panel(values, strip + i, low, high, left < LANES ? left : LANES,
                        s.panel + i * int64_t(PAGE_TOKENS) * LANES, ahead);
        }
        for (int i = 0; i < num_tiles(vectors); ++i) {
            const int v = first_of_tile(vectors, i), count = first_of_tile(vectors, i + 1) - v;
            const Visible a = seen_by(op, part, v), b = seen_by(op, part, v + count - 1);
            float* out = s.partial + v * D16 + strip * LANES;
            const float* p = s.scores + v * PAGE_TOKENS;
            if (a.low == b.low && a.high == b.high) {
                if (a.low < a.high)
                    attention_tiles<Multipliers::WEIGHTS>(count, strips, p, s.panel, int64_t(PAGE_TOKENS) * LANES,
                                                          a.low, a.high, s.rescale + v, out, D16);
                continue;
            }
            // Masked positions are skipped, so that nothing beyond them can reach this row.
            for (int j = 0; j < count; ++j) {
                const Visible seen = seen_by(op, part, v + j);
                if (seen.low < seen.high)
                    attention_tiles<Multipliers::WEIGHTS>(1, strips, p + j * PAGE_TOKENS, s.panel,
                                                          int64_t(PAGE_TOKENS) * LANES, seen.low, seen.high,
                                                          s.rescale + v + j, out + j * D16, D16);
            }
        }
    }
}

// One page of one unit into its partial.
inline void attend_page(const Attention& op, const AttentionUnit& unit, int64_t page, int64_t next_page, int64_t start,
                        const AttentionScratch& s) {
    const int group = op.heads / op.kv_heads, vectors = unit.rows * group, D = op.head_dim;
    const int64_t D16 = round_up(D, LANES), padded = round_up(vectors, LANES);
    float *largest = s.partial + vectors * D16, *sums = largest + padded;
    const Visible first = visible(op, unit.first_row, start), last = visible(op, unit.first_row + unit.rows - 1, start);
    if (last.high <= first.low) return;
    const Part part{start, vectors, group, int(unit.first_row), is_direct(op, unit), first, last};
    const int64_t bytes = kv_bytes(op.type, D) * PAGE_TOKENS;
    auto at = [&](const void* pool, int64_t number) {
        return static_cast<const char*>(pool) + (number * op.kv_heads + unit.kv_head) * bytes;
    };

    const char *keys = at(op.keys, page), *values = at(op.values, page);
    with_keys(op.type, keys, D, s.scales,
              [&](const auto& numbers) { page_scores(op, part, numbers, s, ahead_of(values, bytes)); });

    for (int v = 0; v < vectors; ++v) {
        const Visible seen = seen_by(op, part, v);
        s.largest[v] = seen.low < seen.high ? largest_score(s.scores + v * PAGE_TOKENS, seen, largest[v]) : largest[v];
    }
    for (int v = 0; v < vectors; v += LANES) {
        // Before a vector's first page both are -infinity and there is nothing to rescale.
        const Lanes before = load(largest + v), after = load(s.largest + v);
        store(s.rescale + v, select(equal(before, after), set1(1.0f), exp_nonpositive(sub(before, after))));
        store(largest + v, after);
    }
    for (int v = 0; v < vectors; ++v) {
        const Visible seen = seen_by(op, part, v);
        if (seen.low >= seen.high) continue;
        sums[v] = fma(sums[v], s.rescale[v], exponentials(s.scores + v * PAGE_TOKENS, seen, largest[v]));
    }

    const Ahead next = next_page < 0 ? Ahead{keys, keys} : ahead_of(at(op.keys, next_page), bytes);
    with_values(op.type, values, D, s.scales, [&](const auto& numbers) { page_values(op, part, numbers, s, next); });
}

// The partial of one segment of SEGMENT_TOKENS positions, into s.partial.
inline void attend_segment(const Attention& op, const AttentionUnit& unit, int64_t segment, const AttentionScratch& s) {
    constexpr int64_t SEGMENT_PAGES = SEGMENT_TOKENS / PAGE_TOKENS;
    clear_partial(s.partial, int64_t(unit.rows) * (op.heads / op.kv_heads), op.head_dim);
    const int64_t last_row = unit.first_row + unit.rows - 1;
    int64_t page = op.first_visible[unit.first_row] / PAGE_TOKENS, end = op.index[last_row] / PAGE_TOKENS + 1;
    if (page < segment * SEGMENT_PAGES) page = segment * SEGMENT_PAGES;
    if (end > (segment + 1) * SEGMENT_PAGES) end = (segment + 1) * SEGMENT_PAGES;
    for (; page < end; ++page)
        attend_page(op, unit, page_at(op.paging, unit.span, page),
                    page + 1 < end ? page_at(op.paging, unit.span, page + 1) : -1, page * PAGE_TOKENS, s);
}

// running ← running merged with the partial of the next segment.
inline void merge_partial(const Attention& op, const AttentionUnit& unit, const float* partial, float* running) {
    const int64_t vectors = int64_t(unit.rows) * (op.heads / op.kv_heads), padded = round_up(vectors, LANES);
    const int64_t D16 = round_up(op.head_dim, LANES), maxima = vectors * D16;
    for (int64_t v = 0; v < vectors; ++v) {
        const float segment_max = partial[maxima + v], before = running[maxima + v];
        const float segment_sum = partial[maxima + padded + v];
        if (segment_sum == 0.0f) continue;  // nothing of this segment is visible
        const float after = before > segment_max ? before : segment_max;
        const Lanes keep = exp_nonpositive(set1(before - after)), take = exp_nonpositive(set1(segment_max - after));
        running[maxima + v] = after;
        float* sum = running + maxima + padded + v;
        *sum = first_lane(fma(set1(*sum), keep, mul(set1(segment_sum), take)));
        float* weighted = running + v * D16;
        for (int64_t d = 0; d < D16; d += LANES)
            store(weighted + d, fma(load(weighted + d), keep, mul(load(partial + v * D16 + d), take)));
    }
}

// Queries times the scale: [V][D16] for a direct unit, otherwise [D16][T] of each tile.
inline void load_queries(const Attention& op, const AttentionUnit& unit, float* scaled) {
    const int group = op.heads / op.kv_heads, D = op.head_dim, vectors = unit.rows * group;
    const int64_t D16 = round_up(D, LANES);
    const bool direct = is_direct(op, unit);
    const int tiles = direct ? 1 : num_tiles(vectors);
    for (int i = 0; i < tiles; ++i) {
        const int begin = direct ? 0 : first_of_tile(vectors, i),
                  end = direct ? vectors : first_of_tile(vectors, i + 1);
        for (int v = begin; v < end; ++v) {
            const float* q =
                op.q + ((unit.first_row + v / group) * op.heads + unit.kv_head * group + v % group) * int64_t(D);
            for (int d = 0; d < D; d += LANES) {
                const Lanes sixteen = mul(load(q + d, D - d < LANES ? D - d : LANES), set1(op.scale));
                if (direct) {
                    store(scaled + v * D16 + d, sixteen);
                    continue;
                }
                alignas(64) float numbers[LANES];
                store(numbers, sixteen);
                float* to = scaled + begin * D16 + d * int64_t(end - begin) + (v - begin);
                for (int lane = 0; lane < LANES; ++lane) to[lane * int64_t(end - begin)] = numbers[lane];
            }
        }
    }
}

inline void write_result(const Attention& op, const AttentionUnit& unit, const float* running) {
    const int group = op.heads / op.kv_heads, D = op.head_dim;
    const int64_t vectors = int64_t(unit.rows) * group, D16 = round_up(D, LANES);
    const float* sums = running + vectors * D16 + round_up(vectors, LANES);
    for (int64_t v = 0; v < vectors; ++v) {
        float* out = op.out + ((unit.first_row + v / group) * op.heads + unit.kv_head * group + v % group) * int64_t(D);
        for (int d = 0; d < D; d += LANES)
            store(out + d, div(load(running + v * D16 + d), set1(sums[v])), D - d < LANES ? D - d : LANES);
    }
}

// --- what the table exports ---

// All segments of a unit.
void attention_unit(const Attention& op, const AttentionUnit& unit, float* scratch) {
    const int64_t vectors = int64_t(unit.rows) * (op.heads / op.kv_heads);
    const AttentionScratch s = attention_scratch(scratch, vectors, op.head_dim);
    load_queries(op, unit, s.q);
    clear_partial(s.running, vectors, op.head_dim);
    const int64_t end = op.index[unit.first_row + unit.rows - 1] / SEGMENT_TOKENS + 1;
    for (int64_t segment = op.first_visible[unit.first_row] / SEGMENT_TOKENS; segment < end; ++segment) {
        attend_segment(op, unit, segment, s);
        merge_partial(op, unit, s.partial, s.running);
    }
    write_result(op, unit, s.running);
}

// One segment of a unit, its partial left in `partial`.
void attention_segment(const Attention& op, const AttentionUnit& unit, int64_t segment, float* scratch,
                       float* partial) {
    AttentionScratch s = attention_scratch(scratch, int64_t(unit.rows) * (op.heads / op.kv_heads), op.head_dim);
    s.partial = partial;
    load_queries(op, unit, s.q);
    attend_segment(op, unit, segment, s);
}

// `count` partials of consecutive segments; the first call starts from nothing, the last one writes the result.
void attention_merge(const Attention& op, const AttentionUnit& unit, const float* partials, int64_t count,
                     float* running, bool first, bool last) {
    const int64_t vectors = int64_t(unit.rows) * (op.heads / op.kv_heads);
    if (first) clear_partial(running, vectors, op.head_dim);
    for (int64_t i = 0; i < count; ++i)
        merge_partial(op, unit, partials + i * attention_partial_floats(vectors, op.head_dim), running);
    if (last) write_result(op, unit, running);
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
