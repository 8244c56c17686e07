"""`shoestring chat`: a conversation in the terminal."""

from __future__ import annotations

import json as json_module
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoestring.cli import options
from shoestring.cli.find import load_model
from shoestring.cli.models.run_command import Result
from shoestring.cli.shared import spread
from shoestring.errors import CapacityError, RequestError, ShoestringError

if TYPE_CHECKING:
    from shoestring.runtime.model import Model

HELP = """Talk with MODEL. Ctrl-C stops an answer, /help lists what else can be typed.

Without MODEL it offers to fetch Qwen3.5-0.8B; else it uses a small embedded test model, and says so. Without a
terminal each line of stdin is a message."""

SMALLEST = "Qwen/Qwen3.5-0.8B"
SMALLEST_SIZE = "about 1.8 GB"

COMMANDS = """/help          this list
/clear         begin a new conversation
/save FILE     write the conversation as JSON
/load FILE     go on with a conversation that was saved
/exit          leave (or Ctrl-D)
Ctrl-C stops an answer; what was said so far stays in the conversation."""

DIM, PLAIN = "\x1b[2m", "\x1b[0m"


@spread
def chat(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="As for run.")] = None,
    system: options.System = None,
    *,
    generation: options.Generation,
    context: options.Context = None,
    threads: options.Threads = None,
    kv_type: options.KV = options.KVType.f16,
    url: options.Url = None,
    api_key_env: options.ApiKeyEnv = None,
    debug: options.Debug = False,
) -> None:
    wanted = generation.arguments()
    if url is not None:
        from shoestring.cli.models.remote import RemoteConversation, open_client

        with open_client(url, api_key_env, model) as (client, name):
            RemoteConversation(client, name, system, wanted).hold()
        return
    name = model if model is not None else choose_model()
    loaded = load_model(name, threads=threads, kv_type=kv_type, context=context)
    Conversation(loaded, system, wanted).hold()


def choose_model() -> str:
    """The smallest Qwen 3.5 where it is, or where the user wants it; else the embedded test model."""
    from shoestring.samples.smollm_as_llama4 import DEMO_NAME
    from shoestring.stores import find_checkpoint

    if find_checkpoint(SMALLEST) is not None:
        return SMALLEST
    wanted = False
    if sys.stdin.isatty() and sys.stderr.isatty():
        typer.echo(
            f"No model was named. Fetch {SMALLEST} ({SMALLEST_SIZE}) from the Hugging Face Hub? [y/N] ",
            nl=False,
            err=True,
        )
        with suppress(EOFError):
            wanted = input().strip().lower() in ("y", "yes")
        if wanted:
            from shoestring.cli.models.files import pull

            try:
                pull(SMALLEST)
                return SMALLEST
            except ShoestringError as error:
                typer.echo(f"error: {' '.join(str(error).split())}", err=True)
    typer.echo(
        f"Using {DEMO_NAME}, an embedded test model: SmolLM2-135M written as a small Llama 4 mixture of experts. "
        "It is neither Qwen 3.5 nor Llama 4; do not judge them by it. (demo-qwen3.5, the other one, answers worse.)",
        err=True,
    )
    return DEMO_NAME


