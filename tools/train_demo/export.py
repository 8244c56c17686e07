"""Write the trained weights, quantized, as the GGUF file of the package (shoestring.samples.demo_qwen3_5 joins it).

The delta-nets' large matrices and the experts' differences are Q5_0, other matrices Q8_0, vectors and routers
float32. Head dims that are always zero are omitted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shoestring.checkpoint.formats.gguf import open_gguf
from shoestring.checkpoint.formats.gguf_write import OutgoingTensor, write_gguf
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.errors import CheckpointError
from shoestring.samples.demo_qwen3_5.blocks import Float32, to_q5_0, to_q8_0
from shoestring.samples.demo_qwen3_5.join import numbers as multiplied_out
from shoestring.samples.demo_qwen3_5.layout import EXPERTS, HEAD_DIM, HEADS, HIDDEN, KV_HEADS, RANK, ROUTED, USED, WIDE
from train_demo.student import Parameters

_ARCHITECTURE = "shoestring-trained"
#: our name → GGUF name and type, for tensors that are stored unchanged
_CARRIED = {
    "input_norm": ("attn_norm.weight", "F32"),
    "post_norm": ("post_attention_norm.weight", "F32"),
    "router": ("ffn_gate_inp.weight", "F32"),
    "shared_gate": ("ffn_gate_inp_shexp.weight", "F32"),
    "in_proj_qkv": ("attn_qkv.weight", "Q5_0"),
    "in_proj_z": ("attn_gate.weight", "Q5_0"),
    "out_proj": ("ssm_out.weight", "Q5_0"),
    "in_proj_a": ("ssm_alpha.weight", "Q8_0"),
    "in_proj_b": ("ssm_beta.weight", "Q8_0"),
    "conv1d": ("ssm_conv1d.weight", "F32"),
    "A_log": ("ssm_a", "F32"),
    "dt_bias": ("ssm_dt.bias", "F32"),
    "norm": ("ssm_norm.weight", "F32"),
    "q_norm": ("attn_q_norm.weight", "F32"),
    "k_norm": ("attn_k_norm.weight", "F32"),
}


def export(layers: list[Parameters], path: Path) -> None:
    """Write the file. Raises CheckpointError if an omitted head dim is not zero."""
    tensors: list[OutgoingTensor] = []
    for number, p in enumerate(layers):
        arrays = {name: numbers(value) for name, value in p.items()}
        for name, (foreign, kind) in _CARRIED.items():
            if name in arrays:
                values = arrays[name]
                if name == "A_log":
                    values = -np.exp(values)
                tensors.append(_tensor(f"blk.{number}.{foreign}", kind, values.squeeze()))
        full = _full_attention(arrays) if "q_proj" in arrays else {}
        for kind, extra in (("Q5_0", _differences(arrays)), ("Q8_0", full)):
            tensors += [_tensor(f"blk.{number}.{foreign}", kind, values) for foreign, values in extra.items()]
    write_gguf(path, {"general.architecture": _ARCHITECTURE, "general.type": "adapter"}, tensors)


def open_trained(path: Path) -> Checkpoint:
    """Open a file of `export`. Raises CheckpointError for any other file."""
    trained = open_gguf(path)
    if trained.metadata.get("general.architecture") != _ARCHITECTURE:
        raise CheckpointError(f"{path} is not a trained.gguf: give the one that train_demo writes to its folder")
    return trained


def read_trained(trained: Checkpoint, first: list[Parameters]) -> list[Parameters]:
    """Read the rounded parameters of an exported file; frozen ones come from `first`."""
    layers = []
    for number, old in enumerate(first):
        p = dict(old)

        def read(name: str, number: int = number) -> Tensor:
            return torch.tensor(multiplied_out(trained.tensors[f"blk.{number}.{name}"]))

        for name, (foreign, _) in _CARRIED.items():
            if name in old:
                values = read(foreign)
                p[name] = (-values).log() if name == "A_log" else values.reshape(old[name].shape)
        p["gate_up_in"], p["down_out"] = read("experts.gate_up_in"), read("experts.down_out")
        p["gate_up_out"] = read("experts.gate_up_out").reshape(old["gate_up_out"].shape)
        p["down_in"] = read("experts.down_in").reshape(EXPERTS, RANK, ROUTED).transpose(1, 2).contiguous()
        if "q_proj" in old:
            parts = {"attn_query": (HEADS, USED), "attn_query_gate": (HEADS, HEAD_DIM), "attn_key": (KV_HEADS, USED),
                     "attn_value": (KV_HEADS, HEAD_DIM)}  # fmt: skip
            query, gate, key, value = (
                F.pad(read(name).reshape(count, rows, HIDDEN), (0, 0, 0, WIDE - rows))
                for name, (count, rows) in parts.items()
            )
            p["q_proj"] = torch.cat([query, gate], 1).reshape(-1, HIDDEN)
            p["k_proj"], p["v_proj"] = key.reshape(-1, HIDDEN), value.reshape(-1, HIDDEN)
            output = read("attn_output").reshape(HIDDEN, HEADS, HEAD_DIM)
            p["o_proj"] = F.pad(output, (0, WIDE - HEAD_DIM)).reshape(HIDDEN, -1)
        layers.append({name: value.to(old[name].device) for name, value in p.items()})
    return layers


def numbers(value: Tensor) -> Float32:
    return np.asarray(value.detach().cpu().numpy(), dtype=np.float32)


def _differences(p: dict[str, Float32]) -> dict[str, Float32]:
    """The experts' differences with long rows, since blocks are along rows."""
    return {
        "experts.gate_up_in": p["gate_up_in"],
        "experts.gate_up_out": p["gate_up_out"].reshape(2 * EXPERTS * RANK, ROUTED),
        "experts.down_in": p["down_in"].transpose(0, 2, 1).reshape(EXPERTS * RANK, ROUTED),
        "experts.down_out": p["down_out"],
    }


def _full_attention(p: dict[str, Float32]) -> dict[str, Float32]:
    query, gate = np.split(p["q_proj"].reshape(HEADS, 2 * WIDE, HIDDEN), 2, axis=1)
    key, value = (p[name].reshape(KV_HEADS, WIDE, HIDDEN) for name in ("k_proj", "v_proj"))
    output = p["o_proj"].reshape(HIDDEN, HEADS, WIDE)
    unused = (query[:, USED:], key[:, USED:], gate[:, HEAD_DIM:], value[:, HEAD_DIM:], output[:, :, HEAD_DIM:])
    if any(part.any() for part in unused):
        raise CheckpointError("a head dim that the export omits was trained: this is another student")
    return {
        "attn_query": query[:, :USED].reshape(-1, HIDDEN),
        "attn_query_gate": gate[:, :HEAD_DIM].reshape(-1, HIDDEN),
        "attn_key": key[:, :USED].reshape(-1, HIDDEN),
        "attn_value": value[:, :HEAD_DIM].reshape(-1, HIDDEN),
        "attn_output": np.ascontiguousarray(output[:, :, :HEAD_DIM]).reshape(HIDDEN, -1),
    }


def _tensor(name: str, kind: str, values: Float32) -> OutgoingTensor:
    encode = {"F32": lambda v: v.view(np.uint8).reshape(-1), "Q8_0": to_q8_0, "Q5_0": to_q5_0}[kind]
    data = encode(np.ascontiguousarray(values))
    return OutgoingTensor(name, kind, values.shape, lambda: [data])
