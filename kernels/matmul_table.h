// The functions of the matmul family that a variant exports.
#pragma once

#include <cstdint>

namespace shoestring {

struct MatmulTable {
    int lanes;
};

}  // namespace shoestring
