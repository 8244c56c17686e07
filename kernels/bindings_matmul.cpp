// The matmul family as Python sees it.
#include "bindings.h"

namespace shoestring {

void bind_matmul(nb::module_& module) {
    module.def("matmul_lanes", [] { return active().matmul->lanes; });
}

}  // namespace shoestring
