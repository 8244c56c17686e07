// The functions of the sequence family that a variant exports, and their operands: attention, the gated delta
// rule, the short convolution. Plain data; the code that plans, checks and runs threads is in bindings_sequence.cpp.
#pragma once

#include <cstdint>

namespace shoestring {

// Positions in a page of keys and values; models/state.py has the same number.
constexpr int PAGE_TOKENS = 64;

// Positions in the pieces of a row that threads may compute apart, at multiples of it.
constexpr int64_t SEGMENT_TOKENS = 512;

// Types of stored keys and values; kv_types.py has the same. Q8_0: KV_BLOCK dims share an f16 scale.
enum class KVType { F32, F16, Q8_0 };
constexpr int KV_BLOCK = 32;
static constexpr int64_t kv_scales(int64_t head_dim) { return (head_dim + KV_BLOCK - 1) / KV_BLOCK; }

// Bytes of the keys, or the values, of one position and head.
static constexpr int64_t kv_bytes(KVType type, int64_t head_dim) {
    return type == KVType::Q8_0 ? head_dim + 2 * kv_scales(head_dim) : (type == KVType::F16 ? 2 : 4) * head_dim;
}

// Where the positions of each span lie.
struct Paging {
    const int32_t* pages;  // [spans, entries]
    int64_t entries;
    const int64_t* first_page;  // [spans]
};

struct Attention {
    const float* q;      // [rows, heads, head_dim]
    const void* keys;    // [pages, kv_heads, head_dim, PAGE_TOKENS]; Q8_0: kv_pages.h
    const void* values;  // [pages, kv_heads, PAGE_TOKENS, head_dim]
    KVType type;
    Paging paging;
    const int64_t* index;          // [rows]
    const int64_t* first_visible;  // [rows]
    int heads, kv_heads, head_dim;
    float scale;
    float* out;  // [rows, heads, head_dim]
};

// Rows of one span × the query heads of one key-value head.
struct AttentionUnit {
    int64_t first_row;
    int span, kv_head, rows;
};

struct Store {
    const float *k, *v;  // [rows, kv_heads, head_dim]
    void *keys, *values;
    KVType type;
    Paging paging;
    const int64_t* index;  // [rows]
    int kv_heads, head_dim;
};

// State that is read from one slot, written to another, and also to a slot after some rows.
struct Slots {
    float* data;
    const int32_t* span_starts;  // [spans + 1]
    const int32_t* read_slots;   // [spans], -1: zeros
    const int32_t* write_slots;  // [spans]
    const int32_t* snapshots;    // [count, 2]: row, slot
    int64_t snapshot_count;
};

struct Convolution {
    const float* x;       // [rows, channels]
    const float* weight;  // [channels, width]
    Slots slots;          // [slots, width - 1, channels]
    int64_t channels;
    int width;
    float* out;  // [rows, channels]
};
constexpr int MAX_CONVOLUTION_WIDTH = 8;

struct DeltaRule {
    const float* qkv;               // [rows, 2 · key_heads · key_dim + value_heads · value_dim]
    const float *a, *b;             // [rows, value_heads]
    const float *decay, *dt_bias;   // [value_heads]
    const int32_t* key_head_index;  // [value_heads]
    Slots slots;                    // [slots, value_heads, key_dim, value_dim]
    int key_heads, value_heads, key_dim, value_dim;
    float* out;  // [rows, value_heads, value_dim]
    // The gated rms_norm of each head's rows; norm null: none.
    const float* norm = nullptr;  // [value_dim]
    const float* gate = nullptr;  // like out
    float eps = 0.0f;
};

struct SequenceTable {
    int lanes;

    int64_t (*attention_scratch_floats)(int64_t vectors, int64_t head_dim);
    int64_t (*attention_partial_floats)(int64_t vectors, int64_t head_dim);
    // All positions of a unit.
    void (*attention_unit)(const Attention&, const AttentionUnit&, float* scratch);
    // One segment of a unit, its partial left in `partial`.
    void (*attention_segment)(const Attention&, const AttentionUnit&, int64_t segment, float* scratch, float* partial);
    // Partials of consecutive segments, into `running`; the first call clears it, the last one writes the result.
    void (*attention_merge)(const Attention&, const AttentionUnit&, const float* partials, int64_t count,
                            float* running, bool first, bool last);
    // Rows [first_row, end_row) of a span, all in one page, of one key-value head.
    void (*store_keys_values)(const Store&, int span, int kv_head, int64_t first_row, int64_t end_row);

    // Channels [begin, end) of a span; begin a multiple of 16.
    void (*convolution)(const Convolution&, int span, int64_t begin, int64_t end);

    int64_t (*delta_rule_scratch_floats)(int64_t key_dim, int64_t value_dim);
    void (*delta_rule)(const DeltaRule&, int span, int value_head, float* scratch);
};

}  // namespace shoestring
