"""Join frozen weights (SmolLM2's file) and trained weights to one GGUF file of a Qwen 3.5 mixture.

    as trained      norms, delta-nets, routers, the shared expert's gate: copied
    full attention  stored without the head dims that are always zero: they are inserted again
    shared expert   SmolLM2's first 1,024 neurons, blocks moved; the output doubled, as its gate starts at ½
    routed experts  SmolLM2's last 512 neurons plus a trained difference of low rank each, quantized anew

Everything is elementwise or a copy, so the file is the same on every machine.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from shoestring.checkpoint.formats.gguf_write import OutgoingTensor, Progress, write_gguf
from shoestring.checkpoint.tensors import TENSOR_TYPES, Checkpoint, Tensor
from shoestring.errors import CheckpointError
from shoestring.reference.dequantize import dequantize
from shoestring.samples import smollm
from shoestring.samples.demo_qwen3_5.blocks import Bytes, Float32, doubled_q4_1, to_q8_0
from shoestring.samples.demo_qwen3_5.layout import (
    EXPERTS,
    FULL_LAYERS,
    HEAD_DIM,
    HEADS,
    HIDDEN,
    KV_HEADS,
    LAYERS,
    RANK,
    ROUTED,
    SHARED,
    USED,
    WIDE,
    config,
)


def join(source: Checkpoint, trained: Checkpoint, path: Path, progress: Progress | None = None) -> None:
    """Write the whole model. Raises CheckpointError if `source` is not the file that the training started from."""
    smollm.check(source)
    outgoing = [smollm.copied(source.tensors[name]) for name in ("token_embd.weight", "output_norm.weight")]
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        outgoing += [
            smollm.copied(tensor)
            for tensor in trained.tensors.values()
            if tensor.name.startswith(block) and tensor.name.endswith((".weight", ".bias", ".ssm_a"))
        ]
        if layer in FULL_LAYERS:
            outgoing += _full_attention(trained, block)
        outgoing += _shared(source, block)
        outgoing += _routed(source, trained, block)
    name = "SmolLM2-135M-Instruct distilled into the Qwen 3.5 architecture"
    description = "The machinery of Qwen 3.5 with weights of SmolLM2 and a short training; not Qwen's"
    metadata = smollm.metadata(source, config(source.metadata), name, description)
    del metadata["qwen35moe.vocab_size"]  # the list of tokens says it, and the second revision has no such key
    write_gguf(path, metadata, outgoing, progress)


def _full_attention(trained: Checkpoint, block: str) -> Iterable[OutgoingTensor]:
    """Rows of q, k and v, and columns of the output, with the omitted zeros inserted."""
    query, gate, key, value, output = (
        trained.tensors[f"{block}attn_{part}"] for part in ("query", "query_gate", "key", "value", "output")
    )

    def heads(tensor: Tensor, count: int, rows: int) -> Bytes:
        """[count, WIDE, bytes per row]: `rows` of each head, then zeros."""
        data = tensor.data.reshape(count, rows, -1)
        return np.pad(data, ((0, 0), (0, WIDE - rows), (0, 0)))

    def with_gates() -> Iterable[Bytes]:
        yield np.concatenate([heads(query, HEADS, USED), heads(gate, HEADS, HEAD_DIM)], axis=1)

    yield OutgoingTensor(f"{block}attn_q.weight", query.type, (2 * HEADS * WIDE, HIDDEN), with_gates)
    shape = (KV_HEADS * WIDE, HIDDEN)
    yield OutgoingTensor(f"{block}attn_k.weight", key.type, shape, lambda: [heads(key, KV_HEADS, USED)])
    yield OutgoingTensor(f"{block}attn_v.weight", value.type, shape, lambda: [heads(value, KV_HEADS, HEAD_DIM)])
    columns = output.data.reshape(HIDDEN, HEADS, -1)
    half = columns.shape[2]  # bytes of HEAD_DIM numbers
    padded = np.pad(columns, ((0, 0), (0, 0), (0, half * (WIDE - HEAD_DIM) // HEAD_DIM)))
    yield OutgoingTensor(f"{block}attn_output.weight", output.type, (HIDDEN, HEADS * WIDE), lambda: [padded])


def _shared(source: Checkpoint, block: str) -> Iterable[OutgoingTensor]:
    gate, up, down = (source.tensors[f"{block}ffn_{part}.weight"] for part in ("gate", "up", "down"))
    for name, tensor in (("gate", gate), ("up", up)):
        rows = tensor.data.reshape(SHARED + ROUTED, -1)[:SHARED]
        yield OutgoingTensor(
            f"{block}ffn_{name}_shexp.weight", tensor.type, (SHARED, HIDDEN), functools.partial(list, [rows])
        )
    if down.type != "Q4_1":
        raise CheckpointError(
            f"{source.path}: {down.name} has type {down.type}, not Q4_1: run `{smollm.pip_command()}`"
        )
    size = TENSOR_TYPES[down.type].block_size
    blocks = down.data.reshape(HIDDEN, (SHARED + ROUTED) // size, -1)[:, : SHARED // size]
    yield OutgoingTensor(f"{block}ffn_down_shexp.weight", down.type, (HIDDEN, SHARED), lambda: [doubled_q4_1(blocks)])


def _routed(source: Checkpoint, trained: Checkpoint, block: str) -> Iterable[OutgoingTensor]:
    for part, rows, columns in (("gate", ROUTED, HIDDEN), ("up", ROUTED, HIDDEN), ("down", HIDDEN, ROUTED)):
        chunks = functools.partial(_experts, source, trained, block, part, rows, columns)
        yield OutgoingTensor(f"{block}ffn_{part}_exps.weight", "Q8_0", (EXPERTS, rows, columns), chunks)


def _experts(
    source: Checkpoint, trained: Checkpoint, block: str, part: str, rows: int, columns: int
) -> Iterable[Bytes]:
    """The matrix [rows, columns] of each expert: SmolLM2's last neurons plus the expert's own difference."""
    neurons = numbers(source.tensors[f"{block}ffn_{part}.weight"])
    base = neurons[:, SHARED:] if part == "down" else neurons[SHARED:]
    # Differences of gate and up are stored together: [2, EXPERTS, RANK, …].
    stored, index = ("down", 0) if part == "down" else ("gate_up", ("gate", "up").index(part))
    inner = numbers(trained.tensors[f"{block}experts.{stored}_in"]).reshape(-1, EXPERTS, RANK, columns)[index]
    outer = numbers(trained.tensors[f"{block}experts.{stored}_out"]).reshape(-1, EXPERTS, RANK, rows)[index]
    for expert in range(EXPERTS):
        yield to_q8_0(base + product(outer[expert], inner[expert]))


def product(outer: Float32, inner: Float32) -> Float32:
    """outerᵀ [rows, r] · inner [r, columns], summed in the order of r, independent of libraries."""
    total = outer[0][:, None] * inner[0]
    for a, b in zip(outer[1:], inner[1:], strict=True):
        total = total + a[:, None] * b
    return np.asarray(total)


def numbers(tensor: Tensor) -> Float32:
    """Dequantize a tensor, in its shape."""
    if tensor.type == "F32":
        return np.asarray(tensor.data.view("<f4").reshape(tensor.shape))
    return dequantize(tensor.data.reshape(tensor.shape[0], -1), tensor.type).reshape(tensor.shape)
