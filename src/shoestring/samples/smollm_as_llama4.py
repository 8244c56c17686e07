"""The embedded test model: SmolLM2-135M-Instruct, rewritten exactly as a small Llama 4 mixture of experts.

Converts and caches the model. No number of the weights changes; quantized blocks are only moved:

    attention      unchanged: llama.cpp's permuted q and k are Llama 4's interleaved rotary pairs
    feed-forward   1536 neurons = 768 of the shared expert + 768 that all 4 routed experts have, each in its own
                   order (groups of 32 neurons: rows of gate and up, whole blocks of down's columns)
    router         rows a, −a, b, −b, large: the winner's score is far above 17, where sigmoid is exactly 1

Whichever expert a token is sent to, the sum equals the original feed-forward. The model is neither Qwen 3.5 nor
Llama 4; it only exercises their code with real weights and real text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shoestring.checkpoint.config.types import Llama4Config, Rotary
from shoestring.checkpoint.formats.gguf_write import OutgoingTensor, Progress, write_gguf
from shoestring.checkpoint.tensors import Checkpoint, Tensor
from shoestring.samples import smollm
from shoestring.samples.smollm import HIDDEN, LAYERS, NEURONS

Bytes = npt.NDArray[np.uint8]

DEMO_NAME = "demo-llama4"
#: Part of the cached file's name: raise it if the conversion writes other bytes.
_REVISION = 1
_EXPERTS = 4
_GROUP = 32  # neurons that move together: one quantized block of down's columns
_ROUTER_SCALE = 20_000.0
_CHUNK = 8192
#: Steps through the groups of neurons, one per expert: coprime to their number (24), so each gives a permutation.
_STRIDES = (1, 5, 7, 11)
#: A layer's two router directions are drawn from these, chosen so that ordinary English uses all four experts
#: of every layer: hidden states share a large common part, and most directions see only its sign.
_ROUTER_SEEDS = (
    19, 12, 9, 4, 0, 1, 7, 0, 4, 9, 10, 19, 3, 16, 23, 0, 8, 11, 12, 3, 6, 6, 2, 15, 4, 0, 5, 7, 0, 29,
)  # fmt: skip


def demo_path() -> Path:
    """The path of the converted model; `ensure_demo` writes it."""
    return smollm.cached_path(DEMO_NAME, _REVISION)


def ensure_demo(progress: Progress | None = None) -> Path:
    """The converted model's file, written by the first call. Calls `progress(bytes written, bytes in all)`.

    Waits for another process that writes it. Raises CheckpointError if the package with the weights is missing or
    another one, CapacityError if the disk is full.
    """

    def write(path: Path) -> None:
        from shoestring.checkpoint.formats.gguf import open_gguf

        convert(open_gguf(source_path()), path, progress)

    return smollm.write_once(demo_path(), write)


def source_path() -> Path:
    """SmolLM2's file. Raises CheckpointError if it is missing."""
    return smollm.source_path(DEMO_NAME)


def convert(source: Checkpoint, path: Path, progress: Progress | None = None) -> None:
    """Write the mixture of experts that computes the same as `source`, the original SmolLM2 file."""
    smollm.check(source)
    unchanged = (t for t in source.tensors.values() if ".ffn_" not in t.name or ".ffn_norm" in t.name)
    outgoing = [smollm.copied(tensor) for tensor in unchanged]
    for layer in range(LAYERS):
        outgoing += _mixture(source, layer)
    name = "SmolLM2-135M-Instruct as a Llama 4 mixture of experts"
    description = "SmolLM2-135M-Instruct, feed-forwards split into a shared and 4 permuted experts"
    metadata = {
        **smollm.metadata(source, _config(source.metadata), name, description),
        "shoestring.llama4.attention_chunk_size": _CHUNK,  # the default, which the first revision spelled out
    }
    write_gguf(path, metadata, outgoing, progress)


