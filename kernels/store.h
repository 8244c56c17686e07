// Keys and values into their pages: rounded to the pool's type, keys transposed.
#pragma once

#include "attention.h"

namespace SHOESTRING_VARIANT {
namespace {

using shoestring::Store;

SHOESTRING_INLINE void store_rounded(const Store& op, void* pool, int64_t at, Lanes x, int count) {
    if (op.half)
        store_f16(static_cast<uint16_t*>(pool) + at, x, count);
    else
        store(static_cast<float*>(pool) + at, x, count);
}

void store_keys_values(const Store& op, int span, int kv_head, int64_t first_row, int64_t end_row) {
    const int64_t D = op.head_dim, row_floats = op.kv_heads * D;
    const int64_t page = page_at(op.paging, span, op.index[first_row] / PAGE_TOKENS);
    const int64_t offset = (page * op.kv_heads + kv_head) * D * PAGE_TOKENS;

    for (int64_t row = first_row; row < end_row; ++row) {
        const float* v = op.v + row * row_floats + kv_head * D;
        const int64_t at = offset + op.index[row] % PAGE_TOKENS * D;
        for (int64_t d = 0; d < D; d += LANES) {
            const int count = int(D - d < LANES ? D - d : LANES);
            store_rounded(op, op.values, at + d, load(v + d, count), count);
        }
    }
    for (int64_t row = first_row; row < end_row; row += LANES) {
        const int rows = int(end_row - row < LANES ? end_row - row : LANES);
        const float* k = op.k + row * row_floats + kv_head * D;
        const int64_t at = offset + op.index[row] % PAGE_TOKENS;
        for (int64_t d = 0; d < D; ++d) {
            float column[LANES] = {};
            for (int i = 0; i < rows; ++i) column[i] = k[i * row_floats + d];
            store_rounded(op, op.keys, at + d * PAGE_TOKENS, load(column), rows);
        }
    }
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
