// The vision family, compiled once per instruction set; exports one table.
#include "vision_table.h"

#include "part_attention.h"
#include "vision_rows.h"

#define SHOESTRING_JOIN_(a, b) a##b
#define SHOESTRING_JOIN(a, b) SHOESTRING_JOIN_(a, b)

extern "C" {
extern const shoestring::VisionTable SHOESTRING_JOIN(shoestring_vision_, SHOESTRING_VARIANT);
const shoestring::VisionTable SHOESTRING_JOIN(shoestring_vision_, SHOESTRING_VARIANT) = {
    SHOESTRING_VARIANT::LANES,
    SHOESTRING_VARIANT::layer_norm,
    SHOESTRING_VARIANT::activate,
    SHOESTRING_VARIANT::add_biased,
    SHOESTRING_VARIANT::grid_positions,
    SHOESTRING_VARIANT::part_panel_floats,
    SHOESTRING_VARIANT::part_scratch_floats,
    SHOESTRING_VARIANT::part_pack,
    SHOESTRING_VARIANT::part_attend,
};
}
