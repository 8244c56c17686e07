"""Ops: the typed interface of the kernels. They take arrays and numbers and know no model and no instruction set.

Activations are C-contiguous float32 arrays, weights opaque `Matrix` handles. A result lives in the caller's
`Workspace` until its frame ends. The first call of an op loads the extension, so importing a model, for its config and
state layout, needs no compiled code. Orders of summation: docs/numerics.md.
"""

from shoestring.ops.arena import arena as arena
from shoestring.ops.experts import add_experts as add_experts
from shoestring.ops.experts import begin_experts as begin_experts
from shoestring.ops.experts import down as down
from shoestring.ops.experts import empty_table as empty_table
from shoestring.ops.experts import expert_call_bytes as expert_call_bytes
from shoestring.ops.experts import expert_table as expert_table
from shoestring.ops.experts import experts as experts
from shoestring.ops.experts import gate_up as gate_up
from shoestring.ops.experts import sum_experts as sum_experts
from shoestring.ops.extension import NUMERICS_VERSION as NUMERICS_VERSION
from shoestring.ops.extension import Array as Array
from shoestring.ops.extension import Bytes as Bytes
from shoestring.ops.extension import Float32 as Float32
from shoestring.ops.extension import Float64 as Float64
from shoestring.ops.extension import Int32 as Int32
from shoestring.ops.extension import Int64 as Int64
from shoestring.ops.extension import Uint32 as Uint32
from shoestring.ops.extension import install_sigbus_handler as install_sigbus_handler
from shoestring.ops.extension import isa as isa
from shoestring.ops.extension import num_threads as num_threads
from shoestring.ops.extension import set_num_threads as set_num_threads
from shoestring.ops.extension import standard_arithmetic as standard_arithmetic
from shoestring.ops.extension import variants as variants
from shoestring.ops.loading import add_one as add_one
from shoestring.ops.loading import matrix_at as matrix_at
from shoestring.ops.loading import negative_exp as negative_exp
from shoestring.ops.loading import pack as pack
from shoestring.ops.loading import packed_bytes as packed_bytes
from shoestring.ops.loading import rope_frequencies as rope_frequencies
from shoestring.ops.loading import rope_frequencies_llama3 as rope_frequencies_llama3
from shoestring.ops.loading import rope_frequencies_yarn as rope_frequencies_yarn
from shoestring.ops.loading import to_float32 as to_float32
from shoestring.ops.loading import widen_fp8 as widen_fp8
from shoestring.ops.loading import yarn_attention_factor as yarn_attention_factor
from shoestring.ops.matrices import embed as embed
from shoestring.ops.matrices import matmul as matmul
from shoestring.ops.matrices import matmuls as matmuls
from shoestring.ops.matrices import route_sigmoid as route_sigmoid
from shoestring.ops.matrices import route_softmax as route_softmax
from shoestring.ops.reading import Counters as Counters
from shoestring.ops.reading import File as File
from shoestring.ops.reading import Part as Part
from shoestring.ops.reading import Priority as Priority
from shoestring.ops.reading import Reader as Reader
from shoestring.ops.reading import Target as Target
from shoestring.ops.reading import least_buffer as least_buffer
from shoestring.ops.reading import probe as probe
from shoestring.ops.rows import add as add
from shoestring.ops.rows import add_gated as add_gated
from shoestring.ops.rows import attention_temperature as attention_temperature
from shoestring.ops.rows import check_finite as check_finite
from shoestring.ops.rows import gated_rms_norm as gated_rms_norm
from shoestring.ops.rows import rms_norm as rms_norm
from shoestring.ops.rows import rotary_table as rotary_table
from shoestring.ops.rows import rotate as rotate
from shoestring.ops.rows import scale_rows as scale_rows
from shoestring.ops.rows import sigmoid_gate as sigmoid_gate
from shoestring.ops.rows import split_query_gate as split_query_gate
from shoestring.ops.rows import swiglu as swiglu
from shoestring.ops.sampling import sample as sample
from shoestring.ops.sequence import Past as Past
from shoestring.ops.sequence import attention as attention
from shoestring.ops.sequence import causal_convolution as causal_convolution
from shoestring.ops.sequence import delta_rule as delta_rule
from shoestring.ops.sequence import store_keys_values as store_keys_values
from shoestring.ops.workspace import Workspace as Workspace
