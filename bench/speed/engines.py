"""One start of an engine on a file: our variants through `shoestring bench`, the peers through their llama-bench."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import output

from shoestring import ops

#: The instruction set that every x86 processor of the last ten years has, and what the peers' build for it is called.
AVX2 = "avx2"
NATIVE = "native"


@dataclass(frozen=True)
class Speeds:
    """Tokens per second of one start; share: of the roof of decode, where it is measured."""

    prefill: float
    decode: float
    share: float | None = None


@dataclass(frozen=True)
class Work:
    """What an engine is timed for: a prompt of so many tokens, and an answer of so many."""

    prompt: int
    answer: int
    threads: int


@dataclass(frozen=True)
class Ours:
    """A variant of our kernels. build: with which build of the peers it is compared."""

    isa: str
    build: str
    name: str = "shoestring"

    def start(self, file: Path, work: Work) -> Speeds:
        facts = bench(file, work, self.isa, "--repetitions", "1")
        return Speeds(
            facts["prefill_tokens_per_second"],
            facts["decode_tokens_per_second"],
            facts.get("decode_share_of_roof"),
        )


def bench(file: Path, work: Work, isa: str, *options: str) -> Any:
    """What `shoestring bench --json` says."""
    command = [sys.executable, "-m", "shoestring", "bench", str(file), "--threads", str(work.threads), "--json",
               "-p", str(work.prompt), "-g", str(work.answer), *options]  # fmt: skip
    return output(command, {"SHOESTRING_ISA": isa})


@dataclass(frozen=True)
class Peer:
    """A build of another engine's llama-bench, and the options that it is run with."""

    name: str
    build: str
    binary: Path
    options: tuple[str, ...] = ()

    def start(self, file: Path, work: Work) -> Speeds:
        command = [str(self.binary), "-m", str(file), "-p", str(work.prompt), "-n", str(work.answer),
                   "-t", str(work.threads), "-r", "1", "-o", "json", *self.options]  # fmt: skip
        return peer_speeds(output(command))

    @property
    def label(self) -> str:
        return " ".join((self.name, *self.options))


def peer_speeds(rows: list[dict[str, Any]]) -> Speeds:
    """From what llama-bench prints: a row a phase. A phase that was not asked for counts as 0."""
    rates = {bool(row["n_prompt"]): float(row["avg_ts"]) for row in rows}
    return Speeds(rates.get(True, 0.0), rates.get(False, 0.0))


def variants(wanted: list[str]) -> list[Ours]:
    """best: what this machine's kernels choose; avx2: those. One alone where they are the same."""
    best = ops.isa()
    chosen = [Ours(best, NATIVE)] if "best" in wanted else []
    if AVX2 in wanted and AVX2 in ops.variants() and not (best == AVX2 and chosen):
        chosen.append(Ours(AVX2, AVX2))
    return chosen
