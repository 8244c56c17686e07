// Memory for weights that kernels stream: anonymous mappings at a 2 MB boundary, with huge pages advised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace shoestring {

// Zero bytes, unmapped with their last owner. Ends at a page's end, not at a huge page's: that could add 4 % to a
// matrix of 50 MB, which no estimate counts. Throws std::bad_alloc.
std::shared_ptr<uint8_t> map_arena(size_t bytes);

}  // namespace shoestring
