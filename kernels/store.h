// Keys and values into their pages: rounded to the pool's type, keys transposed. What each type stores: kv_pages.h.
#pragma once

#include "attention.h"
#include "quantize.h"

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::Store;

// Rows [first, end) of one span and head, all in one page, and where the page begins.
struct PageRows {
    int64_t first, end;
    const float* numbers;  // of row 0
    int64_t stride;        // floats from one row to the next
    const int64_t* index;
    int64_t head_dim;
    char* page;

    const float* row(int64_t r) const { return numbers + r * stride; }
    int64_t position(int64_t r) const { return index[r] % PAGE_TOKENS; }
};

SHOESTRING_INLINE void store_numbers(float* to, Lanes x, int count) { store(to, x, count); }
SHOESTRING_INLINE void store_numbers(uint16_t* to, Lanes x, int count) { store_f16(to, x, count); }

template <class Number>
void store_values(const PageRows& rows) {
    const int64_t D = rows.head_dim;
    for (int64_t r = rows.first; r < rows.end; ++r) {
        Number* to = reinterpret_cast<Number*>(rows.page) + rows.position(r) * D;
        for (int64_t d = 0; d < D; d += LANES) {
            const int count = int(D - d < LANES ? D - d : LANES);
            store_numbers(to + d, load(rows.row(r) + d, count), count);
        }
    }
}

template <class Number>
void store_keys(const PageRows& rows) {
    const int64_t D = rows.head_dim;
    for (int64_t r = rows.first; r < rows.end; r += LANES) {
        const int count = int(rows.end - r < LANES ? rows.end - r : LANES);
        Number* to = reinterpret_cast<Number*>(rows.page) + rows.position(r);
        for (int64_t d = 0; d < D; ++d) {
            float column[LANES] = {};
            for (int i = 0; i < count; ++i) column[i] = rows.row(r + i)[d];
            store_numbers(to + d * PAGE_TOKENS, load(column), count);
        }
    }
}

// Numbers of a block that the head lacks count as zero. Between quants of neighbouring dims are `stride` bytes.
void store_quantized(const PageRows& rows, int64_t position_stride, int64_t stride) {
    const int64_t D = rows.head_dim;
    auto* quants = reinterpret_cast<int8_t*>(rows.page);
    auto* scales = reinterpret_cast<uint16_t*>(rows.page + D * PAGE_TOKENS);
    for (int64_t r = rows.first; r < rows.end; ++r) {
        const int64_t position = rows.position(r);
        for (int64_t d = 0; d < D; d += KV_BLOCK) {
            const int64_t count = D - d < KV_BLOCK ? D - d : KV_BLOCK;
            float numbers[KV_BLOCK] = {};
            int8_t block[KV_BLOCK];
            std::memcpy(numbers, rows.row(r) + d, size_t(count) * sizeof(float));
            scales[d / KV_BLOCK * PAGE_TOKENS + position] =
                narrow_f16(quantize_values<KV_BLOCK / LANES>(numbers, block));
            int8_t* to = quants + position * position_stride + d * stride;
            for (int64_t i = 0; i < count; ++i) to[i * stride] = block[i];
        }
    }
}

void store_keys_values(const Store& op, int span, int kv_head, int64_t first_row, int64_t end_row) {
    const int64_t D = op.head_dim, page = page_at(op.paging, span, op.index[first_row] / PAGE_TOKENS);
    const int64_t offset = (page * op.kv_heads + kv_head) * kv_bytes(op.type, D) * PAGE_TOKENS;
    auto rows_of = [&](const float* numbers, void* pool) {
        return PageRows{
            first_row, end_row, numbers + kv_head * D, op.kv_heads * D, op.index, D, static_cast<char*>(pool) + offset};
    };
    const PageRows keys = rows_of(op.k, op.keys), values = rows_of(op.v, op.values);
    if (op.type == KVType::Q8_0) {
        store_quantized(keys, 1, PAGE_TOKENS);
        store_quantized(values, D, 1);
    } else if (op.type == KVType::F16) {
        store_keys<uint16_t>(keys);
        store_values<uint16_t>(values);
    } else {
        store_keys<float>(keys);
        store_values<float>(values);
    }
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
