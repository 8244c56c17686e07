from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_Float32 = npt.NDArray[np.float32]
_Float64 = npt.NDArray[np.float64]
_Uint32 = npt.NDArray[np.uint32]
_Int32 = npt.NDArray[np.int32]
_Int64 = npt.NDArray[np.int64]
_Bytes = npt.NDArray[np.uint8]
_Array = npt.NDArray[Any]

# --- the extension itself --------------------------------------------------------------------------------------

def isa() -> str: ...
def variants() -> list[str]: ...
def set_num_threads(count: int) -> None: ...
def num_threads() -> int: ...
def scratch_bytes() -> int: ...
def install_sigbus_handler() -> None: ...

# --- matmul ----------------------------------------------------------------------------------------------------

class Matrix:
    @property
    def type(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def nbytes(self) -> int: ...

class ExpertTable:
    def __init__(self, gate: Sequence[Matrix], up: Sequence[Matrix], down: Sequence[Matrix]) -> None: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def __len__(self) -> int: ...

def weight_formats() -> list[tuple[str, int, int, int]]: ...
def pack(
    data: _Bytes,
    tensor_type: str,
    rows: int,
    columns: int,
    offset: int,
    row_stride: int,
    column_stride: int,
    drop_pages: bool,
) -> Matrix: ...
def to_float32(
    data: _Bytes, tensor_type: str, offset: int, row_stride: int, column_stride: int, out: _Float32
) -> None: ...
def widen_fp8(
    data: _Bytes, scale: _Float32, offset: int, row_stride: int, column_stride: int, out: _Float32
) -> None: ...
def add_one(vector: _Float32, out: _Float32) -> None: ...
def embed(table: Matrix, token_ids: _Int32, out: _Float32) -> None: ...
def matmul(x: _Float32, weight: Matrix, out: _Float32) -> None: ...
def matmuls(x: _Float32, weights: Sequence[Matrix], outs: Sequence[_Float32]) -> None: ...
def experts(
    x: _Float32, ids: _Int32, weights: _Float32, table: ExpertTable, scale_input: bool, out: _Float32
) -> None: ...
def route_softmax(scores: _Float32, ids: _Int32, weights: _Float32) -> None: ...
def route_sigmoid(scores: _Float32, ids: _Int32, weights: _Float32) -> None: ...

# --- sequence --------------------------------------------------------------------------------------------------

PAGE_TOKENS: int

def attention(
    q: _Float32,
    keys: _Array,
    values: _Array,
    pages: _Int32,
    first_page: _Int64,
    span_starts: _Int32,
    index: _Int64,
    first_visible: _Int64,
    scale: float,
    out: _Float32,
) -> None: ...
def store_keys_values(
    keys: _Array,
    values: _Array,
    k: _Float32,
    v: _Float32,
    pages: _Int32,
    first_page: _Int64,
    span_starts: _Int32,
    index: _Int64,
) -> None: ...
def causal_convolution(
    x: _Float32,
    weight: _Float32,
    slots: _Array,
    span_starts: _Int32,
    read_slots: _Int32,
    write_slots: _Int32,
    snapshots: _Int32,
    out: _Float32,
) -> None: ...
def delta_rule(
    qkv: _Float32,
    a: _Float32,
    b: _Float32,
    decay: _Float32,
    dt_bias: _Float32,
    key_head_index: _Int32,
    key_heads: int,
    slots: _Array,
    span_starts: _Int32,
    read_slots: _Int32,
    write_slots: _Int32,
    snapshots: _Int32,
    out: _Float32,
) -> None: ...

# --- rows ------------------------------------------------------------------------------------------------------

def rms_norm(x: _Float32, weight: _Float32 | None, gate: _Float32 | None, eps: float, out: _Float32) -> None: ...
def rotate(x: _Float32, cos: _Float32, sin: _Float32, interleaved: bool) -> None: ...
def add(x: _Float32, y: _Float32) -> None: ...
def add_gated(x: _Float32, y: _Float32, gate: _Float32) -> None: ...
def scale_rows(x: _Float32, factors: _Float32) -> None: ...
def swiglu(gate: _Float32, up: _Float32, out: _Float32) -> None: ...
def sigmoid_gate(x: _Float32, gate: _Float32) -> None: ...
def split_query_gate(query_gate: _Float32, query: _Float32, gate: _Float32) -> None: ...
def negative_exp(x: _Float32, out: _Float32) -> None: ...
def check_finite(x: _Float32) -> bool: ...
def math_function(which: int, x: _Float32, out: _Float32) -> None: ...
def rope_frequencies(theta: float, out: _Float64) -> None: ...
def rope_frequencies_llama3(out: _Float64, factor: float, low: float, high: float, original: float) -> None: ...
def rope_frequencies_yarn(
    theta: float, factor: float, original: float, beta_fast: float, beta_slow: float, out: _Float64
) -> None: ...
def rotary_table(
    positions: _Int64, frequencies: _Float64, sections: _Int32, factor: float, cos: _Float32, sin: _Float32
) -> None: ...
def attention_temperature(index: _Int64, floor_scale: int, scale: float, out: _Float32) -> None: ...
def natural_log(x: float) -> float: ...
def yarn_attention_factor(factor: float) -> float: ...
def sample(
    logits: _Float32,
    vocabulary_size: int,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    presence_penalty: float,
    frequency_penalty: float,
    repetition_penalty: float,
    context_ids: _Int32,
    generated_ids: _Int32,
    bias_ids: _Int32,
    bias_values: _Float32,
    seed: int,
    sample_index: int,
    position: int,
    top_ids: _Int32,
    top_logprobs: _Float64,
    allowed: _Uint32 | None = None,
) -> tuple[int, float]: ...
def log_softmax_at(logits: _Float32, targets: _Int32, out: _Float64) -> None: ...
def uniform(seed: int, sample_index: int, position: int) -> float: ...
def philox(k0: int, k1: int, c0: int, c1: int, c2: int, c3: int) -> tuple[int, int, int, int]: ...
