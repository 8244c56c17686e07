#include "dispatch.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

// Builds for the thread sanitizer leave the instruction sets out.
#ifndef SHOESTRING_SCALAR_ONLY
#if defined(__x86_64__)
#define SHOESTRING_X86
#elif defined(__aarch64__)
#define SHOESTRING_ARM
#endif
#endif

#ifdef SHOESTRING_X86
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(SHOESTRING_ARM) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(SHOESTRING_ARM) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#define SHOESTRING_TABLES(variant)                                        \
    extern const shoestring::MatmulTable shoestring_matmul_##variant;     \
    extern const shoestring::SequenceTable shoestring_sequence_##variant; \
    extern const shoestring::RowsTable shoestring_rows_##variant;         \
    extern const shoestring::PackTable shoestring_pack_##variant;         \
    extern const shoestring::VisionTable shoestring_vision_##variant;
extern "C" {
SHOESTRING_TABLES(scalar)
#ifdef SHOESTRING_X86
SHOESTRING_TABLES(avx2)
SHOESTRING_TABLES(avxvnni)
SHOESTRING_TABLES(avx512)
SHOESTRING_TABLES(avx512vnni)
extern const shoestring::MatmulTable shoestring_matmul_amx;
#elif defined(SHOESTRING_ARM)
SHOESTRING_TABLES(neon)
extern const shoestring::MatmulTable shoestring_matmul_i8mm;
#endif
}

namespace shoestring {
namespace {

#define SHOESTRING_VARIANT_OF(variant) \
    {#variant,                         \
     &shoestring_matmul_##variant,     \
     &shoestring_sequence_##variant,   \
     &shoestring_rows_##variant,       \
     &shoestring_pack_##variant,       \
     &shoestring_vision_##variant}

// Only products use matrix instructions.
#define SHOESTRING_MATMUL_VARIANT_OF(variant, others) \
    {#variant,                                        \
     &shoestring_matmul_##variant,                    \
     &shoestring_sequence_##others,                   \
     &shoestring_rows_##others,                       \
     &shoestring_pack_##others,                       \
     &shoestring_vision_##others}

#ifdef SHOESTRING_X86
// The compiler's run-time support also asks the operating system (xgetbv) whether it keeps the ymm and zmm registers;
// clang's does not know f16c by name, and neither knows avxvnni everywhere.
bool has_f16c() {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
bool has_avx_vnni() {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & (1u << 4)) != 0;
}
// Linux keeps the tiles of a process only where it has asked: tiles enlarge what a thread's state takes.
bool has_amx() {
    constexpr unsigned tile = 1u << 24, int8 = 1u << 25;
    constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;  // of arch_prctl
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (edx & (tile | int8)) != (tile | int8)) return false;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#elif defined(SHOESTRING_ARM)
bool has_dot_products() {
#if defined(__APPLE__)
    return true;  // since the M1
#elif defined(__linux__)
    constexpr unsigned long ASIMDDP = 1ul << 20;  // of HWCAP
    return (getauxval(AT_HWCAP) & ASIMDDP) != 0;
#else
    return false;
#endif
}
bool has_int8_matrices() {
#if defined(__APPLE__)
    int has = 0;  // since the M2
    size_t size = sizeof(has);
    return sysctlbyname("hw.optional.arm.FEAT_I8MM", &has, &size, nullptr, 0) == 0 && has != 0;
#elif defined(__linux__)
    constexpr unsigned long I8MM = 1ul << 13;  // of HWCAP2
    return (getauxval(AT_HWCAP2) & I8MM) != 0;
#else
    return false;
#endif
}
#endif

std::vector<Variant> find_variants() {
    std::vector<Variant> found{SHOESTRING_VARIANT_OF(scalar)};
#ifdef SHOESTRING_X86
    __builtin_cpu_init();
    if (!has_f16c() || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return found;
    found.push_back(SHOESTRING_VARIANT_OF(avx2));
    if (has_avx_vnni()) found.push_back(SHOESTRING_VARIANT_OF(avxvnni));
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
        return found;
    found.push_back(SHOESTRING_VARIANT_OF(avx512));
    if (!__builtin_cpu_supports("avx512vnni")) return found;
    found.push_back(SHOESTRING_VARIANT_OF(avx512vnni));
    if (has_amx()) found.push_back(SHOESTRING_MATMUL_VARIANT_OF(amx, avx512vnni));
#elif defined(SHOESTRING_ARM)
    if (!has_dot_products()) return found;
    found.push_back(SHOESTRING_VARIANT_OF(neon));
    if (has_int8_matrices()) found.push_back(SHOESTRING_MATMUL_VARIANT_OF(i8mm, neon));
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
