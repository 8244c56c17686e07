"""The chat in a pseudo-terminal, with the embedded model and typed keys."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shoestring.errors import CheckpointError
from shoestring.samples.smollm_as_llama4 import source_path

PROMPT = r"\n> $"
SECONDS = 30
INTERRUPT = "\x03"
#: Without a limit, an answer of the embedded model continues until the context is full.
END_OF_TURN = 2


class Terminal:
    """A command in a narrow pseudo-terminal."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self.pid, self._tty = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "shoestring", *arguments], environment)

    def until(self, pattern: str) -> str:
        """Read output until it ends with a match of `pattern`."""
        shown, end = b"", time.monotonic() + SECONDS
        while not re.search(pattern, shown.decode(errors="replace").replace("\r", "")):
            if not select.select([self._tty], [], [], max(0.0, end - time.monotonic()))[0]:
                raise AssertionError(f"no {pattern!r} in {shown!r}")
            try:
                shown += os.read(self._tty, 4096)
            except OSError:  # the program has ended
                break
        return shown.decode(errors="replace").replace("\r", "")

    def type(self, text: str, pattern: str = PROMPT) -> str:
        if text == INTERRUPT:  # Ctrl-C before the line editor waits is only seen with the next key
            time.sleep(0.3)
        os.write(self._tty, text.encode())
        return self.until(pattern)

    def ended(self) -> int:
        """Read all output; return the exit code."""
        self.until(r"\Z\A.")
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = 0
        return code

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._tty)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    try:
        source_path()
    except CheckpointError as error:
        pytest.skip(str(error))
    opened = []

    def start(*arguments: str, **environment: str) -> Terminal:
        opened.append(Terminal([*arguments], {**os.environ, "COLUMNS": "40", "TERM": "xterm", **environment}))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_a_typed_conversation(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    chat = terminal("chat", "demo-llama4", "--context", "2048", "--logit-bias", f"{END_OF_TURN}=-1000")
    assert "2,048 tokens of context" in chat.until(r"> $")
    assert "/save FILE" in chat.type("/help\n")
    answer = chat.type("Tell me a story.\n", r"\n\S+ \S+ \S+ ")
    answer += chat.type(INTERRUPT)  # the answer stops, the program continues
    assert re.search(r"\[stopped; \d+ prompt tokens, .* tokens/s\]", answer)
    saved = tmp_path / "talk.json"
    assert "saved 2 messages" in chat.type(f"/save {saved}\n")
    assert [message["role"] for message in json.loads(saved.read_text())] == ["user", "assistant"]
    assert "a new conversation" in chat.type("/clear\n")
    assert f"2 messages from {saved}" in chat.type(f"/load {saved}\n")
    saved.write_text('[{"role": "wizard", "content": "x"}]')
    assert "error: message 0 has the role 'wizard'" in chat.type(f"/load {saved}\n")
    assert f"error: cannot write {tmp_path}/no/talk.json (No such file" in chat.type(f"/save {tmp_path}/no/talk.json\n")
    assert "Ctrl-C again" in chat.type(INTERRUPT)
    assert chat.type("/exit\n", r"/exit\n") is not None
    assert chat.ended() == 0
    assert os.listdir(tmp_path) == ["talk.json"]


def test_a_full_context_is_a_line_and_no_exit(terminal: Callable[..., Terminal]) -> None:
    chat = terminal("chat", "demo-llama4", "--context", "64", "--seed", "1")
    chat.until(r"> $")
    assert "the context of 64 tokens is full: /clear starts" in chat.type("Tell me a very long story.\n")
    assert "error: " in chat.type("And then?\n")
    assert "a new conversation" in chat.type("/clear\n")
    chat.type("\x04", r"\n")
    assert chat.ended() == 0


def test_ctrl_c_twice_quits_with_130(terminal: Callable[..., Terminal]) -> None:
    chat = terminal("chat", "demo-llama4", "--context", "64")
    chat.until(r"> $")
    chat.type(INTERRUPT)
    assert "error: interrupted" in chat.type(INTERRUPT, "interrupted")
    assert chat.ended() == 130


def test_no_model_offers_one_with_its_size(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    chat = terminal("chat", "--context", "64", HF_HOME=str(tmp_path), HF_ENDPOINT="http://127.0.0.1:9")
    assert re.search(r"Qwen3.5-0.8B \(about \d\.\d GB\).*\[y/N\]", chat.until(r"\[y/N\] $"))
    said = chat.type("n\n", r"> $")
    assert "Using demo-llama4" in said
    assert "neither Qwen 3.5 nor Llama 4" in said


def test_messages_of_several_lines_again_undo_and_system(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    """With the scripted model, which repeats what it is told."""
    chat = terminal("chat", "demo-scripted", "--no-thinking")
    chat.until(r"> $")
    assert "You said: one" in chat.type('"""one\n', "… $") + chat.type("\n", "… $") + chat.type('two"""\n')
    assert "You said: three" in chat.type("three\\\n", "… $") + chat.type("four\n")
    assert "You said: three" in chat.type("/again\n")
    assert "removed the last message; 2 are left" in chat.type("/undo\n")
    assert "there is no system message" in chat.type("/system\n")
    assert "set the system message" in chat.type("/system Be brief.\n")
    assert "Be brief." in chat.type("/system\n")
    assert "return 42" in re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", chat.type("markdown\n"))
    chat.type('"""given up\n', "… $")
    chat.type(INTERRUPT)
    saved = tmp_path / "talk.json"
    chat.type(f"/save {saved}\n")
    messages = [(message["role"], message["content"].split("\n")[0]) for message in json.loads(saved.read_text())]
    assert messages == [
        ("system", "Be brief."), ("user", "one"), ("assistant", "You said: one"),
        ("user", "markdown"), ("assistant", "# Markdown"),
    ]  # fmt: skip
    assert json.loads(saved.read_text())[1]["content"] == "one\n\ntwo"
