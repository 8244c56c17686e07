"""Writes tests/golden/hashes.json: hashes of the bits of this numerics version, the same on every machine.

Of small models of both families with generated weights: logits of 100 tokens, over a page's and an attention chunk's
edge, and a few sampled tokens. Run it when NUMERICS_VERSION is raised, never to silence a test:

PYTHONPATH=src python tests/golden/golden_hashes.py
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
import random_checkpoints
from random_checkpoints import FAMILIES, TYPES, tokens

import shoestring
from shoestring import ops
from shoestring.checkpoint.open import open_checkpoint
from shoestring.kv_types import KV_TYPES

FILE = Path(__file__).parent / "hashes.json"
#: All options of sampling, to detect a changed order of its steps.
SAMPLING: dict[str, Any] = {
    "temperature": 0.9,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.01,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.25,
    "repetition_penalty": 1.1,
    "logit_bias": {7: 1.5},
    "seed": 2026,
}


def names(types: Iterable[str] = TYPES) -> list[str]:
    return [f"{family} {kind}" for family in FAMILIES for kind in types]


def hashes(name: str, folder: Path) -> dict[str, Any]:
    """Hashes of a model's weights, of its logits with each KV type (float32, little-endian), and its tokens."""
    family, kind = name.split()
    path = random_checkpoints.write(family, kind, folder / f"{family}-{kind}.gguf")
    result: dict[str, Any] = {"weights": weights_hash(path)}
    for kv_type in KV_TYPES:
        model = shoestring.load(path, threads=2, kv_type=kv_type, context=256)
        result[f"logits, KV {kv_type}"] = sha256(model.logits(tokens(100), chunk=40).astype("<f4"))
        if kv_type == "f16":
            pieces = model.generate(tokens(20, seed=5), max_tokens=12, ignore_eos=True, **SAMPLING)
            result["tokens"] = " ".join(str(token.id) for piece in pieces for token in piece.tokens)
    path.unlink()
    return result


def weights_hash(path: Path) -> str:
    """Hash of all tensors, to tell a changed generator of models from changed arithmetic."""
    digest = hashlib.sha256()
    for name, tensor in sorted(open_checkpoint(path).tensors.items()):
        digest.update(f"{name} {tensor.type} {tensor.shape}".encode())
        digest.update(tensor.data.tobytes())
    return digest.hexdigest()[:32]


def sha256(array: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()[:32]


if __name__ == "__main__":
    selected = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        result = {name: hashes(name, Path(folder)) for name in selected or names()}
    if selected:  # called by a test in a process of its own
        print(json.dumps({"isa": ops.isa(), "hashes": result}))
    else:
        FILE.write_text(json.dumps({"numerics_version": ops.NUMERICS_VERSION, "hashes": result}, indent=1) + "\n")
