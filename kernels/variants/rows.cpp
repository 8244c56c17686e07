// The rows family, compiled once per instruction set; exports one table.
#include "rows_table.h"
#include "lanes.h"

#define SHOESTRING_JOIN_(a, b) a##b
#define SHOESTRING_JOIN(a, b) SHOESTRING_JOIN_(a, b)

extern "C" {
extern const shoestring::RowsTable SHOESTRING_JOIN(shoestring_rows_, SHOESTRING_VARIANT);
const shoestring::RowsTable SHOESTRING_JOIN(shoestring_rows_, SHOESTRING_VARIANT) = {
    SHOESTRING_VARIANT::LANES,
};
}
