// The rows family as Python sees it.
#include "bindings.h"

namespace shoestring {

void bind_rows(nb::module_& module) {
    module.def("rows_lanes", [] { return active().rows->lanes; });
}

}  // namespace shoestring
