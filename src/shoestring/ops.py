"""The typed, documented door to the kernels. Ops take arrays and numbers; they know no model and no ISA.

Activations are C-contiguous float32 arrays, weights opaque `Matrix` handles. A result lives in the caller's
`Workspace` until its frame ends. The extension is loaded by the first call, so that importing a model (for
its config and state layout) needs no compiled code. Orders of summation: docs/numerics.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from mmap import mmap
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shoestring.checkpoint.tensors import TENSOR_TYPES, WEIGHT_TYPES
from shoestring.errors import CheckpointError

if TYPE_CHECKING:
    from shoestring import _kernels
    from shoestring._kernels import ExpertTable, Matrix
else:

    class _Unloaded:
        """Stands for the extension until its first use, then gives it its name."""

        def __getattr__(self, name: str) -> Any:
            global _kernels
            from shoestring import _kernels as extension

            _kernels = extension
            return getattr(extension, name)

    _kernels = _Unloaded()

#: Of docs/numerics.md. Bits of two builds may be compared only where it is equal; every golden hash carries it.
NUMERICS_VERSION = 1

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]


class Workspace:
    """An arena for the arrays of a step: grown once, reused by every step, released in frames.

    with workspace: …   everything taken inside is free again afterwards.

    Arrays begin at multiples of 64 bytes and are not cleared.
    """

    _FIRST_BLOCK_BYTES = 1 << 20

    def __init__(self) -> None:
        self._blocks: list[Bytes] = [_aligned_bytes(self._FIRST_BLOCK_BYTES)]
        self._block = self._blocks[0]
        self._number = 0
        self._used = 0
        self._frames: list[tuple[int, int]] = []

    @property
    def nbytes(self) -> int:
        """Bytes that the arena holds."""
        return sum(block.nbytes for block in self._blocks)

    def floats(self, *shape: int) -> Float32:
        begin = self._take(4, shape)
        return np.ndarray(shape, np.float32, self._block, begin)

    def ints(self, *shape: int) -> Int32:
        begin = self._take(4, shape)
        return np.ndarray(shape, np.int32, self._block, begin)

    def _take(self, item_bytes: int, shape: tuple[int, ...]) -> int:
        nbytes = item_bytes
        for size in shape:
            nbytes *= size
        begin = self._used
        end = begin + (nbytes + 63 & -64)
        if end > self._block.nbytes:
            self._next_block(end - begin)
            begin, end = 0, end - begin
        self._used = end
        return begin

    def _next_block(self, nbytes: int) -> None:
        while self._number + 1 < len(self._blocks):
            self._number += 1
            self._block = self._blocks[self._number]
            if nbytes <= self._block.nbytes:
                return
        self._blocks.append(_aligned_bytes(max(nbytes, self.nbytes)))
        self._number = len(self._blocks) - 1
        self._block = self._blocks[self._number]

    def __enter__(self) -> Workspace:
        self._frames.append((self._number, self._used))
        return self

    def __exit__(self, *exception: object) -> None:
        self._number, self._used = self._frames.pop()
        self._block = self._blocks[self._number]
        if not self._frames and len(self._blocks) > 1 and self._number == 0 and self._used == 0:
            # The next step finds one block that holds all of it; arrays still in use keep the old ones alive.
            total = self.nbytes
            self._blocks = []
            self._blocks.append(_aligned_bytes(total))
            self._block = self._blocks[0]


def _aligned_bytes(nbytes: int) -> Bytes:
    memory = np.empty(nbytes + 63, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + nbytes]


# --- the extension itself --------------------------------------------------------------------------------------


def isa() -> str:
    """The instruction set in use: the best that this CPU has, or the one that SHOESTRING_ISA names."""
    return _kernels.isa()


def variants() -> list[str]:
    """The instruction sets that this CPU can run."""
    return _kernels.variants()


def set_num_threads(count: int) -> None:
    """How many threads every op computes with; no bit depends on it."""
    _kernels.set_num_threads(count)


def num_threads() -> int:
    """As last set."""
    return _kernels.num_threads()


def install_sigbus_handler() -> None:
    """A mapped file that is truncated ends the process with one line and code 2. For programs, not for libraries."""
    _kernels.install_sigbus_handler()


# --- load time -------------------------------------------------------------------------------------------------


def pack(
    data: Bytes, tensor_type: str, rows: int, columns: int, *, offset: int, row_stride: int, column_stride: int
) -> Matrix:
    """Weights in the kernels' 16-row interleaved form, from the bytes of a file (see names.Source).

    Pages of a mapped file are dropped behind it. Raises CheckpointError for a type that the kernels lack, rows
    that are no whole blocks, or a region outside the data.
    """
    block_size = _block_size(tensor_type)
    if columns % block_size:
        raise CheckpointError(f"{columns} columns of type {tensor_type}: not a multiple of its block of {block_size}")
    try:
        return _kernels.pack(data, tensor_type, rows, columns, offset, row_stride, column_stride, _is_mapped(data))
    except ValueError as error:
        raise CheckpointError(f"a {rows} × {columns} matrix of type {tensor_type}: {error}") from None


def to_float32(
    data: Bytes, tensor_type: str, rows: int, columns: int, *, offset: int, row_stride: int, column_stride: int
) -> Float32:
    """The numbers of any weight type, [rows, columns]; raises as pack does."""
    block_size = _block_size(tensor_type)
    if columns % block_size:
        raise CheckpointError(f"{columns} columns of type {tensor_type}: not a multiple of its block of {block_size}")
    try:
        out = np.empty((rows, columns), np.float32)
        _kernels.to_float32(data, tensor_type, offset, row_stride, column_stride, out)
    except ValueError as error:
        raise CheckpointError(f"a {rows} × {columns} matrix of type {tensor_type}: {error}") from None
    return out


def widen_fp8(
    data: Bytes, scale: Float32, rows: int, columns: int, *, offset: int, row_stride: int, column_stride: int
) -> Float32:
    """e4m3 × the scale of its 128 × 128 block, rounded once, [rows, columns]; scale [ceil(r/128), ceil(c/128)]."""
    try:
        out = np.empty((rows, columns), np.float32)
        _kernels.widen_fp8(data, scale, offset, row_stride, column_stride, out)
    except ValueError as error:
        raise CheckpointError(f"a {rows} × {columns} matrix of type F8_E4M3: {error}") from None
    return out


def _block_size(tensor_type: str) -> int:
    if tensor_type not in WEIGHT_TYPES:
        raise CheckpointError(f"type {tensor_type}: the kernels compute with {', '.join(WEIGHT_TYPES)}")
    return TENSOR_TYPES[tensor_type].block_size


def _is_mapped(data: Bytes) -> bool:
    """Whether the bytes are a read-only mapping of a file, whose pages can be dropped and come back."""
    owner: Any = data
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    return isinstance(owner, mmap) and not data.flags.writeable


def add_one(vector: Float32) -> Float32:
    out = np.empty_like(vector)
    _kernels.add_one(vector, out)
    return out


def negative_exp(vector: Float32) -> Float32:
    """−exp(x)."""
    out = np.empty_like(vector)
    _kernels.negative_exp(vector, out)
    return out


def expert_table(gate: Sequence[Matrix], up: Sequence[Matrix], down: Sequence[Matrix]) -> ExpertTable:
    """The matrices of all experts of a layer: gate, up [width, hidden], down [hidden, width], expert by expert."""
    return _kernels.ExpertTable(gate, up, down)


def rope_frequencies(dims: int, theta: float) -> Float64:
    """theta^(−2i/dims), [dims/2]."""
    out = np.empty(dims // 2, np.float64)
    _kernels.rope_frequencies(theta, out)
    return out


def rope_frequencies_llama3(frequencies: Float64, factor: float, low: float, high: float, original: int) -> Float64:
    """Llama 3 scaling; with low = high no frequency uses the smooth term."""
    out: Float64 = frequencies.copy()
    _kernels.rope_frequencies_llama3(out, factor, low, high, original)
    return out


def rope_frequencies_yarn(
    dims: int, theta: float, factor: float, original: int, beta_fast: float, beta_slow: float
) -> Float64:
    """YaRN (arXiv 2309.00071) as transformers computes it: correction bounds floored, ceiled, clamped."""
    out = np.empty(dims // 2, np.float64)
    _kernels.rope_frequencies_yarn(theta, factor, original, beta_fast, beta_slow, out)
    return out


def yarn_attention_factor(factor: float) -> float:
    """0.1 · ln(factor) + 1."""
    return 0.1 * _kernels.natural_log(factor) + 1.0


# --- every step ------------------------------------------------------------------------------------------------


def embed(ws: Workspace, table: Matrix, token_ids: Int32) -> Float32:
    """Rows of a (quantized) matrix, [rows, hidden_size]; rows of id −1 are left unset."""
    out = ws.floats(token_ids.shape[0], table.columns)
    _kernels.embed(table, token_ids, out)
    return out


def matmul(ws: Workspace, x: Float32, weight: Matrix) -> Float32:
    """x [rows, in] · weightᵀ [in, out] → [rows, out]."""
    out = ws.floats(x.shape[0], weight.rows)
    _kernels.matmul(x, weight, out)
    return out


def matmuls(ws: Workspace, x: Float32, weights: Sequence[Matrix]) -> tuple[Float32, ...]:
    """Several matrices that share their input, in one parallel region."""
    rows = x.shape[0]
    outs = tuple(ws.floats(rows, weight.rows) for weight in weights)
    _kernels.matmuls(x, weights, outs)
    return outs


def rms_norm(ws: Workspace, x: Float32, weight: Float32 | None, eps: float) -> Float32:
    """x / sqrt(mean(x²) + eps) · weight over the last axis; x [..., n]."""
    out = ws.floats(*x.shape)
    _kernels.rms_norm(x, weight, None, eps, out)
    return out


def gated_rms_norm(ws: Workspace, x: Float32, weight: Float32, gate: Float32, eps: float) -> Float32:
    """rms_norm(x) · weight · silu(gate) over the last axis; gate has as many elements as x."""
    out = ws.floats(*x.shape)
    _kernels.rms_norm(x, weight, gate, eps, out)
    return out


def add(x: Float32, y: Float32) -> None:
    """x += y, in place."""
    _kernels.add(x, y)


def add_gated(x: Float32, y: Float32, gate: Float32) -> None:
    """x += y · sigmoid(gate), in place; x, y [rows, n], gate [rows, 1]."""
    _kernels.add_gated(x, y, gate)


def swiglu(ws: Workspace, gate: Float32, up: Float32) -> Float32:
    """silu(gate) · up."""
    out = ws.floats(*gate.shape)
    _kernels.swiglu(gate, up, out)
    return out


def split_query_gate(ws: Workspace, query_gate: Float32, num_heads: int) -> tuple[Float32, Float32]:
    """[rows, heads·2·D], a head's query then its gate → query and gate, each [rows, heads, D]."""
    rows, columns = query_gate.shape
    shape = (rows, num_heads, columns // (2 * num_heads))
    query, gate = ws.floats(*shape), ws.floats(*shape)
    _kernels.split_query_gate(query_gate, query, gate)
    return query, gate


def sigmoid_gate(x: Float32, gate: Float32) -> None:
    """x *= sigmoid(gate), in place."""
    _kernels.sigmoid_gate(x, gate)


def scale_rows(x: Float32, factors: Float32) -> None:
    """x[r] *= factors[r], in place."""
    _kernels.scale_rows(x, factors)


def attention_temperature(ws: Workspace, index: Int64, floor_scale: int, attn_scale: float) -> Float32:
    """1 + attn_scale · log(1 + floor((index + 1) / floor_scale)), [rows]."""
    out = ws.floats(len(index))
    _kernels.attention_temperature(index, floor_scale, attn_scale, out)
    return out


def rotary_table(
    ws: Workspace, positions: Int64, frequencies: Float64, sections: Int32, factor: float
) -> tuple[Float32, Float32]:
    """factor · cos and sin of positions[r, sections[i]] · frequencies[i], each [rows, dims/2].

    Angles and their reduction in float64: positions are 64-bit. sections [dims/2]: which of the three
    positions a frequency follows.
    """
    shape = (len(positions), len(frequencies))
    cos, sin = ws.floats(*shape), ws.floats(*shape)
    _kernels.rotary_table(positions, frequencies, sections, factor, cos, sin)
    return cos, sin


def rotate(x: Float32, cos: Float32, sin: Float32, *, interleaved: bool) -> None:
    """Rotary embedding of x [rows, heads, D] in place, on its first 2 · cos.shape[1] dims.

    interleaved: pairs (2i, 2i+1); otherwise (i, i + dims/2).
    """
    _kernels.rotate(x, cos, sin, interleaved)


def store_keys_values(
    keys: Array,
    values: Array,
    k: Float32,
    v: Float32,
    pages: Int32,
    first_page: Int64,
    span_starts: Int32,
    index: Int64,
) -> None:
    """Rounds k, v [rows, kv_heads, D] to the pools' type and stores them at their positions (step.PageTable)."""
    _kernels.store_keys_values(keys, values, k, v, pages, first_page, span_starts, index)


def attention(
    ws: Workspace,
    q: Float32,
    keys: Array,
    values: Array,
    pages: Int32,
    first_page: Int64,
    span_starts: Int32,
    index: Int64,
    first_visible: Int64,
    scale: float,
) -> Float32:
    """softmax(scale · q · kᵀ) v over positions first_visible[r] … index[r]; q [rows, heads, D] → the same.

    Query head h reads key-value head h // (heads / kv_heads).
    """
    out = ws.floats(*q.shape)
    _kernels.attention(q, keys, values, pages, first_page, span_starts, index, first_visible, scale, out)
    return out


def causal_convolution(
    ws: Workspace,
    x: Float32,
    weight: Float32,
    slots: Array,
    span_starts: Int32,
    read_slots: Int32,
    write_slots: Int32,
    snapshots: Int32,
) -> Float32:
    """silu of the depthwise causal convolution of x [rows, channels] with weight [channels, width].

    The width − 1 inputs before a span come from slots[read_slots[s]] (−1: zeros); those before the next
    are written to slots[write_slots[s]], and after each (row, slot) of snapshots also to that slot.
    """
    out = ws.floats(*x.shape)
    _kernels.causal_convolution(x, weight, slots, span_starts, read_slots, write_slots, snapshots, out)
    return out


def delta_rule(
    ws: Workspace,
    qkv: Float32,
    a: Float32,
    b: Float32,
    decay: Float32,
    dt_bias: Float32,
    key_head_index: Int32,
    num_key_heads: int,
    slots: Array,
    span_starts: Int32,
    read_slots: Int32,
    write_slots: Int32,
    snapshots: Int32,
) -> Float32:
    """Gated delta rule (arXiv 2412.06464), token by token → [rows, value_heads, value_dim].

    qkv [rows, 2·key_heads·key_dim + value_heads·value_dim] after the convolution; q, k are L2-normed
    (x · rsqrt(Σx² + 1e-6)), q / sqrt(key_dim); g = decay · softplus(a + dt_bias); beta = sigmoid(b);
    S ← S·exp(g); δ = beta (v − Sᵀk); S ← S + k δᵀ; o = Sᵀq. Slots as in causal_convolution.
    """
    out = ws.floats(len(qkv), slots.shape[1], slots.shape[3])
    spans = (span_starts, read_slots, write_slots, snapshots)
    _kernels.delta_rule(qkv, a, b, decay, dt_bias, key_head_index, num_key_heads, slots, *spans, out)
    return out


def route_softmax(ws: Workspace, scores: Float32, experts_per_token: int) -> tuple[Int32, Float32]:
    """Softmax over all experts, top k (ties: lowest index), renormalised → ids, weights [rows, k]."""
    ids = ws.ints(scores.shape[0], experts_per_token)
    weights = ws.floats(scores.shape[0], experts_per_token)
    _kernels.route_softmax(scores, ids, weights)
    return ids, weights


def route_sigmoid(ws: Workspace, scores: Float32, experts_per_token: int) -> tuple[Int32, Float32]:
    """Top k of the scores (ties: lowest index), weights sigmoid(score) → ids, weights [rows, k]."""
    ids = ws.ints(scores.shape[0], experts_per_token)
    weights = ws.floats(scores.shape[0], experts_per_token)
    _kernels.route_sigmoid(scores, ids, weights)
    return ids, weights


def experts(
    ws: Workspace, x: Float32, ids: Int32, weights: Float32, table: ExpertTable, *, scale_input: bool
) -> Float32:
    """Σ over a token's experts, ascending expert index, of weight · down(silu(gate x) · up x).

    scale_input: the weight multiplies the expert's input instead (Llama 4).
    """
    out = ws.floats(x.shape[0], table.hidden_size)
    _kernels.experts(x, ids, weights, table, scale_input, out)
    return out


def check_finite(logits: Float32) -> bool:
    """Whether no number of it is infinite or NaN."""
    return _kernels.check_finite(logits)


def sample(
    logits: Float32,
    *,
    vocabulary_size: int,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    presence_penalty: float,
    frequency_penalty: float,
    repetition_penalty: float,
    context_ids: Int32,
    generated_ids: Int32,
    bias_ids: Int32,
    bias_values: Float32,
    seed: int,
    sample_index: int,
    position: int,
    top_logprobs: int,
) -> tuple[int, float, Int32, Float64]:
    """The next token of logits [V] → id, its log-probability, the `top_logprobs` likeliest ids and theirs.

    In this order: repetition penalty (distinct ids of context and generated), frequency and presence penalty
    (generated); bias; temperature (0: the largest logit); top_k (0: off); top_p of what is left (1: off);
    min_p relative to the likeliest (0: off); one random number of (seed, sample_index, position).
    Ties go to the lower id; ids from vocabulary_size on are never sampled. Log-probabilities are those of the
    logits as they came, at temperature 1.
    """
    likeliest = min(top_logprobs, vocabulary_size)
    top_ids, top = np.empty(likeliest, np.int32), np.empty(likeliest, np.float64)
    token, logprob = _kernels.sample(
        logits,
        vocabulary_size,
        temperature,
        top_k,
        top_p,
        min_p,
        presence_penalty,
        frequency_penalty,
        repetition_penalty,
        context_ids,
        generated_ids,
        bias_ids,
        bias_values,
        seed % 2**64,
        sample_index,
        position,
        top_ids,
        top,
    )
    return token, logprob, top_ids, top


def log_softmax_at(logits: Float32, targets: Int32) -> Float64:
    """log softmax(logits[r])[targets[r]], logits [rows, V] → [rows]."""
    out = np.empty(len(targets), np.float64)
    _kernels.log_softmax_at(logits, targets, out)
    return out
