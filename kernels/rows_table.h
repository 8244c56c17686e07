// The functions of the rows family that a variant exports.
#pragma once

#include <cstdint>

namespace shoestring {

struct RowsTable {
    int lanes;
};

}  // namespace shoestring
