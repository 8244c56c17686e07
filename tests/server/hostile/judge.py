"""What must hold after an attack: of its reply, of the log, of what other clients noticed, of memory."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hostile.attack import Outcome, error_text

#: Characters of a log line or an error that may repeat what a client sent.
LONGEST_LINE = 500
_BIDIRECTIONAL = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
#: What a log says about an error that is not the client's.
_OURS = (
    "Traceback",
    "a bug",
    "Exception in ASGI",
    "Error in",
    "panicked",
    "coroutine",
    "Task exception",
    "exception was",
)


def of_reply(outcome: Outcome, replied: bool) -> str | None:
    """What is wrong with a reply; None: nothing."""
    if outcome.problem:
        return outcome.problem
    if outcome.status == 0:
        return "the server did not reply" if replied else None
    if outcome.status >= 500 and not (outcome.status == 503 and "retry-after" in outcome.headers):
        return f"status {outcome.status}"
    error = error_text(outcome)
    if error is not None and len(error) > LONGEST_LINE:
        return f"the error has {len(error)} characters"
    if error is not None and control_characters(error):
        return f"the error has the characters {control_characters(error)}"
    return None


def control_characters(text: str) -> list[str]:
    """Control characters and bidirectional marks, other than line breaks."""
    found = {
        character
        for character in text
        if (unicodedata.category(character) == "Cc" and character != "\n") or character in _BIDIRECTIONAL
    }
    return sorted(f"U+{ord(character):04X}" for character in found)


def of_log(log: Path) -> list[str]:
    """What is wrong in a log: each kind once, with its count and its first line."""
    first: dict[str, str] = {}
    counts: dict[str, int] = {}
    lines = log.read_bytes().split(b"\n")
    for number, data in enumerate(lines):
        for kind in _problems(lines, number, data):
            counts[kind] = counts.get(kind, 0) + 1
            first.setdefault(kind, f"line {number}: {data[:200]!r}")
    return [f"the log {kind} ({counts[kind]} times), first in {line}" for kind, line in first.items()]


def _problems(lines: Sequence[bytes], number: int, data: bytes) -> Iterator[str]:
    try:
        line = data.decode()
    except UnicodeDecodeError:
        yield "is not UTF-8"
        return
    if control_characters(line):
        yield f"has the characters {control_characters(line)}"
    if len(line) > LONGEST_LINE:
        yield f"has lines of more than {LONGEST_LINE} characters"
    if line.startswith("Traceback"):
        yield f"has a traceback of {_error(lines[number + 1 :])}"
    elif any(mark in line for mark in _OURS):
        yield f"says {line[:60]!r}"


def _error(lines: Sequence[bytes]) -> str:
    """The last frame of a traceback and its error."""
    frame = b""
    for line in lines:
        if line.startswith(b"  File"):
            frame = line.strip()
        if not line.startswith(b" "):
            return f"{line[:200].decode(errors='replace')} in {frame.decode(errors='replace')}"
    return "unknown"


def percentile(seconds: Sequence[float], part: float) -> float:
    """The smallest value that `part` of the values do not exceed."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def counted(outcomes: Iterable[Outcome]) -> str:
    counts: dict[int, int] = {}
    for outcome in outcomes:
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
    return ", ".join(f"{count} × {status or 'no reply'}" for status, count in sorted(counts.items()))
