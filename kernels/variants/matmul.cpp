// The matmul family, compiled once per instruction set; exports one table.
#include "matmul_table.h"

#include "expert_pieces.h"
#include "expert_sums.h"
#include "few_rows.h"
#include "machine_limits.h"
#include "matmul.h"
#include "route.h"

#define SHOESTRING_JOIN_(a, b) a##b
#define SHOESTRING_JOIN(a, b) SHOESTRING_JOIN_(a, b)

extern "C" {
extern const shoestring::MatmulTable SHOESTRING_JOIN(shoestring_matmul_, SHOESTRING_VARIANT);
const shoestring::MatmulTable SHOESTRING_JOIN(shoestring_matmul_, SHOESTRING_VARIANT) = {
    SHOESTRING_VARIANT::matmul,          SHOESTRING_VARIANT::products,       SHOESTRING_VARIANT::feed_forward,
    SHOESTRING_VARIANT::add_experts,     SHOESTRING_VARIANT::all_pieces,     SHOESTRING_VARIANT::call_bytes,
    SHOESTRING_VARIANT::begin_call,      SHOESTRING_VARIANT::gate_up,        SHOESTRING_VARIANT::down,
    SHOESTRING_VARIANT::sum_call,        SHOESTRING_VARIANT::route_softmax,  SHOESTRING_VARIANT::route_sigmoid,
    SHOESTRING_VARIANT::run_dots<false>, SHOESTRING_VARIANT::run_dots<true>, SHOESTRING_VARIANT::run_fmas,
    SHOESTRING_VARIANT::read_bytes,
};
}
