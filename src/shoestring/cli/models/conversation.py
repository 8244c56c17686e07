"""Run a conversation in the terminal: read a line, ask a responder, print the answer.

Handles messages, commands and Ctrl-C. A `Responder` answers: a model in this process or a server.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import typer

from shoestring import bounded_json
from shoestring.cli.models.rendered import Rendered, can_render
from shoestring.cli.say import say
from shoestring.errors import RequestError, ShoestringError
from shoestring.files import check_writable, named_path, read_bytes, write_whole

if TYPE_CHECKING:
    from shoestring.media.source import Source

#: Bytes of a saved conversation
LARGEST_CONVERSATION = 64 << 20
#: Characters of a message on stdin
LONGEST_LINE = 16 << 20

COMMANDS = '''/help          this list
/again         answer the last message again
/undo          remove the last message and its answer
/system TEXT   set the system message; without TEXT, show it
/image FILE    show a picture with the next message
/video FILE    show a video with the next message
/clear         start a new conversation
/save FILE     write the conversation as JSON
/load FILE     continue a saved conversation
/exit          quit (or Ctrl-D)
A message of several lines begins and ends with """, or its lines end with \\.
Ctrl-C stops an answer; its text so far stays in the conversation.'''

#: Around a message of several lines, and the prompt for its next line.
QUOTES, MORE = '"""', "… "

DIM, PLAIN = "\x1b[2m", "\x1b[0m"


class Answer(Protocol):
    """An answer in progress: pieces of (text, whether it is thinking)."""

    def __iter__(self) -> Iterator[tuple[str, bool]]: ...

    def close(self) -> None:
        """Stop the answer; keep the text so far."""

    def line(self) -> str:
        """One line with counts and speed."""

    def hint(self) -> str | None:
        """What the user can do if the answer ended early; None otherwise."""


class Responder(Protocol):
    """Answers conversations."""

    def describe(self) -> str:
        """One line about the model that answers."""

    def tokens_of(self, source: Source) -> int | None:
        """What a picture or video costs; None: a server does not say. Raises RequestError if it cannot be read."""

    def answer(self, messages: list[dict[str, Any]]) -> Answer:
        """Start an answer to `messages`. Raises ShoestringError before the first piece."""


class Conversation:
    """The messages so far, and the loop that reads, answers and prints."""

    def __init__(self, responder: Responder, system: str | None) -> None:
        self._responder = responder
        self._beginning = [{"role": "system", "content": system}] if system is not None else []
        self.messages: list[dict[str, Any]] = list(self._beginning)
        self._terminal = sys.stdin.isatty() and sys.stdout.isatty()
        self._dim = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._renders = can_render()
        self._stopped = False
        #: pictures and videos that the next message shows
        self._shown: list[dict[str, Any]] = []

    def run(self) -> None:
        """Run until the end of stdin, /exit, or Ctrl-C twice outside an answer."""
        if self._terminal:
            with suppress(ImportError):  # line editing and history
                import readline  # noqa: F401
            say(f"{self._responder.describe()}; /help lists commands.", err=True)
        for line in self._lines():
            try:
                if line.startswith("/") and "\n" not in line:
                    if not self._command(line):
                        return
                elif line.strip():
                    content = [*self._shown, {"type": "text", "text": line}] if self._shown else line
                    self._answer([*self.messages, {"role": "user", "content": content}])
                    self._shown = []
            except (ShoestringError, OSError) as error:
                say(f"error: {message_of(error)}", err=True)

    def _lines(self) -> Iterator[str]:
        interrupted = False
        while True:
            try:
                line = input("> ") if self._terminal else _piped_line()
            except EOFError:
                if self._terminal:
                    say()
                return
            except KeyboardInterrupt:
                if interrupted or not self._terminal:
                    raise
                interrupted = True
                say("\n(press Ctrl-C again, Ctrl-D or type /exit to quit)", err=True)
                continue
            interrupted = False
            if not self._terminal:
                say(f"> {line}")
            elif (whole := whole_message(line)) is None:
                continue
            else:
                line = whole
            yield line

    def _command(self, line: str) -> bool:
        """Run a line that starts with a slash. Returns False to quit."""
        command, _, argument = line.strip().partition(" ")
        file = named_path(argument.strip())
        match command:
            case "/help":
                say(COMMANDS)
            case "/again":
                self._answer(self.messages[: self._last("user") + 1])
            case "/undo":
                self.messages = self.messages[: self._last("user")]
                say(f"removed the last message; {len(self.messages)} are left", err=True)
            case "/system":
                self._system(argument.strip())
            case "/clear":
                self._shown = []
                self.messages = list(self._beginning)
                say("started a new conversation", err=True)
            case "/save" | "/load" | "/image" | "/video" if not argument.strip():
                raise RequestError(f"{command} needs a file name")
            case "/image" | "/video":
                self._show(command[1:], file)
            case "/save":
                save(file, self.messages)
                say(f"saved {len(self.messages)} messages to {file}", err=True)
            case "/load":
                self.messages = read(file)
                say(f"loaded {len(self.messages)} messages from {file}", err=True)
            case "/exit" | "/quit" | "/bye":
                return False
            case _:
                raise RequestError(f"unknown command {command}: /help lists the commands")
        return True

    def _show(self, kind: str, file: Path) -> None:
        """Show a picture or video with the next message."""
        from shoestring.runtime.pictures.messages import source_from

        source = source_from(file, "image" if kind == "image" else "video")
        tokens = self._responder.tokens_of(source)
        self._shown.append(source.part)
        cost = "" if tokens is None else f" ({tokens:,} tokens)"
        say(f"the next message shows {file}{cost}", err=True)

    def _last(self, role: str) -> int:
        """The index of the last message of a role. Raises RequestError if there is none."""
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index]["role"] == role:
                return index
        raise RequestError("there is no message yet")

    def _system(self, text: str) -> None:
        """Set the system message of this conversation and the next ones; without text, show it."""
        if not text:
            shown = [message["content"] for message in self.messages[:1] if message["role"] == "system"]
            say(shown[0] if shown else "there is no system message: /system TEXT sets one")
            return
        rest = self.messages[1:] if self.messages[:1] and self.messages[0]["role"] == "system" else self.messages
        self._beginning = [{"role": "system", "content": text}]
        self.messages = [*self._beginning, *rest]
        say("set the system message", err=True)

    def _answer(self, question: list[dict[str, Any]]) -> None:
        """Print the answer to a conversation, and go on from both. A question that fails changes nothing."""
        answer = self._responder.answer(question)
        content = ""
        self._stopped = False
        with interrupts(self._stop), Rendered() if self._renders else _Plain(self._dim) as screen:
            for piece, thinking in answer:
                if piece:
                    screen.add(piece, thinking)
                    content += "" if thinking else piece
                if self._stopped:
                    break
            answer.close()
        self.messages = [*question, {"role": "assistant", "content": content.strip()}]
        say(f"[{'stopped; ' if self._stopped else ''}{answer.line()}]", err=True)
        hint = answer.hint()
        if hint is not None:
            say(hint, err=True)

    def _stop(self) -> None:
        self._stopped = True


class _Plain:
    """Prints an answer's text as it comes, for a file, a pipe, and a terminal without cursor movements."""

    def __init__(self, dim: bool) -> None:
        """dim: write thinking in dim letters."""
        self._dim = dim
        self._thinking = False
        self._blank = False

    def __enter__(self) -> _Plain:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is None:
            typer.echo(PLAIN if self._dim and self._thinking else "")

    def add(self, text: str, thinking: bool) -> None:
        if thinking != self._thinking:
            mark = (DIM if thinking else PLAIN) if self._dim else ""
            typer.echo(mark if thinking else f"{mark}\n", nl=False)
            self._blank = not thinking
        if self._blank:  # skip empty lines between thinking and answer
            text = text.lstrip("\n")
            self._blank = not text
        say(text, nl=False)
        sys.stdout.flush()
        self._thinking = thinking


def whole_message(line: str, ask: Callable[[str], str] = input) -> str | None:
    """A message that begins with this line, and the lines that belong to it; None if Ctrl-C or Ctrl-D gives it up."""
    lines = [line]
    try:
        if line.startswith(QUOTES):
            lines = [line.removeprefix(QUOTES)]
            while not lines[-1].endswith(QUOTES):
                lines.append(ask(MORE))
            lines[-1] = lines[-1].removesuffix(QUOTES)
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1].removesuffix("\\")
            lines.append(ask(MORE))
    except (KeyboardInterrupt, EOFError):
        say()
        return None
    return "\n".join(lines).strip("\n") if len(lines) > 1 else lines[0]


def _piped_line() -> str:
    """The next line of stdin. Raises EOFError at its end, RequestError for a line without an end."""
    line = sys.stdin.readline(LONGEST_LINE + 1)
    if not line:
        raise EOFError
    if len(line) > LONGEST_LINE:
        raise RequestError(f"stdin has a line of more than {LONGEST_LINE:,} characters, the most of a message")
    return line.removesuffix("\n")


@contextmanager
def interrupts(stop: Callable[[], None]) -> Iterator[None]:
    """Make Ctrl-C call `stop` inside the block, so that the running step finishes and its work is not lost."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def save(file: Path, messages: list[dict[str, Any]]) -> None:
    """Write a conversation to a file, atomically. Replaces only a saved conversation. Raises RequestError."""
    if check_writable(file, begins=b"[") is not None and file.stat().st_size:
        read(file)
    with write_whole(file, begins=b"[") as out:
        out.write(json.dumps(messages, ensure_ascii=False, indent=1, default=_named).encode("utf-8", "replace"))


def _named(source: Any) -> str:
    """A picture or video in a saved conversation: a data URL."""
    from shoestring.media.source import data_url

    return data_url(source)


def read(file: Path) -> list[dict[str, Any]]:
    """Read a saved conversation. Raises RequestError for any other file."""
    from shoestring.checkpoint.text.messages import checked_messages

    try:
        messages = bounded_json.loads(read_bytes(file, LARGEST_CONVERSATION))
    except FileNotFoundError:
        raise RequestError(f"{file} cannot be read (No such file or directory)") from None
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{file} is not a saved conversation ({error})") from None
    if not isinstance(messages, list):
        raise RequestError(f"{file} is not a saved conversation: it is not a list of messages")
    from shoestring.runtime.pictures.messages import for_template, with_data_urls

    messages = with_data_urls(messages)
    if messages:
        checked_messages(for_template(messages))
    return messages


def message_of(error: Exception) -> str:
    """The message of an error on one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())
