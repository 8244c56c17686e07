"""`shoestring demo`: what `make demo` ends with, a real conversation with the embedded test model."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from shoestring.cli import options
from shoestring.cli.models import find, load_model
from shoestring.cli.progress import Progress
from shoestring.cli.run_command import Result

HELP = """Hold a short conversation with demo-llama4, the embedded test model, and tell what to run next."""

QUESTIONS = ("What is photosynthesis, in one sentence?", "Which gas do plants take in?")
MOST_TOKENS = 80

NOTICE = (
    "demo-llama4 is SmolLM2-135M, a small model of real weights, written as a Llama 4 mixture of experts.\n"
    "It runs through the machinery of both families' engine, and is neither Qwen 3.5 nor Llama 4."
)
NEXT = """What to run next:
  shoestring chat                                      talk with it, or fetch Qwen3.5-0.8B
  shoestring pull Qwen/Qwen3.5-0.8B                    a real small model, about 1.8 GB
  shoestring run demo-llama4 "Once upon a time" -n 50  one prompt
  shoestring --help                                    all commands"""


EXPORT_HELP = """Write demo-qwen3.5 as a Hugging Face folder: bfloat16 safetensors, config and tokenizer."""


def export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Is made; must be empty if it exists.")],
    debug: options.Debug = False,
) -> None:
    from shoestring.checkpoint.open import open_checkpoint
    from shoestring.demo_qwen3_5 import DEMO_NAME, hugging_face

    model = open_checkpoint(find(DEMO_NAME))
    with Progress(f"writing {folder}") as progress:
        hugging_face.export(model, folder, progress)
    typer.echo(f"{folder} holds {DEMO_NAME} as transformers reads it.")


def demo(context: typer.Context, threads: options.Threads = None, debug: options.Debug = False) -> None:
    if context.invoked_subcommand is not None:
        return
    from shoestring import ops
    from shoestring.demo import DEMO_NAME

    typer.echo(NOTICE)
    model = load_model(DEMO_NAME, threads=threads, kv_type=options.KVType.f16, context=None)
    messages: list[dict[str, str]] = []
    for question in QUESTIONS:
        typer.echo(f"\n> {question}")
        messages.append({"role": "user", "content": question})
        asked = time.perf_counter()
        result = Result(len(model.prompt(messages=messages).tokens), asked)
        for piece in model.generate(messages=messages, temperature=0, max_tokens=MOST_TOKENS):
            result.add(piece)
            typer.echo(piece.text, nl=False)
            sys.stdout.flush()
        typer.echo(f"\n[{result.line()}]")
        messages.append({"role": "assistant", "content": result.text})
    typer.echo(f"\n{ops.isa()}, {ops.num_threads()} threads.\n\n{NEXT}")
