"""The typed, documented door to the kernels. Ops take arrays and numbers; they know no model and no ISA.

Activations are C-contiguous float32 arrays, weights opaque `Matrix` handles. A result lives in the caller's
`Workspace` until its frame ends. The extension is loaded by the first call, so that importing a model (for
its config and state layout) needs no compiled code. Orders of summation: docs/numerics.md.
"""

from shoestring.ops.extension import (
    NUMERICS_VERSION,
    Array,
    Bytes,
    Float32,
    Float64,
    Int32,
    Int64,
    install_sigbus_handler,
    isa,
    num_threads,
    set_num_threads,
    variants,
)
from shoestring.ops.loading import (
    add_one,
    expert_table,
    negative_exp,
    pack,
    packed_bytes,
    rope_frequencies,
    rope_frequencies_llama3,
    rope_frequencies_yarn,
    to_float32,
    widen_fp8,
    yarn_attention_factor,
)
from shoestring.ops.logits import (
    check_finite,
    log_softmax_at,
    sample,
)
from shoestring.ops.matrices import (
    embed,
    experts,
    matmul,
    matmuls,
    route_sigmoid,
    route_softmax,
)
from shoestring.ops.rows import (
    add,
    add_gated,
    attention_temperature,
    gated_rms_norm,
    rms_norm,
    rotary_table,
    rotate,
    scale_rows,
    sigmoid_gate,
    split_query_gate,
    swiglu,
)
from shoestring.ops.sequence import (
    Past,
    attention,
    causal_convolution,
    delta_rule,
    store_keys_values,
)
from shoestring.ops.workspace import (
    Workspace,
)

__all__ = [
    "NUMERICS_VERSION",
    "Array",
    "Bytes",
    "Float32",
    "Float64",
    "Int32",
    "Int64",
    "Past",
    "Workspace",
    "add",
    "add_gated",
    "add_one",
    "attention",
    "attention_temperature",
    "causal_convolution",
    "check_finite",
    "delta_rule",
    "embed",
    "expert_table",
    "experts",
    "gated_rms_norm",
    "install_sigbus_handler",
    "isa",
    "log_softmax_at",
    "matmul",
    "matmuls",
    "negative_exp",
    "num_threads",
    "pack",
    "packed_bytes",
    "rms_norm",
    "rope_frequencies",
    "rope_frequencies_llama3",
    "rope_frequencies_yarn",
    "rotary_table",
    "rotate",
    "route_sigmoid",
    "route_softmax",
    "sample",
    "scale_rows",
    "set_num_threads",
    "sigmoid_gate",
    "split_query_gate",
    "store_keys_values",
    "swiglu",
    "to_float32",
    "variants",
    "widen_fp8",
    "yarn_attention_factor",
]