def _config(old: dict[str, Any]) -> Llama4Config:
    """A config without NoPE, chunks, temperature and norms of q and k, which SmolLM2 does not have."""
    return Llama4Config(
        vocab_size=old["llama.vocab_size"],
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=smollm.HEADS,
        num_key_value_heads=smollm.KV_HEADS,
        head_dim=smollm.HEAD_DIM,
        rotary=Rotary(dims=smollm.HEAD_DIM, theta=old["llama.rope.freq_base"]),
        rms_norm_eps=old["llama.attention.layer_norm_rms_epsilon"],
        rope_layers=(True,) * LAYERS,
        chunked_layers=(True,) * LAYERS,
        attention_chunk_size=_CHUNK,
        moe_layers=(True,) * LAYERS,
        use_qk_norm=False,
        attn_temperature_tuning=False,
        intermediate_size_mlp=NEURONS // 2,
        intermediate_size=NEURONS // 2,
        num_local_experts=_EXPERTS,
        num_experts_per_tok=1,
        tie_word_embeddings=True,
        max_position_embeddings=old["llama.context_length"],
    )


def _mixture(source: Checkpoint, layer: int) -> Iterable[OutgoingTensor]:
    """The router, shared and routed expert tensors of one layer."""
    block = f"blk.{layer}.ffn_"
    gate, up, down = (source.tensors[f"{block}{part}.weight"] for part in ("gate", "up", "down"))
    hidden, neurons = down.shape
    half = neurons // 2
    shared = np.arange(half // _GROUP)
    orders = [half // _GROUP + expert_order(layer, expert) for expert in range(_EXPERTS)]

    router = router_rows(layer, hidden).view(np.uint8)
    yield OutgoingTensor(f"{block}gate_inp.weight", "F32", (_EXPERTS, hidden), lambda: [router])
    for name, tensor in (("gate", gate), ("up", up)):
        yield OutgoingTensor(f"{block}{name}_shexp.weight", tensor.type, (half, hidden), _rows(tensor, [shared]))
        yield OutgoingTensor(f"{block}{name}_exps.weight", tensor.type, (_EXPERTS, half, hidden), _rows(tensor, orders))
    yield OutgoingTensor(f"{block}down_shexp.weight", down.type, (hidden, half), _columns(down, [shared]))
    yield OutgoingTensor(f"{block}down_exps.weight", down.type, (_EXPERTS, hidden, half), _columns(down, orders))


def expert_order(layer: int, expert: int) -> npt.NDArray[np.int64]:
    """The order of the routed half's groups in an expert: a permutation, different for each expert."""
    groups = NEURONS // 2 // _GROUP
    return (_STRIDES[expert] * np.arange(groups) + layer) % groups


def router_rows(layer: int, hidden: int) -> npt.NDArray[np.float32]:
    """Rows a, −a, b, −b of entries ±20,000, [4, hidden]: exact in float32, and a function of the layer's seed alone."""
    bits = np.random.Philox(key=_ROUTER_SEEDS[layer], counter=layer).random_raw(2 * hidden) & np.uint64(1)
    a, b = np.where(bits.reshape(2, hidden) == 1, _ROUTER_SCALE, -_ROUTER_SCALE).astype(np.float32)
    return np.stack([a, -a, b, -b])


def _rows(tensor: Tensor, orders: list[npt.NDArray[np.int64]]) -> Callable[[], Iterable[Bytes]]:
    """Groups of 32 rows in each order, concatenated."""
    groups = tensor.data.reshape(tensor.shape[0] // _GROUP, -1)
    return lambda: (groups[order] for order in orders)


def _columns(tensor: Tensor, orders: list[npt.NDArray[np.int64]]) -> Callable[[], Iterable[Bytes]]:
    """Blocks of 32 columns in each order, concatenated by matrix."""
    rows, columns = tensor.shape
    blocks = tensor.data.reshape(rows, columns // _GROUP, -1)
    return lambda: (np.ascontiguousarray(blocks[:, order]) for order in orders)
