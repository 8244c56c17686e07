"""Small random models of both families as files. As a program: prints the hashes of their logits."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import random_models

from shoestring.samples.synthetic import write_synthetic

FAMILIES = ("qwen3_5", "qwen3_5-dense", "llama4", "llama4-interleaved")
TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q4_K", "Q5_K", "Q6_K")
#: Attention chunks of 96 tokens, whose edges lie inside pages.
CHUNK_SIZE = 96


def write(family: str, kind: str, path: Path) -> Path:
    """A model of four layers, vocabulary 1024."""
    config: random_models.Config
    if family.startswith("qwen3_5"):
        config = random_models.qwen3_5(experts=0 if family.endswith("dense") else 8, tied=family.endswith("dense"))
    else:
        config = random_models.llama4(step=2 if family.endswith("interleaved") else 1)
        config = replace(config, attention_chunk_size=CHUNK_SIZE, floor_scale=64)
    write_synthetic(config, path, kind, seed=7)
    return path


def tokens(length: int, seed: int = 0) -> list[int]:
    """The same on every machine."""
    bits = np.random.Philox(seed).random_raw(length)
    return [int(b % random_models.VOCABULARY) for b in bits]


def digest(array: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()[:16]


if __name__ == "__main__":
    # One line per file: the instruction set, and the hash of the logits of 100 tokens.
    import shoestring
    from shoestring import ops

    for name in sys.argv[1:]:
        model = shoestring.load(name, threads=int(os.environ["THREADS"]), context=256)
        print(ops.isa(), digest(model.logits(tokens(100), chunk=40)))
