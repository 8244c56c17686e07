"""The child process: compiles one grammar after the other within limits, and says what is wrong with it.

It reads a vocabulary, then grammars, and answers each with an error or nothing. A grammar beyond the limits ends the
process. Messages are a length of 4 bytes and JSON. It runs as a file and imports nothing of ours, so it starts fast.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import struct
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llguidance import LLParserLimits, LLTokenizer

#: Seconds of the processor that one grammar may take.
CPU_SECONDS = 1.5
#: Bytes beyond those of an idle child.
MEMORY_BYTES = 256 << 20
#: Smaller than that of any thread in which a grammar is compiled afterwards.
_STACK_BYTES = 2 << 20
_MOST_REASON = 500


def parser_limits() -> LLParserLimits:
    """llguidance's limits of work, not of time. At the limits one mask takes tens of milliseconds."""
    from llguidance import LLParserLimits

    return LLParserLimits(max_lexer_states=50_000, max_grammar_size=200_000, verbose_errors=False)


def send(stream: IO[bytes], value: Any) -> None:
    data = json.dumps(value).encode()
    stream.write(struct.pack("<I", len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """The next message; None at the end."""
    head = stream.read(4)
    return json.loads(stream.read(struct.unpack("<I", head)[0])) if len(head) == 4 else None


class _Bytes:
    """A vocabulary of bytes with the size and the added tokens of the real one, as llguidance wants it."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, size: int, ends: list[int], added: dict[str, str]) -> None:
        self.eos_token_id = min(ends, default=0)
        self.special_token_ids = sorted(map(int, added))
        free = (id for id in range(size) if str(id) not in added)
        self._ids = dict(zip(range(256), free, strict=False))
        self.tokens = [b""] * size
        for byte, id in self._ids.items():
            self.tokens[id] = bytes([byte])
        for text, name in added.items():
            self.tokens[int(text)] = name.encode("utf-8", "replace")

    def __call__(self, text: str | bytes) -> list[int]:
        return [self._ids.get(byte, 0) for byte in (text.encode() if isinstance(text, str) else text)]


def _error(tokenizer: LLTokenizer, grammar: str) -> str:
    """What is wrong with a grammar; "" if nothing is."""
    from llguidance import LLMatcher

    matcher = LLMatcher(tokenizer, grammar, log_level=0, limits=parser_limits())
    if not matcher.is_error():
        matcher.compute_bitmask()
    return matcher.get_error()[:_MOST_REASON] if matcher.is_error() else ""


def _serve(source: IO[bytes], target: IO[bytes]) -> None:
    from llguidance import LLTokenizer

    vocabulary = receive(source)
    if vocabulary is None:
        return
    tokenizer = LLTokenizer(_Bytes(**vocabulary), eos_token=sorted(vocabulary["ends"]))  # type: ignore[arg-type]
    _error(tokenizer, json.dumps({"grammars": [{"lark_grammar": 'start: "a"'}]}))
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm") as file:
        bytes_now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (bytes_now + MEMORY_BYTES,) * 2)
    send(target, "")
    while (grammar := receive(source)) is not None:
        # Ends the process: the signal's default action.
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        error = _error(tokenizer, grammar)
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(target, error)


if __name__ == "__main__":
    threading.stack_size(_STACK_BYTES)
    thread = threading.Thread(target=_serve, args=(sys.stdin.buffer, sys.stdout.buffer))
    thread.start()
    thread.join()
