// Which instruction set the kernels use: what the CPU has, or what SHOESTRING_ISA forces.
//
// Owns: CPU detection and the choice of one table of functions a family. The bits do not depend on it.
#pragma once

#include <vector>

#include "matmul_table.h"
#include "pack_table.h"
#include "rows_table.h"
#include "sequence_table.h"
#include "vision_table.h"

namespace shoestring {

// One compiled variant of all families.
struct Variant {
    const char* name;
    const MatmulTable* matmul;
    const SequenceTable* sequence;
    const RowsTable* rows;
    const PackTable* pack;
    const VisionTable* vision;
};

// The variants that this CPU can run, slowest first.
const std::vector<Variant>& variants();

// The variant in use. Throws std::runtime_error when SHOESTRING_ISA names one that this CPU cannot run.
const Variant& active();

}  // namespace shoestring
