"""The lines of documents that people type run as written, in a copy of the checkout without anything of ours beside it.

The tests extract them. A line either runs here, or stands in CANNOT with the reason why it does not. What errors tell
to run runs too.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")] + sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS.remove(ROOT / "docs" / "log.md")  # a history of what was tried

#: How a line that people type begins
TYPED = re.compile(
    r"(?:[A-Z_]+=\S+ )*(?:make|docker|export|claude|aider|open-webui|python3?|pytest|shoestring|curl|git|pip"
    r"|\.venv/bin/\S+|other/bin/\S+|bench/\S+|build/\S+)(?: .*)?"
)

_HUB = "downloads gigabytes from the Hub; tests/test_hub.py plays it against a stand-in"
_CONTAINER = "needs a container engine; tests/test_docker.py checks the files"
_OTHERS = "starts another program, which is not installed; tests/server/clients plays what it sends"
_SUITE = "runs this suite, or a part of it, for minutes; its paths and targets are checked below"
_MEASURES = "measures for minutes on an idle machine; its options are checked below"
_TORCH = "needs torch and hours"
#: Lines that do not run here → why
CANNOT: dict[str, str] = {
    r"\.venv/bin/shoestring (pull|chat) Qwen/\S+": _HUB,
    r"\.venv/bin/shoestring serve unsloth/.*": _HUB,
    r"docker .*": _CONTAINER,
    r"python3 -m venv /opt/.*": "installs a service as root; tests/server/operators checks its files",
    r".* --ssl-certfile .*|SSL_CERT_FILE=.*": "needs a certificate; tests/server/http/test_tls.py makes one",
    r".*/shoestring tokens .*--image .*": "needs a picture of one's own; tests/media makes some",
    r"claude|aider .*|.* open-webui .*": _OTHERS,
    r"make (test|page|clients|lint|parity|sanitize|siege|deep|neon|neon-golden)": _SUITE,
    r"\.venv/bin/python -m pytest .*|pytest .*|PYTHONPATH=src \.venv/bin/python -m pytest( …)?": _SUITE,
    r"make train-demo( .*)?|PYTHONPATH=tools .*": _TORCH,
    r"\.venv/bin/python bench/.*|make bench(-streaming)?( .*)?|.* -m streaming\.curve .*": _MEASURES,
}


def instructions(document: Path) -> list[str]:
    """The lines that people type: of code blocks, and the commands of make and build in the text."""
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    lines: list[str] = []
    for language, fenced, indented in re.findall(r"^```(\w*)\n(.*?)^```$|((?:^ {4}\S.*\n)+)", text, re.M | re.S):
        typed = [line.strip() for line in (indented or fenced).splitlines() if not language]
        if any(line.startswith("$ ") for line in typed):  # a transcript: the rest is what the command printed
            typed = [line.removeprefix("$ ") for line in typed if line.startswith("$ ")]
        lines += [re.split(r"\s+#\s", line)[0] for line in typed]
    lines += re.findall(r"`(make [^`…]+|pytest [^`]+|(?:\S+ )*\S*python [^`]+)`", text)
    return [line for line in dict.fromkeys(" ".join(line.split()) for line in lines) if TYPED.fullmatch(line)]


LINES = [(document.name, line) for document in DOCUMENTS for line in instructions(document)]


def reason(line: str) -> str | None:
    """Why a line does not run here; None: it does."""
    return next((why for pattern, why in CANNOT.items() if re.fullmatch(pattern, line)), None)


def test_there_are_instructions_and_every_reason_has_a_line() -> None:
    assert len(LINES) > 50
    assert {"README.md", "CONTRIBUTING.md", "chat.md", "clients.md", "plan.md", "python.md", "server.md"} <= {
        document for document, _ in LINES
    }
    for pattern in CANNOT:
        assert any(re.fullmatch(pattern, line) for _, line in LINES), f"no document says {pattern}"
    runs = {line for _, line in LINES if reason(line) is None}
    assert {
        "make demo",
        '.venv/bin/shoestring run model.gguf "Once upon a time"',
        ".venv/bin/shoestring serve demo-scripted",
    } <= runs
    assert len(runs) > 20


@pytest.mark.parametrize(("document", "line"), LINES, ids=lambda value: value[:60])
def test_a_line_calls_what_the_checkout_or_make_demo_has(document: str, line: str) -> None:
    """No bare `shoestring`, `python` or `pip`: on a fresh machine these are missing, or other ones."""
    for command in re.split(r" (?:&&|\|) ", line):
        words = [word for word in shlex.split(command) if not re.fullmatch(r"[A-Z_]+=\S*", word)]
        if words[0] == "make":
            subprocess.run(["make", "-n", *words[1:], "CORPUS=."], cwd=ROOT, check=True, capture_output=True)
        for word in words:
            if word.startswith(("bench/", "tests/", "examples/")):
                assert (ROOT / word.partition("::")[0]).exists(), f"{document}: {line}"
        if words[0] in ("shoestring", "python", "pip"):
            raise AssertionError(f"{document}: {line}: write .venv/bin/{words[0]}")


# --- in a copy ---------------------------------------------------------------------------------------------------


class Machine:
    """A copy of the checkout with a cache of its own, in which lines run as in a shell."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "checkout"
        names = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0")
        for name in names:
            if name and (ROOT / name).is_file():
                (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.checkout / name)
        ours = ("PYTHON", "VIRTUAL_ENV", "SHOESTRING_", "MAKE", "MFLAGS")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        # Without the embedded models that this user's cache has already; a free port where a line names none.
        self.environment |= {"XDG_CACHE_HOME": str(folder / "cache"), "SHOESTRING_PORT": "0"}

    def shell(self, script: str) -> str:
        done = subprocess.run(
            ["bash", "-ec", script], cwd=self.checkout, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def serve(self, line: str, during: str = "") -> str:
        """Run a server until it is ready, run `during` with its address for {address}, and stop it as Ctrl-C does."""
        command = ["bash", "-c", f"exec {line}"]
        with subprocess.Popen(
            command, cwd=self.checkout, env=self.environment, stderr=subprocess.PIPE, text=True
        ) as server:
            assert server.stderr is not None
            watch = threading.Timer(300, server.kill)
            watch.start()
            said, address = "", None
            try:
                for text in server.stderr:
                    said += text
                    if found := re.search(r"open +(http://127\.0\.0\.1:\d+|http://\S+:\d+)", text):
                        address = found[1].replace("0.0.0.0", "127.0.0.1")
                        break
                assert address is not None, said
                printed = self.shell(during.format(address=address)) if during else ""
                server.send_signal(signal.SIGINT)
                assert server.wait(120) in (0, 130), said
            finally:
                watch.cancel()
                server.kill()
        return printed

    def run(self, line: str) -> None:
        """Run a line of a document, with a model of ours for its MODEL."""
        line = re.sub(r"\bMODEL\b", "demo-scripted", line)
        if "shoestring run " in line:
            line += " --max-tokens 8"  # else until the context is full, which takes minutes on a loaded machine
        if line.startswith("export "):
            self.shell(line)
        elif " chat --url http://127.0.0.1:8080" in line:
            self.serve(".venv/bin/shoestring serve demo-scripted", line.replace("http://127.0.0.1:8080", "{address}"))
        elif " serve" in line:
            self.serve(line)
        else:
            self.shell(line)


def python_blocks(document: str) -> Iterator[str]:
    yield from re.findall(r"^```python\n(.*?)^```$", (ROOT / document).read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.deep
@pytest.mark.timeout(7200)
def test_the_instructions_run(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    checkout = machine.checkout

    # The base install: an error names the command that installs what is missing.
    machine.shell("python3 -m venv .venv && .venv/bin/python -m pip install --quiet .")
    (checkout / "in").write_text('{"custom_id": "a", "body": {}}')
    commands: list[str] = []
    while found := re.findall(r"run `([^`]+)`", machine.shell(".venv/bin/shoestring batch in out || true")):
        assert found[0] not in commands, f"it ran, and the error stays: {found[0]}"
        commands += found
        machine.shell(found[0])
    assert len(commands) == 2, "one for the server's packages, one for the weights"
    # Any other command that an error gives is one that this shell finds.
    said = machine.shell(".venv/bin/shoestring inspect org/none || true")
    (command,) = re.findall(r"run `(.+?) pull org/none`", said)
    machine.shell(f"{command} pull --help")
    shutil.rmtree(checkout / ".venv")

    printed = machine.shell("make demo")
    assert re.search(r"^demo-qwen3\.5 +\d+ prompt tokens", printed, re.M)
    following = re.findall(r"^  (\S+shoestring \S+)", printed.partition("What to run next:")[2], re.M)
    assert len(following) == 5, printed
    for line in following:
        machine.shell(f"{line} --help" if not line.endswith("--help") else line)
    (model,) = (tmp_path / "cache").rglob("demo-llama4*.gguf")
    shutil.copy(model, checkout / "model.gguf")
    for line in dict.fromkeys(line for _, line in LINES):
        if reason(line) is None:
            print(line, flush=True)
            machine.run(line)
    for block in python_blocks("README.md"):
        machine.shell(f".venv/bin/python -c {shlex.quote(block)}")
    assert "demo-scripted" in machine.shell("other/bin/shoestring doctor demo-scripted --port 0")
    # Their options, of what measures for too long to run.
    for _, line in LINES:
        if line.startswith(".venv/bin/python bench/"):
            script, *options = shlex.split(line)[1:]
            if not any(word.startswith("--") for word in options):
                continue
            help = machine.shell(f".venv/bin/python {script} --help")
            assert {word for word in options if word.startswith("--")} <= set(re.findall(r"--[a-z-]+", help)), line
