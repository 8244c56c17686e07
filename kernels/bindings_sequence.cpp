// The sequence family as Python sees it.
#include "bindings.h"

namespace shoestring {

void bind_sequence(nb::module_& module) {
    module.def("sequence_lanes", [] { return active().sequence->lanes; });
}

}  // namespace shoestring
