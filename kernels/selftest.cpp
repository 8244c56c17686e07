// Every variant against the scalar one, without Python: for the sanitizers and guard pages.
#include "selftest.h"

int main() {
    using namespace shoestring;
    const int failures = selftest::matmul() + selftest::rows() + selftest::sequence();
    std::printf("%zu variants, %d failures\n", variants().size(), failures);
    return failures == 0 ? 0 : 1;
}
