// The rows family, compiled once per instruction set; exports one table.
#include "rows_table.h"

#include "elementwise.h"
#include "norm_rope.h"
#include "sampling.h"

#define SHOESTRING_JOIN_(a, b) a##b
#define SHOESTRING_JOIN(a, b) SHOESTRING_JOIN_(a, b)

extern "C" {
extern const shoestring::RowsTable SHOESTRING_JOIN(shoestring_rows_, SHOESTRING_VARIANT);
const shoestring::RowsTable SHOESTRING_JOIN(shoestring_rows_, SHOESTRING_VARIANT) = {
    SHOESTRING_VARIANT::LANES,      SHOESTRING_VARIANT::rms_norm,     SHOESTRING_VARIANT::rotate,
    SHOESTRING_VARIANT::add_gated,  SHOESTRING_VARIANT::scale_rows,   SHOESTRING_VARIANT::add,
    SHOESTRING_VARIANT::swiglu,     SHOESTRING_VARIANT::sigmoid_gate, SHOESTRING_VARIANT::negative_exp,
    SHOESTRING_VARIANT::all_finite, SHOESTRING_VARIANT::largest,      SHOESTRING_VARIANT::first_above,
    SHOESTRING_VARIANT::sum_exp,    SHOESTRING_VARIANT::tempered_exp, SHOESTRING_VARIANT::function,
};
}
