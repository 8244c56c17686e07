"""`shoestring plan --measure`: time layers with a model's shapes on this machine, and keep the speeds for plan.

Layers of a model repeat after a period (Qwen 3.5: three recurrent ones and a global one). Random models with one and
with two periods are timed; their difference is the time of a period, and the rest that of the embedding and the head:

    time of a token = time of one period's model + (periods - 1) × (time of two periods' model - time of one's)
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shoestring.checkpoint.config.types import Config, Llama4Config
from shoestring.cli import options
from shoestring.cli.progress import Progress
from shoestring.cli.say import say
from shoestring.planning.assess import Assessment
from shoestring.planning.candidates.formats import OWN_TYPES
from shoestring.planning.hardware import kept
from shoestring.planning.hardware.detect import this_key
from shoestring.planning.measured import save
from shoestring.planning.plan import Plan

#: tokens of a timed prompt and answer, and how often each is timed
PROMPT, ANSWER, REPETITIONS = 256, 32, 2
RATES = ("prefill_tokens_per_second", "decode_tokens_per_second")
#: the most bytes of a timed file: larger models are timed with fewer experts
LARGEST_FILE = 3 * 10**9


@dataclass(frozen=True)
class Reduced:
    """Shapes to time: two periods of a model's layers, perhaps with fewer experts."""

    config: Config
    period: int
    experts: int
    all_experts: int

    @property
    def source(self) -> str:
        text = f"shoestring plan --measure: {2 * self.period} layers"
        return text + (f" with {self.experts} of {self.all_experts} experts" if self.experts < self.all_experts else "")


def measure(planned: Plan) -> None:
    """Time every model of a plan that our engine runs on this machine, and save the speeds.

    Those of a model whose experts are read from disk are its speeds in memory, from layers with fewer experts.
    """
    kept.bandwidth(this_key(), planned.machine.cores, again=True)
    for a in planned.assessments:
        here = a.placement.fit == "ram" or a.placement.streamed is not None
        if not here or a.need.sizes.type not in OWN_TYPES:
            say(
                f"{a.candidate.name}: not timed: it does not run here in a type that Shoestring reads",
                err=True,
            )
            continue
        timed(a)


def timed(a: Assessment) -> None:
    """Time one model and save its speeds."""
    from shoestring.samples.synthetic import synthetic_bytes

    type_, name, split = a.need.sizes.type, a.candidate.name, a.placement.streamed
    memory = a.placement.free + a.need.weights_bytes if split is None else split.budget_bytes
    free = min(LARGEST_FILE, shutil.disk_usage(tempfile.gettempdir()).free // 3, memory)
    shapes = reduced(a.candidate.config, type_, free, synthetic_bytes)
    if shapes is None:
        say(
            f"{name}: not timed: {2 * period(a.candidate.config)} of its layers do not fit in {free / 1e9:.1f} GB",
            err=True,
        )
        return
    say(f"{name}, {type_}: {shapes.source.partition(': ')[2]}", err=True)
    found = extended(shapes, a.candidate.config.num_hidden_layers, type_)
    facts: dict[str, Any] = {"model": a.candidate.id, "type": type_, "source": shapes.source, **found}
    save(facts, f"plan-{a.candidate.id}-{type_}")
    say(
        f"  {facts['decode_tokens_per_second']:.3g} tokens/s, prompts {facts['prefill_tokens_per_second']:.3g}",
        err=True,
    )


def extended(shapes: Reduced, layers: int, type_: str) -> dict[str, float]:
    """Tokens/s of a model with so many layers, from those of one and of two periods."""
    from shoestring.samples.synthetic import with_layers, write_synthetic

    rates = []
    with tempfile.TemporaryDirectory(prefix="shoestring-measure-") as folder:
        for count in (1, 2):
            path = Path(folder) / f"{count}.gguf"
            with Progress(f"writing {count * shapes.period} layers") as progress:
                write_synthetic(with_layers(shapes.config, count * shapes.period), path, type_, progress=progress)
            rates.append(speeds(path))
            path.unlink()
    return {key: 1 / whole(1 / rates[0][key], 1 / rates[1][key], layers / shapes.period) for key in RATES}


def speeds(path: Path) -> dict[str, Any]:
    """Tokens/s of a model file, as `shoestring bench` measures them."""
    from shoestring.cli.advise.bench import measured

    return measured(str(path), PROMPT, ANSWER, REPETITIONS, replace(options.Loading(), context=PROMPT + ANSWER + 2))


def whole(one: float, two: float, periods: float) -> float:
    """Seconds of a token in the whole model, from those of one and of two periods.

    A second period takes at least half of the first model's share of it: noise must not make layers free.
    """
    each = max(two - one, one / 4)
    return max(one + (periods - 1) * each, one)


def kinds(config: Config) -> list[tuple[Any, ...]]:
    """What distinguishes each layer."""
    if isinstance(config, Llama4Config):
        return list(zip(config.rope_layers, config.chunked_layers, config.moe_layers, strict=True))
    return [(kind,) for kind in config.layer_types]


def period(config: Config) -> int:
    """Layers after which their kinds repeat."""
    each = kinds(config)
    return next(p for p in range(1, len(each) + 1) if all(k == each[i % p] for i, k in enumerate(each)))


def reduced(config: Config, type_: str, limit: int, nbytes: Any) -> Reduced | None:
    """The shapes to time within `limit` bytes, by `nbytes(config, type)`: with half of the experts, again and again.

    None if they do not fit with the chosen experts alone.
    """
    from shoestring.samples.synthetic import with_layers

    layers = period(config)
    everything = config.num_local_experts if isinstance(config, Llama4Config) else config.num_experts
    two = min(2 * layers, config.num_hidden_layers)
    for experts in halves(everything, config.num_experts_per_tok):
        smaller = with_experts(config, experts) if everything else config
        if nbytes(with_layers(smaller, two), type_) <= limit:
            return Reduced(smaller, two // 2, experts, everything)
    return None


def with_experts(config: Config, experts: int) -> Config:
    if isinstance(config, Llama4Config):
        return replace(config, num_local_experts=experts)
    return replace(config, num_experts=experts)


def halves(everything: int, least: int) -> Iterable[int]:
    """All experts, half of them, and so on, down to those that a token chooses."""
    while everything > max(1, least):
        yield everything
        everything //= 2
    yield max(least, everything)
