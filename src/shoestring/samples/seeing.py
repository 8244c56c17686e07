"""A small random model that sees, and pictures for it: what `shoestring demo` shows the path of a picture with."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from shoestring.checkpoint.config.types import Qwen3_5Config, Rotary
from shoestring.samples.synthetic import write_synthetic
from shoestring.samples.synthetic.vision import small, write_mmproj

_CONFIG = Qwen3_5Config(
    vocab_size=1024,
    hidden_size=256,
    num_hidden_layers=4,
    layer_types=("linear_attention", "linear_attention", "linear_attention", "full_attention"),
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=64,
    rotary=Rotary(dims=32, theta=1e7, sections=(6, 5, 5)),
    rms_norm_eps=1e-6,
    linear_num_key_heads=2,
    linear_num_value_heads=4,
    linear_key_head_dim=64,
    linear_value_head_dim=64,
    linear_conv_kernel_dim=4,
    intermediate_size=512,
    num_experts=0,
    num_experts_per_tok=0,
    moe_intermediate_size=0,
    shared_expert_intermediate_size=0,
    tie_word_embeddings=False,
    max_position_embeddings=4096,
    mtp_num_hidden_layers=0,
    value_head_order="tiled",
)
_SIDE = 256


def write_seeing(folder: Path) -> Path:
    """Write a model of Qwen 3.5's architecture and its tower, a GGUF file each. Returns the model's."""
    path = folder / "seeing.gguf"
    write_synthetic(_CONFIG, path, "Q8_0", vision=True)
    write_mmproj(small("qwen3_5", _CONFIG.hidden_size), folder / "mmproj-F16.gguf", "F16")
    return path


def picture(*, red: bool) -> bytes:
    """A PNG file: a square that grows lighter, in red or blue."""
    rows = []
    for y in range(_SIDE):
        pixels = bytearray()
        for x in range(_SIDE):
            light = (x + y) // 2
            pixels += bytes((255, light, light) if red else (light, light, 255))
        rows.append(b"\0" + bytes(pixels))
    head = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
