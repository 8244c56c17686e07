"""`shoestring chat`: a conversation in the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoestring.cli import options
from shoestring.cli.find import load_model
from shoestring.cli.models.conversation import Conversation
from shoestring.cli.models.run_command import Result, encoding_shown
from shoestring.cli.say import say
from shoestring.cli.shared import spread
from shoestring.errors import CapacityError, ShoestringError

if TYPE_CHECKING:
    from shoestring.media.source import Source
    from shoestring.runtime.model import Model

HELP = """Chat with MODEL. Ctrl-C stops an answer; /help lists the commands.

Without MODEL, chat uses Qwen3.5-0.8B or offers to download it; otherwise it uses a small embedded test model and says
so. If stdin is not a terminal, each line is a message."""

SMALLEST = "Qwen/Qwen3.5-0.8B"
SMALLEST_SIZE = "about 1.8 GB"


@spread
def chat(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A .gguf file, a Hugging Face folder or a Hub name; with --url, a model of that server.",
        ),
    ] = None,
    system: options.System = None,
    *,
    generation: options.Generation,
    loading: options.Loading,
    server: options.Server,
    debug: options.Debug = False,
) -> None:
    arguments = generation.arguments()
    if server.url is not None:
        from shoestring.cli.models.remote import RemoteResponder, open_client

        with open_client(server, model) as (client, name):
            Conversation(RemoteResponder(client, name, arguments), system).run()
        return
    name = model if model is not None else choose_model()
    loaded = load_model(name, loading=loading)
    Conversation(ModelResponder(loaded, arguments), system).run()


def choose_model() -> str:
    """The smallest Qwen 3.5 if it is downloaded or the user agrees to download it; else the embedded test model."""
    from shoestring.samples.smollm_as_llama4 import DEMO_NAME
    from shoestring.stores import find_checkpoint

    if find_checkpoint(SMALLEST) is not None:
        return SMALLEST
    download = False
    if sys.stdin.isatty() and sys.stderr.isatty():
        say(
            f"No MODEL given. Download {SMALLEST} ({SMALLEST_SIZE}) from the Hugging Face Hub? [y/N] ",
            nl=False,
            err=True,
        )
        with suppress(EOFError):
            download = input().strip().lower() in ("y", "yes")
        if download:
            from shoestring.cli.models.files import pull

            try:
                pull(SMALLEST)
                return SMALLEST
            except ShoestringError as error:
                say(f"error: {' '.join(str(error).split())}", err=True)
    say(
        f"Using {DEMO_NAME}, an embedded test model: SmolLM2-135M written as a small Llama 4 mixture of experts. "
        "It is neither Qwen 3.5 nor Llama 4; do not judge them by it. (The other one, demo-qwen3.5, answers worse.)",
        err=True,
    )
    return DEMO_NAME


class ModelResponder:
    """Answers with a model in this process."""

    def __init__(self, model: Model, arguments: dict[str, Any]) -> None:
        self._model = model
        self._arguments = arguments

    def describe(self) -> str:
        return f"{self._model.context:,} tokens of context"

    def tokens_of(self, source: Source) -> int:
        return self._model.vision.token_count(source)

    def answer(self, messages: list[dict[str, Any]]) -> ModelAnswer:
        return ModelAnswer(self._model, messages, self._arguments)


class ModelAnswer:
    """An answer of a model in this process, with counts and times."""

    def __init__(self, model: Model, messages: list[dict[str, Any]], arguments: dict[str, Any]) -> None:
        start = time.perf_counter()
        try:
            self.stream = model.generate(messages=messages, **arguments)
        except CapacityError as error:
            raise CapacityError(f"{error}; /clear starts a new conversation") from error
        self._context = model.context
        self.result = Result(self.stream.usage.prompt_tokens, start, model.streaming)

    def __iter__(self) -> Iterator[tuple[str, bool]]:
        for piece in encoding_shown(self.stream):
            self.result.add(piece)
            yield piece.text, piece.thinking

    def close(self) -> None:
        self.stream.close()

    def line(self) -> str:
        experts = self.result.experts_line
        return self.result.line() if experts is None else f"{self.result.line()}; {experts}"

    def hint(self) -> str | None:
        last = self.result.pieces[-1] if self.result.pieces else None
        if last is not None and last.ended_inside_thinking and last.finish_reason == "stop":
            return "the answer ended inside its thinking: /again asks for another one"
        if last is None or last.finish_reason != "context":
            return None
        return (
            f"the context of {self._context} tokens is full: /clear starts a new conversation, "
            "a larger --context allows a longer one"
        )
