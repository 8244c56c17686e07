// Every variant against the scalar one, and the I/O pool, without Python: for the sanitizers and guard pages.
//
//     selftest [PART …]        matmul, pack, rows, sequence, io; without one, all of them
#include "selftest.h"

int main(int count, char** names) {
    using namespace shoestring;
    struct Part {
        const char* name;
        int (*run)();
    };
    const Part parts[] = {{"matmul", selftest::matmul},
                          {"pack", selftest::pack},
                          {"rows", selftest::rows},
                          {"sequence", selftest::sequence},
                          {"io", selftest::io}};
    int failures = 0;
    for (const Part& part : parts) {
        bool wanted = count < 2;
        for (int i = 1; i < count; ++i) wanted = wanted || std::strcmp(names[i], part.name) == 0;
        if (wanted) failures += part.run();
    }
    std::printf("%zu variants, %d failures\n", variants().size(), failures);
    return failures == 0 ? 0 : 1;
}
