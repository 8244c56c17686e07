// The extension module: the pool, the variants, and the families' functions.
#define SHOESTRING_IMPORTS_NUMPY
#include "bindings.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "sigbus.h"

namespace shoestring {
namespace {

std::vector<std::string> variant_names() {
    std::vector<std::string> names;
    for (const Variant& variant : variants()) names.push_back(variant.name);
    return names;
}

bool import_numpy() {
    import_array1(false);
    return true;
}

}  // namespace
}  // namespace shoestring

NB_MODULE(_kernels, module) {
    using namespace shoestring;
    if (!import_numpy()) throw nb::python_error();
    active();  // a wrong SHOESTRING_ISA fails here, not in the first kernel
    module.def("isa", [] { return std::string(active().name); });
    module.def("variants", variant_names);
    module.def("set_num_threads", [](int count) {
        require(count >= 1 && count <= MAX_THREADS, "threads: a number from 1 to 256");
        nb::gil_scoped_release released;
        set_num_threads(count);
    });
    module.def("num_threads", num_threads);
    module.def("scratch_bytes", scratch_bytes);
    module.def("num_regions", [] {
        nb::gil_scoped_release released;
        KernelLock lock;
        return num_regions();
    });
    module.def("set_standard_mode", set_standard_mode);
    module.def("set_mode", set_mode);
    module.def("install_sigbus_handler", install_sigbus_handler);
    bind_matmul(module);
    bind_experts(module);
    bind_fused(module);
    bind_sequence(module);
    bind_rows(module);
    bind_io(module);
    bind_limits(module);
    bind_vision(module);
}
