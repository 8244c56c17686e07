#include "dispatch.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

extern "C" {
extern const shoestring::MatmulTable shoestring_matmul_scalar;
extern const shoestring::SequenceTable shoestring_sequence_scalar;
extern const shoestring::RowsTable shoestring_rows_scalar;
extern const shoestring::PackTable shoestring_pack_scalar;
#if defined(__x86_64__)
extern const shoestring::MatmulTable shoestring_matmul_avx2;
extern const shoestring::SequenceTable shoestring_sequence_avx2;
extern const shoestring::RowsTable shoestring_rows_avx2;
extern const shoestring::PackTable shoestring_pack_avx2;
#endif
}

namespace shoestring {
namespace {

#if defined(__x86_64__)
// The compiler's run-time support also asks the operating system (xgetbv) whether it keeps the ymm registers; clang's
// does not know f16c by name.
bool has_avx2() {
    __builtin_cpu_init();
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    const bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
    return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

std::vector<Variant> find_variants() {
    std::vector<Variant> found{{"scalar", &shoestring_matmul_scalar, &shoestring_sequence_scalar,
                                &shoestring_rows_scalar, &shoestring_pack_scalar}};
#if defined(__x86_64__)
    if (has_avx2())
        found.push_back(
            {"avx2", &shoestring_matmul_avx2, &shoestring_sequence_avx2, &shoestring_rows_avx2, &shoestring_pack_avx2});
#endif
    return found;
}

const Variant& choose() {
    const char* forced = std::getenv("SHOESTRING_ISA");
    if (forced == nullptr || *forced == '\0') return variants().back();
    std::string names;
    for (const Variant& variant : variants()) {
        if (std::strcmp(variant.name, forced) == 0) return variant;
        names += names.empty() ? "" : ", ";
        names += variant.name;
    }
    throw std::runtime_error(std::string("SHOESTRING_ISA=") + forced + ": this CPU runs only: " + names);
}

}  // namespace

const std::vector<Variant>& variants() {
    static const std::vector<Variant> found = find_variants();
    return found;
}

const Variant& active() {
    static const Variant& chosen = choose();
    return chosen;
}

}  // namespace shoestring