class Conversation:
    """Messages so far, and the loop that reads, answers and prints."""

    def __init__(self, model: Model, system: str | None, wanted: dict[str, Any]) -> None:
        self._model = model
        self._wanted = wanted
        self._beginning = [{"role": "system", "content": system}] if system is not None else []
        self.messages: list[dict[str, Any]] = list(self._beginning)
        self._terminal = sys.stdin.isatty() and sys.stdout.isatty()
        self._dim = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._stopped = False
        self._blank = False

    def hold(self) -> None:
        """Until the end of stdin, /exit, or Ctrl-C twice where nothing is being answered."""
        if self._terminal:
            with suppress(ImportError):  # line editing and history
                import readline  # noqa: F401
            self._greet()
        for line in self._lines():
            try:
                if line.startswith("/"):
                    if not self._command(line):
                        return
                elif line.strip():
                    self._answer(line)
            except (ShoestringError, OSError) as error:
                typer.echo(f"error: {explained(error)}", err=True)

    def _greet(self) -> None:
        typer.echo(f"{self._model.context:,} tokens of context; /help lists commands.", err=True)

    def _lines(self) -> Iterator[str]:
        interrupted = False
        while True:
            try:
                line = input("> " if self._terminal else "")
            except EOFError:
                if self._terminal:
                    typer.echo()
                return
            except KeyboardInterrupt:
                if interrupted or not self._terminal:
                    raise
                interrupted = True
                typer.echo("\n(Ctrl-C again, Ctrl-D or /exit leaves)", err=True)
                continue
            interrupted = False
            if not self._terminal:
                typer.echo(f"> {line}")
            yield line

    def _command(self, line: str) -> bool:
        """Do what a line with a slash asks for; False: leave."""
        command, _, argument = line.strip().partition(" ")
        file = Path(argument.strip()).expanduser()
        match command:
            case "/help":
                typer.echo(COMMANDS)
            case "/clear":
                self.messages = list(self._beginning)
                typer.echo("a new conversation", err=True)
            case "/save" | "/load" if not argument.strip():
                raise RequestError(f"{command} needs the name of a file")
            case "/save":
                save(file, self.messages)
                typer.echo(f"{len(self.messages)} messages saved in {file}", err=True)
            case "/load":
                self.messages = read(file)
                typer.echo(f"{len(self.messages)} messages from {file}", err=True)
            case "/exit" | "/quit" | "/bye":
                return False
            case _:
                raise RequestError(f"{command} is no command: /help lists them")
        return True

    def _answer(self, text: str) -> None:
        """Ask, print what comes, and keep both in the conversation. A question that fails is forgotten."""
        question = [*self.messages, {"role": "user", "content": text}]
        asked = time.perf_counter()
        try:
            prompt = self._model.prompt(messages=question, thinking=self._wanted.get("thinking"))
            pieces = self._model.generate(messages=question, **self._wanted)
        except CapacityError as error:
            raise CapacityError(f"{error}; /clear begins a new conversation") from error
        result = Result(len(prompt.tokens), asked)
        self._stopped = False
        was_thinking = False
        with interrupts(self._stop):
            for piece in pieces:
                result.add(piece)
                if piece.text:
                    was_thinking = self._print(piece.text, piece.thinking, was_thinking)
                if self._stopped:
                    break
            pieces.close()  # type: ignore[attr-defined]
        typer.echo(PLAIN if self._dim and was_thinking else "")
        self.messages = [*question, {"role": "assistant", "content": result.text.strip()}]
        stopped = "stopped; " if self._stopped else ""
        typer.echo(f"[{stopped}{result.line()}]", err=True)
        if result.pieces and result.pieces[-1].finish_reason == "context":
            typer.echo(
                f"the context of {self._model.context} tokens is full: /clear begins a new conversation, "
                "a larger --context holds a longer one",
                err=True,
            )

    def _stop(self) -> None:
        self._stopped = True

    def _print(self, text: str, thinking: bool, was_thinking: bool) -> bool:
        if thinking != was_thinking:
            mark = (DIM if thinking else PLAIN) if self._dim else ""
            typer.echo(mark if thinking else f"{mark}\n", nl=False)
            self._blank = not thinking
        if self._blank:  # empty lines between thinking and answer
            text = text.lstrip("\n")
            self._blank = not text
        typer.echo(text, nl=False)
        sys.stdout.flush()
        return thinking


@contextmanager
def interrupts(stop: Callable[[], None]) -> Iterator[None]:
    """Inside, Ctrl-C calls `stop`: the step that runs is finished, so that its work is not lost."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def save(file: Path, messages: list[dict[str, Any]]) -> None:
    """Write a conversation whole or not at all."""
    if file.is_dir():
        raise RequestError(f"{file} is a folder: give the name of a file")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError as error:  # it names the passing file
        raise OSError(error.errno, error.strerror, str(file)) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            json_module.dump(messages, out, ensure_ascii=False, indent=1)
        os.replace(name, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def read(file: Path) -> list[dict[str, Any]]:
    """A conversation that was saved. Raises RequestError for anything else."""
    from shoestring.checkpoint.text.chat_template import checked_messages

    try:
        messages = json_module.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{file} is not a saved conversation ({error})") from None
    if not isinstance(messages, list):
        raise RequestError(f"{file} is not a saved conversation: it holds no list of messages")
    return checked_messages(messages) if messages else []


def explained(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())
