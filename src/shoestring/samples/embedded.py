"""The embedded models by name: each function writes the file once and returns its path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from shoestring.checkpoint.formats.gguf_write import Progress
from shoestring.samples import demo_qwen3_5, smollm_as_llama4

EMBEDDED: Mapping[str, Callable[[Progress | None], Path]] = {
    smollm_as_llama4.DEMO_NAME: smollm_as_llama4.ensure_demo,
    demo_qwen3_5.DEMO_NAME: demo_qwen3_5.ensure_demo,
}
#: The family of each, and where its file is once it is written.
FILES: Mapping[str, tuple[str, Callable[[], Path]]] = {
    smollm_as_llama4.DEMO_NAME: ("llama4", smollm_as_llama4.demo_path),
    demo_qwen3_5.DEMO_NAME: ("qwen3_5", demo_qwen3_5.demo_path),
}
