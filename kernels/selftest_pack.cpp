// The pack family: every variant against the scalar one, whole and by tiles, against guard pages on both sides.
#include "selftest.h"

namespace shoestring::selftest {
namespace {

using Bytes = Guarded<uint8_t>;

int matrix(WeightType type, int64_t rows, int64_t columns, bool transposed) {
    if (!next_case()) return 0;
    const WeightFormat& f = format(type);
    const int64_t row_bytes = columns / f.block * f.file_bytes;
    const Bytes file(rows * row_bytes);
    Numbers numbers(static_cast<uint64_t>(rows * columns));
    for (int64_t i = 0; i < file.size(); ++i) file[i] = static_cast<uint8_t>(numbers.next());
    const Region region = transposed ? Region{file.data(), rows, columns, f.file_bytes, rows * f.file_bytes}
                                     : Region{file.data(), rows, columns, row_bytes, f.block == 1 ? f.file_bytes : 0};
    const int64_t group = group_bytes(type, columns);
    const Bytes expected(num_groups(rows) * group), ours(expected.size());
    variants().front().pack->pack_tile(type, region, expected.data(), group);
    note("pack", expected);
    int failures = 0;
    const auto same = [&](const Variant& variant, const char* what) {
        failures += expect(ours.same_as(expected), variant.name, what, rows * 10000 + columns);
        std::memset(ours.data(), 0xcc, static_cast<size_t>(ours.size()));
    };
    for (const Variant& variant : variants()) {
        std::memset(ours.data(), 0xcc, static_cast<size_t>(ours.size()));
        variant.pack->pack_tile(type, region, ours.data(), group);
        same(variant, f.name);
        // Groups of rows, last first.
        for (int64_t g = num_groups(rows) - 1; g >= 0; --g) {
            const int64_t row = g * GROUP_ROWS, count = rows - row < GROUP_ROWS ? rows - row : GROUP_ROWS;
            const Region tile{region.data + row * region.row_stride, count, columns, region.row_stride,
                              region.column_stride};
            variant.pack->pack_tile(type, tile, ours.data() + g * group, group);
        }
        same(variant, "groups");
        if (f.block > 1) continue;
        for (int64_t column = 0, width = 2; column < columns; column += width, width += 2) {
            const int64_t count = columns - column < width ? columns - column : width;
            const Region tile{region.data + column * region.column_stride, rows, count, region.row_stride,
                              region.column_stride};
            variant.pack->pack_tile(type, tile, ours.data() + column * f.packed_bytes, group);
        }
        same(variant, "columns");
    }
    return failures;
}

}  // namespace

int pack() {
    int failures = 0;
    for (int i = 0; i < NUM_WEIGHT_TYPES; ++i) {
        const WeightType type = static_cast<WeightType>(i);
        const int64_t block = format(type).block;
        for (int64_t rows : {1, 2, 15, 16, 17, 33, 48}) {
            for (int64_t blocks : {1, 2, 3}) failures += matrix(type, rows, blocks * block, false);
            if (block > 1) continue;
            for (int64_t columns : {4, 5, 7, 8, 9, 16, 63, 64, 65, 131})
                for (bool transposed : {false, true}) failures += matrix(type, rows, columns, transposed);
        }
    }
    return failures;
}

}  // namespace shoestring::selftest
