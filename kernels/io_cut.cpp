#include "io_cut.h"

#include <algorithm>

namespace shoestring {
namespace {

// Between two targets of a part; reading over a shorter gap costs less than a second read.
constexpr int64_t LONGEST_GAP = int64_t{64} << 10;

// A target as a row of units, in ascending order of their bytes. A unit is never divided. Rows of a file that are
// contiguous give groups of 16 rows; columns that are contiguous give strips of all rows and a few columns.
class Units {
  public:
    Units(const Target& target, int64_t most_bytes) : target_(&target) {
        const bool floats = format(target.type).block == 1;
        by_columns_ = floats && (target.rows == 1 || target.column_stride > target.row_stride);
        size_ = by_columns_ ? least_columns() : GROUP_ROWS;
        // More columns a strip, as long as pieces can still be of about equal size.
        while (by_columns_ && size_ < 32 && bytes(2 * size_) <= most_bytes / 8) size_ *= 2;
        const int64_t all = by_columns_ ? target.columns : target.rows;
        count = (all + size_ - 1) / size_;
    }

    int64_t count;

    int64_t begin(int64_t unit) const { return target_->offset + unit * size_ * step(); }
    int64_t end(int64_t unit) const {
        const int64_t all = by_columns_ ? target_->columns : target_->rows;
        return begin(unit) + bytes(std::min(size_, all - unit * size_));
    }
    int64_t least_bytes() const { return bytes(by_columns_ ? least_columns() : GROUP_ROWS); }

    // Units [first, last), as one rectangle.
    Tile tile(int64_t first, int64_t last, int64_t part_begin, uint8_t* arena) const {
        const Target& t = *target_;
        const int64_t from = first * size_, groups = group_bytes(t.type, t.columns);
        const int64_t length = std::min(last * size_, by_columns_ ? t.columns : t.rows) - from;
        // Columns begin at a pair, so that BF16 too has 32 bytes a column.
        const int64_t place = by_columns_ ? from * format(t.type).packed_bytes : first * groups;
        return {
            t.type,       part_begin + begin(first), by_columns_ ? t.rows : length, by_columns_ ? length : t.columns,
            t.row_stride, t.column_stride,           arena + t.destination + place, groups};
    }

  private:
    int64_t step() const { return by_columns_ ? target_->column_stride : target_->row_stride; }
    int64_t least_columns() const { return target_->type == WeightType::BF16 ? 2 : 1; }

    // From the first byte of n rows, or columns, to their last.
    int64_t bytes(int64_t n) const {
        const Target& t = *target_;
        const WeightFormat& f = format(t.type);
        if (by_columns_)
            return (std::min(n, t.columns) - 1) * t.column_stride + (t.rows - 1) * t.row_stride + f.file_bytes;
        const int64_t row =
            f.block > 1 ? t.columns / f.block * f.file_bytes : (t.columns - 1) * t.column_stride + f.file_bytes;
        return (std::min(n, t.rows) - 1) * t.row_stride + row;
    }

