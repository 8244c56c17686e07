// The pack family, compiled once per instruction set; exports one table.
#include "pack_table.h"

#include "pack_tile.h"

#define SHOESTRING_JOIN_(a, b) a##b
#define SHOESTRING_JOIN(a, b) SHOESTRING_JOIN_(a, b)

extern "C" {
extern const shoestring::PackTable SHOESTRING_JOIN(shoestring_pack_, SHOESTRING_VARIANT);
const shoestring::PackTable SHOESTRING_JOIN(shoestring_pack_, SHOESTRING_VARIANT) = {
    SHOESTRING_VARIANT::pack_tile,
};
}
