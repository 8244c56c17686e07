// Every variant against the scalar one, and the I/O pool, without Python: for the sanitizers, guard pages and other
// machines.
//
//     selftest [--every N] [--digests] [PART …]
//
// PART: matmul, pack, rows, sequence, vision, io; without one, all of them. `--every N` runs every N-th case of a part,
// the same ones on every machine. `--digests` prints a hash a line of what the scalar variant computed in them: equal
// on every machine and by every compiler.
#include "selftest.h"

#include <map>
#include <string>

namespace shoestring::selftest {
namespace {

int64_t every = 1, cases = 0;
std::map<std::string, uint64_t> digests;

uint64_t hashed(uint64_t digest, uint64_t word) {  // FNV-1a by words
    return (digest ^ word) * 0x100000001b3u;
}

}  // namespace

bool next_case() { return cases++ % every == 0; }

void note(const char* what, const void* data, int64_t bytes) {
    uint64_t& digest = digests.try_emplace(what, 0xcbf29ce484222325u).first->second;
    const uint8_t* p = static_cast<const uint8_t*>(data);
    for (int64_t i = 0; i < bytes; ++i) digest = hashed(digest, p[i]);
}

void note(const char* what, const float* data, int64_t count) {
    uint64_t& digest = digests.try_emplace(what, 0xcbf29ce484222325u).first->second;
    for (int64_t i = 0; i < count; ++i) {
        uint32_t bits;
        std::memcpy(&bits, data + i, 4);
        digest = hashed(digest, (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : bits);
    }
}

}  // namespace shoestring::selftest

int main(int count, char** arguments) {
    using namespace shoestring;
    struct Part {
        const char* name;
        int (*run)();
        bool wanted;
    };
    Part parts[] = {{"matmul", selftest::matmul, false}, {"pack", selftest::pack, false},
                    {"rows", selftest::rows, false},     {"sequence", selftest::sequence, false},
                    {"vision", selftest::vision, false}, {"io", selftest::io, false}};
    bool print_digests = false, all = true;
    for (int i = 1; i < count; ++i) {
        const std::string argument = arguments[i];
        bool known = argument == "--digests";
        print_digests = print_digests || known;
        if (argument == "--every" && i + 1 < count) {
            selftest::every = std::atoll(arguments[++i]);
            known = selftest::every >= 1;
        }
        for (Part& part : parts) {
            if (argument != part.name) continue;
            known = part.wanted = true;
            all = false;
        }
        if (!known) {
            std::fprintf(stderr, "error: %s: selftest [--every N] [--digests] [PART …]\n", argument.c_str());
            return 2;
        }
    }
    int failures = 0;
    for (const Part& part : parts) {
        selftest::cases = 0;
        if (all || part.wanted) failures += part.run();
    }
    if (print_digests)
        for (const auto& [what, digest] : selftest::digests)
            std::printf("%-24s %016llx\n", what.c_str(), static_cast<unsigned long long>(digest));
    std::string names;
    for (const Variant& variant : variants()) names += std::string(names.empty() ? "" : " ") + variant.name;
    std::fprintf(print_digests ? stderr : stdout, "%zu variants (%s), %d failures\n", variants().size(), names.c_str(),
                 failures);
    return failures == 0 ? 0 : 1;
}
