// Every variant against the scalar one, without Python: for the sanitizers and guard pages.
#include <cstdio>

#include "dispatch.h"

int main() {
    std::printf("variants: %zu\n", shoestring::variants().size());
    return 0;
}
