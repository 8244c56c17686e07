// The sequence family, compiled once per instruction set; exports one table.
#include "sequence_table.h"
#include "lanes.h"

#define SHOESTRING_JOIN_(a, b) a##b
#define SHOESTRING_JOIN(a, b) SHOESTRING_JOIN_(a, b)

extern "C" {
extern const shoestring::SequenceTable SHOESTRING_JOIN(shoestring_sequence_, SHOESTRING_VARIANT);
const shoestring::SequenceTable SHOESTRING_JOIN(shoestring_sequence_, SHOESTRING_VARIANT) = {
    SHOESTRING_VARIANT::LANES,
};
}
