"""`python -m train_demo`, or `make train-demo`: train the weights of demo-qwen3.5 again, or continue.

A maintainer's tool, not part of the package: run it from a checkout with `PYTHONPATH=tools`.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoestring.cli import options
from shoestring.cli.shared import spread
from shoestring.errors import CheckpointError, RequestError

if TYPE_CHECKING:
    from train_demo.workplace import Workplace

HELP = """Train demo-qwen3.5 again: SmolLM2-135M-Instruct distilled into the Qwen 3.5 architecture.

Takes two hours on two cores, minutes on a GPU. Needs torch (`.venv/bin/python -m pip install --group train`). A stopped
run resumes where it was. The folder gets the log, the loss curves, checkpoints, and at the end trained.gguf (the
part in the package), demo-qwen3.5.gguf (the whole model) and a table of results."""


@dataclass(frozen=True)
class Lengths:
    """Lengths of the run: increase them on a faster machine or with more time."""

    book_tokens: Annotated[
        int | None, typer.Option("--book-tokens", min=1, metavar="N", help="Tokens of books to use.")
    ] = None
    chats: Annotated[int | None, typer.Option("--chats", min=1, metavar="N", help="Chats to generate.")] = None
    layer_steps: Annotated[
        int | None, typer.Option("--layer-steps", min=0, metavar="N", help="Steps of 4,096 tokens, layer by layer.")
    ] = None
    whole_steps: Annotated[
        int | None, typer.Option("--whole-steps", min=0, metavar="N", help="Steps of 2,048 tokens, end to end.")
    ] = None
    long_steps: Annotated[
        int | None, typer.Option("--long-steps", min=0, metavar="N", help="Steps of 2,048 tokens on long windows.")
    ] = None


@spread
def train_demo(
    corpus: Annotated[
        Path | None, typer.Option("--corpus", metavar="DIR", help="Folder with books-*.jsonl.xz; first run only.")
    ] = None,
    folder: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Folder of the run.")] = Path(
        "build/demo-qwen3.5"
    ),
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the run.")] = 1,
    earlier: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Continue from a trained.gguf of another run.")
    ] = None,
    evaluate: Annotated[bool, typer.Option("--evaluate", help="Only measure the newest checkpoint.")] = False,
    export: Annotated[bool, typer.Option("--export", help="Only write trained.gguf of the newest checkpoint.")] = False,
    lengths: Lengths = Lengths(),
    threads: options.Threads = None,
    debug: options.Debug = False,
) -> None:
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise RequestError("train_demo needs torch: run `.venv/bin/python -m pip install --group train`") from None
    from train_demo import stages
    from train_demo.workplace import open_workplace

    if not (folder / "converted.pt").exists():
        if evaluate or export:
            raise CheckpointError(f"{folder} has no checkpoint: run `python -m train_demo --corpus DIR` first")
        if corpus is None:
            raise RequestError(
                "a first run needs --corpus DIR, a folder with books-*.jsonl.xz: one JSON object with a text per line"
            )
    work = open_workplace(folder, corpus or folder, seed, threads)
    if not evaluate and not export:
        overrides = {name: value for name, value in asdict(lengths).items() if value is not None}
        stages.run(work, replace(stages.Plan(), **overrides), earlier)
    write(work)
    if evaluate or not export:
        measure(work)


def write(work: Workplace) -> None:
    """Write trained.gguf, and the whole model, which joins it with the frozen weights."""
    from shoestring.checkpoint.formats.gguf import open_gguf
    from shoestring.samples.demo_qwen3_5.join import join
    from shoestring.samples.smollm_as_llama4 import source_path
    from train_demo import stages
    from train_demo.export import export

    stage, layers = stages.latest(work)
    trained, joined = work.folder / "trained.gguf", work.folder / "demo-qwen3.5.gguf"
    export(layers, trained)
    join(open_gguf(source_path()), open_gguf(trained), joined)
    megabytes = trained.stat().st_size / 1e6
    work.say(
        f"{trained} ({megabytes:.1f} MB) has the weights of stage {stage!r}; to chat with it: shoestring chat {joined}"
    )


def measure(work: Workplace) -> None:
    """Measure the exported file, with its rounded weights."""
    from train_demo import stages
    from train_demo.evaluate import evaluate, read_held_out
    from train_demo.export import open_trained, read_trained

    _, first = stages.latest(work)
    layers = read_trained(open_trained(work.folder / "trained.gguf"), first)
    for line in evaluate(layers, work.teacher, *read_held_out(work.folder)).lines():
        work.say(line)


program = typer.Typer(
    name="train_demo",
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
program.command(help=HELP)(train_demo)

if __name__ == "__main__":
    from shoestring.cli.app import run

    sys.exit(run(sys.argv[1:], program))
