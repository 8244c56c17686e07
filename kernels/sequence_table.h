// The functions of the sequence family that a variant exports.
#pragma once

#include <cstdint>

namespace shoestring {

struct SequenceTable {
    int lanes;
};

}  // namespace shoestring
