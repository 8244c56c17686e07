"""Save a run's state on disk: parameters, optimizer states, progress, and the loss curve so far.

A new checkpoint replaces the old one by a rename, so that a killed run loses at most minutes.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from train_demo.optimizer import Trained
from train_demo.student import Parameters

EVERY_SECONDS = 240

Say = Callable[[str, float], None]
"""A function that takes a line and the completed share of a stage."""


@dataclass
class Run:
    """`step`: completed steps of this stage. `tokens`: tokens trained on in this stage."""

    folder: Path
    stage: str
    layers: list[Parameters]
    trained: list[dict[str, Trained]]
    step: int = 0
    tokens: int = 0
    saved: float = 0.0

    def save(self) -> None:
        path = self.folder / f"{self.stage}.pt"
        beside = path.with_suffix(".part")
        state: dict[str, Any] = {
            "step": self.step,
            "tokens": self.tokens,
            "layers": [{name: value.detach() for name, value in p.items()} for p in self.layers],
            "memory": [{name: t.memory for name, t in trained.items()} for trained in self.trained],
        }
        torch.save(state, beside)
        beside.rename(path)
        self.saved = time.monotonic()

    def finish_step(self, tokens: int, seconds: float, steps: int, losses: dict[str, float], say: Say) -> None:
        """Count a step, write the curve's row, report, and save occasionally. steps: of the whole stage."""
        self.step += 1
        self.tokens += tokens
        speed = tokens / seconds
        write_curve(self.folder, self.stage, step=self.step, tokens=self.tokens, **losses, speed=speed)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        left = (steps - self.step) * seconds / 60
        line = f"{self.stage} {self.step}/{steps}  {shown}  {speed:.0f} tokens/s, {left:.0f} min left"
        say(line, self.step / steps)
        self.save_sometimes()

    def save_sometimes(self) -> None:
        if time.monotonic() - self.saved > EVERY_SECONDS:
            self.save()

    def resume(self) -> bool:
        """Load what `save` wrote for this stage. Returns False if there is nothing."""
        path = self.folder / f"{self.stage}.pt"
        if not path.exists():
            return False
        state = torch.load(path, map_location=self.layers[0]["input_norm"].device)
        self.step, self.tokens = state["step"], state["tokens"]
        with torch.no_grad():
            for p, old in zip(self.layers, state["layers"], strict=True):
                for name, value in p.items():
                    value.copy_(old[name])
        for trained, memories in zip(self.trained, state["memory"], strict=True):
            for name, one in trained.items():
                one.memory = memories[name]
        self.saved = time.monotonic()
        return True


def write_curve(folder: Path, stage: str, **row: float) -> None:
    """Append a line to the stage's loss curve, `curve-STAGE.csv`."""
    path = folder / f"curve-{stage}.csv"
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(row)
        writer.writerow([f"{value:.6g}" for value in row.values()])


def read_curve(folder: Path, stage: str) -> dict[str, list[float]]:
    """Columns by name; of steps that ran twice, only the later line counts."""
    with (folder / f"curve-{stage}.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["step"]: row for row in csv.DictReader(file)}
    names = next(iter(rows.values())).keys() if rows else ()
    return {name: [float(row[name]) for row in rows.values()] for name in names}


def plot_curves(folder: Path, stages: tuple[str, ...], path: Path) -> None:
    """Plot the loss of each stage over its tokens as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    present = [stage for stage in stages if (folder / f"curve-{stage}.csv").exists()]
    figure, axes = pyplot.subplots(1, max(1, len(present)), figsize=(5 * max(1, len(present)), 3.5), squeeze=False)
    for axis, stage in zip(axes[0], present, strict=False):
        curve = read_curve(folder, stage)
        axis.plot([t / 1000 for t in curve["tokens"]], curve["loss"], linewidth=1)
        axis.set(title=stage, xlabel="thousand tokens", ylabel="loss", yscale="log")
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
