"""The rows beside those of whole models: shares of the peak, long prompts, many sequences, threads, start, float32."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limits import first_token_seconds, writing_seconds
from machine import output
from streaming.table import Line, at_least, at_most, skipped

from speed import bars
from speed.engines import NATIVE, Ours, Peer, Work, bench
from speed.models import CATALOGUE

TORCH_PEER = Path(__file__).with_name("torch_peer.py")
EXPERT_OPS = ("experts", "add_experts")


@dataclass(frozen=True)
class Settings:
    """Of one call: peers, our variants, threads, rounds; torch: an interpreter with transformers. tiny: a quick run."""

    folder: Path
    ours: list[Ours]
    peers: list[Peer]
    threads: int
    rounds: int
    torch: str | None
    tiny: bool

    @property
    def best(self) -> Ours:
        return self.ours[0]

    def work(self, prompt: int, answer: int) -> Work:
        return Work(min(prompt, 64) if self.tiny else prompt, min(answer, 8) if self.tiny else answer, self.threads)

    def peer(self, name: str) -> Peer | None:
        return next((peer for peer in self.peers if peer.name == name and peer.build == NATIVE), None)


def shares(s: Settings, file: Path, case: str, kind: str) -> Iterator[Line]:
    """What the products of a prompt of 512 reach of the instructions' peak: medians of up to three processes."""
    for ours in s.ours:
        prefills = [prefill_ops(file, s.work(512, 4), ours.isa) for _ in range(min(s.rounds, 3))]
        for name, ops, limit in (
            ("large products", ("matmul", "matmuls"), bars.large(kind, ours.build)),
            ("experts' products", EXPERT_OPS, bars.experts(kind)),
        ):
            chosen = [[op for op in found if op["op"].split()[0] in ops] for found in prefills]
            if not all(chosen):
                continue
            share, rate = (statistics.median(figures) for figures in zip(*map(peak_share, chosen), strict=True))
            yield Line(case, f"{name}, share of the peak, {ours.isa}", f"{share:.0%} ({rate / 1e9:.0f} GOP/s)",
                       f"≥ {limit:.0%}", share >= limit)  # fmt: skip


def prefill_ops(file: Path, work: Work, isa: str) -> list[dict[str, Any]]:
    """The ops of a prompt, as `shoestring bench --profile` counts them."""
    phases: list[dict[str, Any]] = bench(file, work, isa, "--profile")["phases"]
    ops: list[dict[str, Any]] = next(phase["ops"] for phase in phases if phase["phase"] == "prefill")
    return ops


def peak_share(ops: list[dict[str, Any]]) -> tuple[float, float]:
    """Share of the peak and operations per second of several ops, by their time. Ops without a share are left out."""
    counted = [op for op in ops if op["share_of_limit"] is not None]
    seconds = sum(op["seconds"] for op in counted)
    share = sum(op["share_of_limit"] * op["seconds"] for op in counted) / seconds
    return share, sum(op["operations"] for op in counted) / seconds


def long(s: Settings, file: Path, case: str) -> Iterator[Line]:
    """Prompts of 8k and 20k, attention's share of the float peak, and decode after 16,000 tokens."""
    work = s.work(8192, 1)
    facts = bench(file, work, s.best.isa, "--profile", "--context", str(work.prompt + 8))
    prefill = next(phase for phase in facts["phases"] if phase["phase"] == "prefill")
    attention = [op for op in prefill["ops"] if op["op"] == "attention"]
    yield at_least(
        case, f"attention of {work.prompt}, share of the float peak", peak_share(attention)[0], 0.6, "{:.0%}"
    )
    mine = prefill["tokens"] / prefill["seconds"]
    peer = s.peer(bars.LLAMA_CPP)
    if peer is None:
        yield skipped(case, f"prompt of {work.prompt} ÷ llama.cpp: give its llama-bench")
    else:
        theirs = peer.start(file, Work(work.prompt, 0, work.threads)).prefill
        yield Line(case, f"prefill {work.prompt} ÷ llama.cpp", f"{mine:.4g} ÷ {theirs:.4g} = {mine / theirs:.2f}",
                   "≥ 2.0", mine / theirs >= 2)  # fmt: skip
    work = s.work(20_000, 1)
    found = run(s, file, "deep", work.prompt, 2, 1)
    rate = work.prompt / found["seconds_of_prompt"]
    yield Line(case, f"prompt of {work.prompt}, tokens/s", f"{rate:.4g} ({found['seconds_of_prompt']:.1f} s)")
    work = s.work(16_000, 32)
    found = run(s, file, "deep", work.prompt, work.answer, 3)
    text = f"{found['share']:.0%} ({found['rate']:.4g} tokens/s, {found['bytes'] / 1e6:.0f} MB a token)"
    yield Line(case, f"decode at {work.prompt} positions, share of the roof", text, "≥ 80%", found["share"] >= 0.8)


