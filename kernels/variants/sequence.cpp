// The sequence family, compiled once per instruction set; exports one table.
#include "sequence_table.h"

#include "attention.h"
#include "delta_rule.h"
#include "store.h"

#define SHOESTRING_JOIN_(a, b) a##b
#define SHOESTRING_JOIN(a, b) SHOESTRING_JOIN_(a, b)

extern "C" {
extern const shoestring::SequenceTable SHOESTRING_JOIN(shoestring_sequence_, SHOESTRING_VARIANT);
const shoestring::SequenceTable SHOESTRING_JOIN(shoestring_sequence_, SHOESTRING_VARIANT) = {
    SHOESTRING_VARIANT::LANES,
    SHOESTRING_VARIANT::attention_scratch_floats,
    SHOESTRING_VARIANT::attention_partial_floats,
    SHOESTRING_VARIANT::attention_unit,
    SHOESTRING_VARIANT::attention_segment,
    SHOESTRING_VARIANT::attention_merge,
    SHOESTRING_VARIANT::store_keys_values,
    SHOESTRING_VARIANT::convolution,
    SHOESTRING_VARIANT::delta_rule_scratch_floats,
    SHOESTRING_VARIANT::delta_rule,
};
}
