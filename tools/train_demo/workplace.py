"""The context of a training run: folder, seed and device, the teacher and its words. The command opens it once."""

from __future__ import annotations

import ctypes
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from shoestring.checkpoint.formats.gguf import open_gguf
from shoestring.checkpoint.text.chat_template import ChatTemplate
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.samples.smollm_as_llama4 import source_path
from train_demo.teacher import Teacher, read_teacher

_BAR = 20  # characters


@dataclass(frozen=True)
class Workplace:
    folder: Path
    corpus: Path
    seed: int
    device: torch.device
    teacher: Teacher
    tokenizer: Tokenizer
    template: ChatTemplate

    def say(self, line: str, share: float = 1) -> None:
        """Print a line to the terminal and the run's log. share: completed share of a stage, a bar on terminals."""
        stamped = f"{time.strftime('%H:%M:%S')} {line}"
        if sys.stdout.isatty():
            done = round(_BAR * share)
            bar = "█" * done + "░" * (_BAR - done) + " " if share < 1 else ""
            print("\r\033[K" + bar + stamped, end="" if share < 1 else "\n", flush=True)
        else:
            print(stamped, flush=True)
        with (self.folder / "log.txt").open("a", encoding="utf-8") as log:
            log.write(stamped + "\n")


def open_workplace(folder: Path, corpus: Path, seed: int, threads: int | None) -> Workplace:
    """Open a run's context. Raises CheckpointError if the package with the teacher's weights is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    _keep_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
    source = open_gguf(source_path())
    tokenizer = Tokenizer.from_checkpoint(source)
    template = ChatTemplate.from_checkpoint(source, tokenizer, "qwen3_5")
    return Workplace(folder, corpus, seed, device, read_teacher(source, device), tokenizer, template)


def _keep_memory() -> None:
    """Let a step reuse memory that the last one freed; otherwise requesting it again costs a sixth of the time."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        trim_threshold, top_pad, mmap_max = -1, -2, -4  # malloc.h
        libc.mallopt(trim_threshold, -1)
        libc.mallopt(top_pad, 256 << 20)
        libc.mallopt(mmap_max, 0)
