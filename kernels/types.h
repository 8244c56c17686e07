// All weight types: one file each in types/, one line each here, in the order of WeightType.
#pragma once

#include "types/f32.h"
#include "types/f16.h"
#include "types/bf16.h"
#include "types/q8_0.h"
#include "types/q4_0.h"
#include "types/q4_1.h"
#include "types/q5_0.h"
#include "types/q4_k.h"
#include "types/q5_k.h"
#include "types/q6_k.h"

// Calls macro(NAME) for each type; the quantized ones are those after BF16.
#define SHOESTRING_FLOAT_TYPES(macro) macro(F32) macro(F16) macro(BF16)
#define SHOESTRING_QUANTIZED_TYPES(macro) \
    macro(Q8_0) macro(Q4_0) macro(Q4_1) macro(Q5_0) macro(Q4_K) macro(Q5_K) macro(Q6_K)

namespace shoestring {

#define SHOESTRING_FORMAT(name) name##_FORMAT,
// TENSOR_TYPES of checkpoint/tensors.py has the same rows for use without the extension; a test compares them.
constexpr WeightFormat FORMATS[NUM_WEIGHT_TYPES] = {SHOESTRING_FLOAT_TYPES(SHOESTRING_FORMAT)
                                                        SHOESTRING_QUANTIZED_TYPES(SHOESTRING_FORMAT)};
#undef SHOESTRING_FORMAT

static constexpr const WeightFormat& format(WeightType type) { return FORMATS[static_cast<int>(type)]; }

}  // namespace shoestring
