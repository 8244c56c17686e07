// Cutting what is to be read into pieces that one thread reads with one buffer, and packs where it belongs.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "io_file.h"
#include "weights.h"

namespace shoestring {

// A matrix inside a part of a file, and where its packed form goes. offset: of element (0, 0) from the part's begin;
// strides as in Region. destination: byte of the arena.
struct Target {
    WeightType type;
    int64_t rows, columns, offset, row_stride, column_stride, destination;
};

// A rectangle of a target that one piece contains whole. `offset`: of its first element in the file.
struct Tile {
    WeightType type;
    int64_t offset, rows, columns, row_stride, column_stride;
    uint8_t* packed;
    int64_t group_stride;
};

// The bytes [begin, end) of a file, moved by one thread: written where `from` is set, else read, then copied to `to`
// where that is set, and packed by the tiles.
struct Piece {
    std::shared_ptr<IoFile> file;
    int64_t begin, end;
    uint8_t* to = nullptr;
    const uint8_t* from = nullptr;
    std::vector<Tile> tiles;
};

// Why a target does not lie inside a part of `part_bytes` or an arena of `arena_bytes`; nullptr if it does. No number
// overflows, whatever the target says.
const char* fault(const Target& target, int64_t part_bytes, int64_t arena_bytes);

// Bytes of the least region that a thread must be able to read at once for this target.
int64_t least_region(const Target& target);

// Pieces of at most `most_bytes` each, of about equal size, that cover all targets of the part that begins at byte
// `begin`. Bytes that targets share are read once. Every target is without fault, and its least region fits.
void cut_targets(const std::shared_ptr<IoFile>& file, int64_t begin, const std::vector<Target>& targets, uint8_t* arena,
                 int64_t most_bytes, std::vector<Piece>& pieces);

// The same for plain bytes [begin, end). `to` or `from` is the address of byte `begin`, or both are null.
void cut_bytes(const std::shared_ptr<IoFile>& file, int64_t begin, int64_t end, uint8_t* to, const uint8_t* from,
               int64_t most_bytes, std::vector<Piece>& pieces);

}  // namespace shoestring
