"""`shoestring demo`: a short conversation with each embedded test model; the last step of `make demo`."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from shoestring.cli import options
from shoestring.cli.find import find, load_model
from shoestring.cli.models.run_command import Result
from shoestring.cli.program import as_typed
from shoestring.cli.progress import Progress
from shoestring.cli.say import say
from shoestring.errors import RequestError

HELP = """Run a short conversation with each embedded test model, then print their speeds and what to run next.

At the end, run one of them in less memory than it needs."""

QUESTIONS = ("What is photosynthesis, in one sentence?", "Which gas do plants take in?")
MOST_TOKENS = 80

NOTICE = (
    "demo-llama4 is SmolLM2-135M, a small model with real weights, stored as a Llama 4 mixture of experts.\n"
    "It runs on the engine of both families, but it is neither Qwen 3.5 nor Llama 4."
)
QWEN_NOTICE = (
    "demo-qwen3.5 is the same small model, distilled into the architecture of Qwen 3.5 in a short training.\n"
    "It exercises that architecture with real weights; it is worse than its teacher, and not Qwen's model."
)
PICTURE_NOTICE = (
    "A small model of Qwen 3.5's architecture with random weights sees two pictures. Its answers mean nothing: the\n"
    "lines show what a picture takes, and that a second question about it computes nothing again. No trained\n"
    "vision weights are embedded: docs/python.md has real models see."
)
DISK_NOTICE = (
    "A process may take less memory than a model needs: then experts stream from disk, and the answer is the same."
)
NEXT = """What to run next:
  shoestring chat                                      chat with it, or download Qwen3.5-0.8B
  shoestring pull Qwen/Qwen3.5-0.8B                    a real small model, about 1.8 GB
  shoestring run demo-llama4 "Once upon a time" -n 50  one prompt
  shoestring chat demo-qwen3.5                         the hybrid; docs/demo-qwen3.5.md explains it
  shoestring --help                                    all commands"""


EXPORT_HELP = """Export demo-qwen3.5 as a Hugging Face folder: safetensors, config and tokenizer."""


def export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to create; must be empty if it exists.")],
    debug: options.Debug = False,
) -> None:
    from shoestring.checkpoint.open import open_checkpoint
    from shoestring.samples.demo_qwen3_5 import DEMO_NAME, hugging_face

    model = open_checkpoint(find(DEMO_NAME))
    with Progress(f"writing {folder}") as progress:
        hugging_face.export(model, folder, progress)
    say(f"wrote {DEMO_NAME} to {folder}, readable by transformers")


def demo(context: typer.Context, threads: options.Threads = None, debug: options.Debug = False) -> None:
    if context.invoked_subcommand is not None:
        return
    from shoestring import ops
    from shoestring.samples import demo_qwen3_5
    from shoestring.samples.smollm_as_llama4 import DEMO_NAME

    say(NOTICE)
    lines = {DEMO_NAME: conversation(DEMO_NAME, threads)}
    if demo_qwen3_5.trained_path().exists():
        say(f"\n{QWEN_NOTICE}")
        lines[demo_qwen3_5.DEMO_NAME] = conversation(demo_qwen3_5.DEMO_NAME, threads)
        say()
        for name, line in lines.items():
            say(f"{name:13} {line}")
    show_picture(threads)
    say(f"\n{ops.isa()}, {ops.num_threads()} threads.\n\n{as_typed(NEXT)}")
    from_disk(DEMO_NAME, threads)


def show_picture(threads: int | None) -> None:
    """Show two pictures to a small random model that sees: the path from a file to an answer."""
    from shoestring.media.picture import need_pillow
    from shoestring.runtime.loading import load
    from shoestring.samples.seeing import picture, write_seeing

    say(f"\n{PICTURE_NOTICE}\n")
    try:
        need_pillow()
    except RequestError as error:
        say(f"[{error}]")
        return
    with tempfile.TemporaryDirectory() as folder:
        model = load(write_seeing(Path(folder)), threads=threads, context=1024, parallel=1)
        for name, data in (("red", picture(red=True)), ("blue", picture(red=False)), ("red, again", picture(red=True))):
            start = time.perf_counter()
            content = [{"type": "image", "image": data}, {"type": "text", "text": "What is this?"}]
            stream = model.generate(messages=[{"role": "user", "content": content}], temperature=0, max_tokens=8)
            result = Result(stream.usage.prompt_tokens, start)
            for piece in stream:
                result.add(piece)
            tokens = [token.id for piece in result.pieces for token in piece.tokens]
            cached = stream.usage.cached_tokens
            say(f"{name:10} tokens {tokens}  [{result.line()}, {cached} from the cache]")


def from_disk(name: str, threads: int | None) -> None:
    """Run a model once in a process that may take less than it needs, so that some experts stream from disk."""
    from shoestring.models.weights import loaded_bytes
    from shoestring.runtime.loading import least_memory
    from shoestring.runtime.opening import open_model

    opened = open_model(find(name))
    least = least_memory(opened, threads=threads, own=0)
    assert least is not None
    mebibytes = (least + loaded_bytes(opened.config, opened.binding)["routed_experts"] // 2) >> 20
    arguments = ["run", name, "Once upon a time", "-n", "24", "--temperature", "0", "--memory", f"{mebibytes}MiB"]
    arguments += [] if threads is None else ["--threads", str(threads)]
    say(f"\n{DISK_NOTICE}\n\n$ {as_typed('shoestring ' + shlex.join(arguments))}")
    sys.stdout.flush()
    code = subprocess.run([sys.executable, "-m", "shoestring", *arguments], stderr=subprocess.STDOUT).returncode
    if code:
        raise typer.Exit(code)


def conversation(name: str, threads: int | None) -> str:
    """Ask the questions in one conversation. Returns the line with the speeds of the last answer."""
    model = load_model(name, loading=options.Loading(threads=threads))
    messages: list[dict[str, str]] = []
    line = ""
    for question in QUESTIONS:
        say(f"\n> {question}")
        messages.append({"role": "user", "content": question})
        start = time.perf_counter()
        stream = model.generate(messages=messages, temperature=0, max_tokens=MOST_TOKENS)
        result = Result(stream.usage.prompt_tokens, start)
        for piece in stream:
            result.add(piece)
            say(piece.text, nl=False)
            sys.stdout.flush()
        line = result.line()
        say(f"\n[{line}]")
        messages.append({"role": "assistant", "content": result.text})
    return line
