"""The files of `shoestring batch`: requests to read, and answers to append and to resume from."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from shoestring import bounded_json
from shoestring.errors import RequestError
from shoestring.files import cannot_write, check_writable, read_input_text, try_lock
from shoestring.printable import shortened

#: Bytes of IN: as OpenAI's limit.
LARGEST_INPUT = 200 << 20
#: Bytes of one answer
LARGEST_ANSWER = 64 << 20
#: How every line of ours begins.
BEGINNING = b'{"id": "batch_req_'


@dataclass(frozen=True)
class Line:
    """One request. body: JSON to send to `url`."""

    custom_id: str
    method: str
    url: str
    body: dict[str, Any]


def read_lines(source: Path) -> list[Line]:
    """The requests of a file or pipe. Raises RequestError that names an invalid line."""
    lines: list[Line] = []
    seen: set[str] = set()
    for number, text in enumerate(read_input_text(source, LARGEST_INPUT).split("\n"), 1):
        if not text.strip():
            continue
        where = f"{source}, line {number}"
        try:
            bounded_json.check(text)
            value = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"{where} is not valid JSON ({error})") from None
        if not isinstance(value, dict):
            raise RequestError(f"{where} is not an object with custom_id, method, url and body")
        id, body = value.get("custom_id"), value.get("body")
        if not isinstance(id, str) or not id:
            raise RequestError(f"{where} has no custom_id: give each line a unique string")
        if id in seen:
            raise RequestError(f"{where} repeats the custom_id {id!r} of an earlier line: give each line a unique one")
        if not isinstance(body, dict):
            raise RequestError(f"{where} has no body: add the request as a JSON object")
        seen.add(id)
        lines.append(Line(id, str(value.get("method", "POST")), str(value.get("url")), body))
    if not lines:
        raise RequestError(f"{source} has no requests")
    return lines


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


@contextmanager
def open_output(target: Path, source: Path) -> Iterator[int]:
    """A descriptor that appends to `target`; no other batch can open it meanwhile.

    Raises RequestError if `target` is `source`, is not a regular file, or another batch writes to it.
    """
    if _is_same(target, source):
        raise RequestError(f"{target} is IN and OUT: choose another OUT file")
    check_writable(target)
    try:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(target, flags, 0o666)
    except OSError as error:
        raise cannot_write(target, error) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise RequestError(f"{target} is not a file: choose another OUT file")
        if not try_lock(descriptor):
            raise RequestError(f"another batch writes to {target}: wait for it, or choose another OUT file")
        yield descriptor
    finally:
        os.close(descriptor)


def _is_same(target: Path, source: Path) -> bool:
    try:
        return os.path.samefile("/dev/stdin" if str(source) == "-" else source, target)
    except (OSError, ValueError):
        return False


def repair_output(descriptor: int, target: Path, ids: Set[str]) -> set[str]:
    """The custom_ids that are already answered. Removes an incomplete last line, which is then answered again.

    Raises RequestError, and changes nothing, unless every complete line answers one of `ids`; without a complete line,
    unless the text begins as our lines do.
    """
    done: set[str] = set()
    whole = size = number = 0
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        while line := file.readline(LARGEST_ANSWER + 1):
            size += len(line)
            number += 1
            if not line.endswith(b"\n"):
                if len(line) > LARGEST_ANSWER:
                    raise RequestError(f"{target}, line {number} is not a batch answer: choose another OUT file")
                if not done and not line.startswith(BEGINNING[: len(line)]):
                    raise RequestError(f"{target} has other contents: choose another OUT file")
                break
            whole = size
            if line.strip():
                done.add(_answered(line, f"{target}, line {number}", ids))
    if whole < size:
        os.ftruncate(descriptor, whole)
    return done


def _answered(line: bytes, where: str, ids: Set[str]) -> str:
    """The custom_id of an answer."""
    try:
        value = bounded_json.loads(line)
        id, _ = value["custom_id"], value["response"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RequestError(f"{where} is not a batch answer: choose another OUT file") from None
    if not isinstance(id, str) or id not in ids:
        raise RequestError(
            f"{where} answers {shortened(repr(id), 100)}, which IN does not ask: choose another OUT file"
        )
    return id


def append(descriptor: int, target: Path, answer: dict[str, Any]) -> None:
    """Append a line and sync it to disk before the next one. Removes it again if the disk is full."""
    try:
        data = (json.dumps(answer, ensure_ascii=False) + "\n").encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can write
        data = (json.dumps(answer) + "\n").encode("ascii")
    end = os.fstat(descriptor).st_size
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    except OSError as error:
        os.ftruncate(descriptor, end)
        raise cannot_write(target, error) from None
