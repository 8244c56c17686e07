"""Run the whole training: text, conversion, layer by layer, then end to end at 256 and at 1,024 tokens.

Defines the plan of a run (how much of what) and the order; every stage resumes where it was stopped.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from shoestring.errors import CheckpointError
from train_demo import endtoend, layerwise
from train_demo.checkpoint import Run, plot_curves
from train_demo.convert import convert
from train_demo.data import Ids, Lesson, Order, books, mixed, shortened, whole_words, windows, write_chats
from train_demo.export import open_trained, read_trained
from train_demo.student import Parameters
from train_demo.teacher import as_tokens
from train_demo.workplace import Workplace

STAGES = ("layers", "whole", "long")
_CALIBRATION = 16384  # tokens for the conversion


@dataclass(frozen=True)
class Plan:
    """Steps of each stage and windows per step; number of chats, and tokens of books.

    Takes two hours on two cores with bfloat16 products, if nothing else runs there.
    """

    chats: int = 2880
    held_out_chats: int = 96
    book_tokens: int = 500_000
    held_out_book_tokens: int = 12_288
    chats_of_eight: int = 4
    layer_steps: int = 60
    layer_batch: int = 16
    whole_steps: int = 200
    whole_batch: int = 8
    long_steps: int = 210
    long_batch: int = 2
    short: int = 256
    long: int = 1024


@dataclass(frozen=True)
class Text:
    """Full-length windows of books, then of chats; `books`: number of the first chat window."""

    windows: Ids
    books: int


def prepare(work: Workplace, plan: Plan) -> Text:
    """Read the books, generate the chats, and cut them into windows. Raises CheckpointError if there are no books."""
    lines = books(work.folder, work.corpus, work.tokenizer, False, plan.book_tokens)
    unseen = books(work.folder, work.corpus, work.tokenizer, True, plan.held_out_book_tokens)
    (work.folder / "held-out.txt").write_text(work.tokenizer.decode(unseen.tolist()), encoding="utf-8")
    common = (work.folder, work.template, whole_words(work.tokenizer))
    write_chats(*common, 1, True, plan.held_out_chats, work.say)  # the same for any seed
    talk = write_chats(*common, work.seed, False, plan.chats, work.say).tokens
    parts = windows(lines, plan.long), windows(talk, plan.long)
    return Text(np.concatenate(parts), len(parts[0]))


def read_in_order(plan: Plan, text: Text, seed: int) -> Order:
    """The order of all windows of the run, books and chats mixed."""
    parts = plan.long // plan.short
    count = (plan.layer_steps * plan.layer_batch + plan.whole_steps * plan.whole_batch) // parts
    chats = len(text.windows) - text.books
    return mixed(text.books, chats, plan.chats_of_eight, count + plan.long_steps * plan.long_batch, seed)


def lessons(plan: Plan, text: Text, order: Order, seed: int) -> tuple[Lesson, Lesson, Lesson]:
    """The lessons of the three stages. Each continues in the text where the one before it stopped."""
    short, parts = text.windows.reshape(-1, plan.short), plan.long // plan.short
    of_layers = plan.layer_steps * plan.layer_batch // parts
    of_whole = of_layers + plan.whole_steps * plan.whole_batch // parts
    first, second, third = np.split(order, [of_layers, of_whole])
    return (
        Lesson(short, shortened(first, parts, seed), plan.layer_batch, plan.layer_steps),
        Lesson(short, shortened(second, parts, seed), plan.whole_batch, plan.whole_steps),
        Lesson(text.windows, third, plan.long_batch, plan.long_steps),
    )


def check_plan(work: Workplace, plan: Plan) -> None:
    """Check that a resumed folder has the same plan and seed; the lengths of the stages may differ.

    Raises CheckpointError for another plan.
    """
    path = work.folder / "plan.json"
    mine = {**asdict(plan), "seed": work.seed}
    if path.exists():
        theirs = json.loads(path.read_text(encoding="utf-8"))
        changed = [key for key in mine if mine[key] != theirs.get(key) and not key.endswith("_steps")]
        if changed:
            key = changed[0]
            raise CheckpointError(
                f"{work.folder} was started with {key} {theirs.get(key)}, not {mine[key]}: choose another --folder"
            )
    path.write_text(json.dumps(mine, indent=1) + "\n", encoding="utf-8")


def run(work: Workplace, plan: Plan, earlier: Path | None = None) -> list[Parameters]:
    """Run all stages, except those already done. Returns the trained layers. Raises CheckpointError.

    earlier: an exported file of another run, whose weights this run starts from.
    """
    before = open_trained(earlier) if earlier is not None else None
    check_plan(work, plan)
    torch.manual_seed(work.seed)
    text = prepare(work, plan)
    order = read_in_order(plan, text, work.seed)
    some = shortened(order[: _CALIBRATION // plan.long], plan.long // plan.short, 0)
    layers = _first_layers(work, text.windows.reshape(-1, plan.short)[some])
    if before is not None:
        layers = read_trained(before, layers)
    for name, lesson in zip(STAGES, lessons(plan, text, order, work.seed), strict=True):
        stage = Run(work.folder, name, layers, [{} for _ in layers])
        train = layerwise if name == "layers" else endtoend
        train.start(stage)
        if stage.resume():
            work.say(f"{name}: {stage.step} of {lesson.steps} steps are already done")
        train.train(stage, work.teacher, lesson, work.say)
    plot_curves(work.folder, STAGES, work.folder / "curve.png")
    return layers


def _first_layers(work: Workplace, calibration: Ids) -> list[Parameters]:
    path = work.folder / "converted.pt"
    if path.exists():
        return list(torch.load(path, map_location=work.device))
    work.say("converting")
    tokens = as_tokens(calibration, work.device)
    layers = convert(work.teacher, tokens)
    torch.save(layers, path)
    return layers


def latest(work: Workplace) -> tuple[str, list[Parameters]]:
    """The name of the last stage with a checkpoint, and its layers."""
    for stage in reversed(STAGES):
        path: Path = work.folder / f"{stage}.pt"
        if path.exists():
            return stage, list(torch.load(path, map_location=work.device)["layers"])
    return "converted", list(torch.load(work.folder / "converted.pt", map_location=work.device))