def run(s: Settings, file: Path, what: str, count: int, tokens: int, repetitions: int) -> dict[str, Any]:
    """Our engine in a process of its own (runs.py)."""
    command = [sys.executable, "-m", "speed.runs", str(file), str(s.threads), what, str(count), str(tokens),
               str(repetitions)]  # fmt: skip
    facts: dict[str, Any] = output(command, {"SHOESTRING_ISA": s.best.isa})
    return facts


def many(s: Settings, file: Path, case: str) -> Iterator[Line]:
    """8 sequences beside one, and two threads beside one."""
    facts = run(s, file, "sequences", 8, s.work(1, 32).answer, 1 if s.tiny else 3)
    ratio = statistics.median(many / one for one, many in zip(facts["one"], facts["many"], strict=True))
    one, eight = statistics.median(facts["one"]), statistics.median(facts["many"])
    yield Line(case, "8 sequences ÷ 1", f"{eight:.4g} ÷ {one:.4g} = {ratio:.2f}", "≥ 3.0", ratio >= 3)
    work = s.work(512, 4)
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(s.rounds):
        for n, found in rates.items():
            found.append(s.best.start(file, Work(work.prompt, work.answer, n)).prefill)
    ratio = statistics.median(two / one for one, two in zip(rates[1], rates[2], strict=True))
    yield at_least(case, f"prefill {work.prompt}, 2 threads ÷ 1", ratio, 1.8, "{:.2f}")


def start(s: Settings, file: Path, case: str) -> Iterator[Line]:
    """From the start of the command to the first token, beside the writing of as many bytes of fresh memory."""
    size = file.stat().st_size
    # The first may wait for pages of the file that still go to the disk.
    seconds = [first_token_seconds(file, s.threads) for _ in range(s.rounds + 1)][1:]
    writing = statistics.median(writing_seconds(size, s.threads) for _ in range(3))
    tokenizer = float(output([sys.executable, "-c", _TOKENIZER, str(file)]))
    measure = f"first token, s (writing {writing:.2f}, tokenizer {tokenizer:.2f})"
    yield at_most(
        f"{case}, {size / 1e9:.2f} GB cached", measure, statistics.median(seconds), 0.4 + writing + tokenizer, "{:.2f}"
    )


_TOKENIZER = """
import sys, time
import shoestring.runtime.loading as loading
from shoestring.checkpoint.text.tokenizer import Tokenizer
opened = loading.open_model(sys.argv[1])
began = time.perf_counter()
Tokenizer.from_checkpoint(opened.checkpoint)
print(time.perf_counter() - began)
"""


def floats(s: Settings, file: Path, case: str) -> Iterator[Line]:
    """float32 beside transformers, of the same shape."""
    if s.torch is None:
        yield skipped(case, "give --torch PYTHON, an interpreter with transformers")
        return
    work, config = s.work(512, 64), CATALOGUE / "qwen3.5-0.8b.json"
    ours, theirs = [], []
    for _ in range(s.rounds):
        ours.append(s.best.start(file, work))
        theirs.append(output([s.torch, str(TORCH_PEER), str(config), str(work.prompt), str(work.answer),
                              str(work.threads)]))  # fmt: skip
    share = statistics.median(speeds.share or 0 for speeds in ours)
    for phase, bar in (("prefill", bars.Bar(2.5)), ("decode", bars.Bar(2.3, 0.9))):
        mine = statistics.median(getattr(speeds, phase) for speeds in ours)
        peer = statistics.median(facts[phase] for facts in theirs)
        text = f"{mine:.4g} ÷ {peer:.4g} = {mine / peer:.2f}" + (f" ({share:.0%} of the roof)" * (phase == "decode"))
        yield Line(case, f"float32, {phase} ÷ transformers", text, str(bar), bar.met(mine / peer, share))
