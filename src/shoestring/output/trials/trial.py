"""Try a grammar in a child process. Children live as long as a tokenizer; one that a grammar ends is replaced."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

from shoestring.errors import BusyError
from shoestring.output.syntax import Vocabulary
from shoestring.output.trials.child import receive, send

#: Children at once; more grammars wait.
_CHILDREN = 2
#: Time to start a child, and to wait for one that tries other grammars.
_START_SECONDS, _WAIT_SECONDS = 10.0, 2.0
#: Grammars whose result is remembered.
_MOST_KNOWN = 256

TOO_COMPLEX = "it is too complex: compiling it takes too much time or memory"


def check(tokenizer: Vocabulary, grammar: str, what: str, until: float) -> str:
    """What is wrong with a grammar, in llguidance's words or ours; "" if it compiles within the limits.

    until: when to give up, in time.monotonic(). Raises BusyError if other grammars take too long.
    """
    with _lock:
        children = _of_tokenizer.get(tokenizer)
        if children is None:
            vocabulary = _vocabulary(tokenizer)
            key = json.dumps(vocabulary)
            children = _of_tokenizer[tokenizer] = _of_vocabulary.get(key) or _Children(vocabulary)
            _of_vocabulary[key] = children
    return children.error(grammar, what, until)


def _vocabulary(tokenizer: Vocabulary) -> dict[str, Any]:
    added = sorted(tokenizer.added_ids)
    return {
        "size": tokenizer.vocab_size,
        "ends": sorted(tokenizer.eos_ids),
        "added": {str(id): tokenizer.token_bytes(id).decode("utf-8", "replace") for id in added},
    }


class _Child:
    """One process. `error` uses it; a failed one is closed."""

    def __init__(self, vocabulary: dict[str, Any]) -> None:
        environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("child.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # a Ctrl-C in the terminal is not for it
            )
        except OSError as error:
            raise BusyError(f"no process to check a grammar can start ({error.strerror})") from None
        weakref.finalize(self, _end, self._process)
        if self._ask(vocabulary, _START_SECONDS) is None:
            self.close()
            raise BusyError("the process that checks grammars does not start")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def error(self, grammar: str, seconds: float) -> str | None:
        """What is wrong with a grammar; None if it took too much: then the child has ended."""
        answer = self._ask(grammar, seconds)
        if answer is None:
            self.close()
        return answer

    def _ask(self, value: Any, seconds: float) -> str | None:
        source, target = self._process.stdout, self._process.stdin
        assert source is not None
        assert target is not None
        try:
            send(target, value)
            return receive(source) if _readable(source, seconds) else None
        except (OSError, ValueError):  # the child has ended
            return None

    def close(self) -> None:
        _end(self._process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


class _Children:
    """The children of one vocabulary, and the results of the latest grammars."""

    def __init__(self, vocabulary: dict[str, Any]) -> None:
        self._vocabulary = vocabulary
        self._free = threading.Semaphore(_CHILDREN)
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._known: OrderedDict[bytes, str] = OrderedDict()

    def error(self, grammar: str, what: str, until: float) -> str:
        key = hashlib.sha256(grammar.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        if not self._free.acquire(timeout=max(0.0, min(_WAIT_SECONDS, until - time.monotonic()))):
            raise BusyError(f"{what} has to wait for others to be checked")
        try:
            error = self._tried(grammar, until)
        finally:
            self._free.release()
        with self._lock:
            self._known[key] = error
            while len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return error

    def _tried(self, grammar: str, until: float) -> str:
        with self._lock:
            child = self._idle.pop() if self._idle else None
        if child is None or not child.alive:
            child = _Child(self._vocabulary)
        error = child.error(grammar, max(0.0, until - time.monotonic()))
        if error is None:
            return TOO_COMPLEX
        with self._lock:
            self._idle.append(child)
        return error


def _readable(stream: IO[bytes], seconds: float) -> bool:
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


_of_tokenizer: weakref.WeakKeyDictionary[Vocabulary, _Children] = weakref.WeakKeyDictionary()
#: Tokenizers with the same vocabulary share children.
_of_vocabulary: weakref.WeakValueDictionary[str, _Children] = weakref.WeakValueDictionary()
_lock = threading.Lock()