    const Target* target_;
    bool by_columns_;
    int64_t size_;  // rows or columns of a unit
};

// How far into each target's units the cutting has come.
using Places = std::vector<int64_t>;

// Which target has the unit that begins first; -1 behind the last unit.
int first_unit(const std::vector<Units>& units, const Places& places) {
    int first = -1;
    for (size_t i = 0; i < units.size(); ++i) {
        if (places[i] == units[i].count) continue;
        if (first < 0 || units[i].begin(places[i]) < units[static_cast<size_t>(first)].begin(places[size_t(first)]))
            first = static_cast<int>(i);
    }
    return first;
}

}  // namespace

const char* fault(const Target& target, int64_t part_bytes, int64_t arena_bytes) {
    constexpr int64_t LARGEST = int64_t{1} << 46;
    const auto small = [](int64_t n) { return n >= 0 && n <= LARGEST; };
    const WeightFormat& f = format(target.type);
    if (target.rows < 1 || target.columns < 1 || !small(target.rows) || !small(target.columns))
        return "rows and columns: at least 1";
    if (target.columns % f.block != 0) return "columns: not a multiple of the type's block";
    if (!small(target.offset) || !small(target.row_stride) || !small(target.column_stride) ||
        !small(target.destination))
        return "offset, strides and destination: not negative";
    const __int128 last_row = static_cast<__int128>(target.rows - 1) * target.row_stride;
    const __int128 last_column = f.block > 1 ? static_cast<__int128>(target.columns / f.block - 1) * f.file_bytes
                                             : static_cast<__int128>(target.columns - 1) * target.column_stride;
    if (target.offset + last_row + last_column + f.file_bytes > part_bytes) return "a target is not inside its part";
    const __int128 packed = static_cast<__int128>(num_groups(target.rows)) * group_bytes(target.type, target.columns);
    if (target.destination + packed > arena_bytes) return "a target's destination is not inside the arena";
    return nullptr;
}

int64_t least_region(const Target& target) { return Units(target, 0).least_bytes(); }

void cut_targets(const std::shared_ptr<IoFile>& file, int64_t begin, const std::vector<Target>& targets, uint8_t* arena,
                 int64_t most_bytes, std::vector<Piece>& pieces) {
    std::vector<Units> units;
    int64_t lowest = INT64_MAX, highest = 0;
    for (const Target& target : targets) {
        units.emplace_back(target, most_bytes);
        lowest = std::min(lowest, units.back().begin(0));
        highest = std::max(highest, units.back().end(units.back().count - 1));
    }
    if (units.empty()) return;
    const int64_t total = highest - lowest, wanted = (total + most_bytes - 1) / most_bytes;
    const int64_t aim = (total + wanted - 1) / wanted;

    Places places(units.size(), 0);
    for (int next = first_unit(units, places); next >= 0;) {
        const Places from = places;
        const int64_t first = units[static_cast<size_t>(next)].begin(places[static_cast<size_t>(next)]);
        int64_t end = first, clean_end = 0;
        Places clean;  // the last places where no unit that follows shares bytes with one before
        while (next >= 0) {
            const size_t i = static_cast<size_t>(next);
            const int64_t unit_begin = units[i].begin(places[i]), unit_end = units[i].end(places[i]);
            if (unit_begin >= end && end > first) {
                clean = places;
                clean_end = end;
                if (end - first >= aim || unit_begin > end + LONGEST_GAP) break;
            }
            if (std::max(end, unit_end) - first > most_bytes) break;
            end = std::max(end, unit_end);
            ++places[i];
            next = first_unit(units, places);
        }
        if (next >= 0 && clean_end > 0) {
            places = clean;
            end = clean_end;
        }
        Piece piece{file, begin + first, begin + end, nullptr, nullptr, {}};
        for (size_t i = 0; i < units.size(); ++i) {
            if (places[i] > from[i]) piece.tiles.push_back(units[i].tile(from[i], places[i], begin, arena));
        }
        pieces.push_back(std::move(piece));
        next = first_unit(units, places);
    }
}

void cut_bytes(const std::shared_ptr<IoFile>& file, int64_t begin, int64_t end, uint8_t* to, const uint8_t* from,
               int64_t most_bytes, std::vector<Piece>& pieces) {
    // Cuts at multiples of the alignment, so that no block is read or written twice.
    const int64_t most = file->round_down(most_bytes), blocks = file->round_up(end) - file->round_down(begin);
    const int64_t count = (blocks + most - 1) / most;
    const int64_t aim = count == 0 ? most : file->round_up((blocks + count - 1) / count);
    for (int64_t at = begin; at < end;) {
        const int64_t next = std::min(end, file->round_down(at) + aim);
        pieces.push_back({file,
                          at,
                          next,
                          to == nullptr ? nullptr : to + (at - begin),
                          from == nullptr ? nullptr : from + (at - begin),
                          {}});
        at = next;
    }
}

}  // namespace shoestring
