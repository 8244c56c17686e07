"""The files of `shoestring batch`: requests to read, and answers to append and to resume from."""

from __future__ import annotations

import codecs
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from shoestring import bounded_json
from shoestring.checkpoint.config.experts import says_changed_experts
from shoestring.errors import RequestError
from shoestring.files import cannot_write, open_append, read_input, try_lock, write_whole
from shoestring.kv_types import says_kv_type
from shoestring.printable import shortened
from shoestring.spelling import option

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


@dataclass(frozen=True)
class BadLine:
    """A line of IN that is no request. custom_id: None if it has none of its own. problem: where and what."""

    custom_id: str | None
    problem: str


@dataclass(frozen=True)
class Identity:
    """What answers depend on beside the model, as it is named in them; None: the usual."""

    experts: str | None = None
    kv_type: str | None = None

    @classmethod
    def said(cls, fingerprint: object) -> Identity:
        """Of a `system_fingerprint`, also of another server's, which names neither."""
        parts = fingerprint.split(", ") if isinstance(fingerprint, str) else []
        experts, kv_types = filter(says_changed_experts, parts), filter(says_kv_type, parts)
        return cls(next(experts, None), next(kv_types, None))


class OneModel:
    """The identity of all answers of OUT: others would be another model's.

    identity: of the model that will answer; None: a server will, whose answers tell it.
    """

    def __init__(self, identity: Identity | None = None) -> None:
        self._identity = identity

    def check(self, answer: Mapping[str, Any], where: str) -> None:
        """Raises RequestError for a good answer with another identity; names both."""
        response = answer["response"]
        if response["status_code"] != 200 or not isinstance(response.get("body"), dict):
            return
        found = Identity.said(response["body"].get("system_fingerprint"))
        if self._identity is None:
            self._identity = found
        expected = self._identity
        for theirs, others, usual, name in (
            (found.experts, expected.experts, "the model's own number of experts a token", "experts_per_token"),
            (found.kv_type, expected.kv_type, "keys and values in f16", "kv_type"),
        ):
            if theirs != others:
                raise RequestError(
                    f"{where} has {theirs or usual}, and the other answers {others or usual}: choose another OUT file, "
                    f"or the same {option(name)}"
                )


def read_lines(source: Path) -> tuple[list[Line], list[BadLine]]:
    """The requests of a file or pipe, and the lines that are none.

    Raises RequestError if the file cannot be read or has no request at all: it is another file.
    """
    lines: list[Line] = []
    bad: list[BadLine] = []
    seen: set[str] = set()
    data = read_input(source, LARGEST_INPUT).removeprefix(codecs.BOM_UTF8)
    for number, text in enumerate(data.split(b"\n"), 1):
        if text.strip():
            line = _line(text, f"{source}, line {number}", seen)
            if isinstance(line, Line):
                lines.append(line)
            else:
                bad.append(line)
            seen |= {line.custom_id} if line.custom_id is not None else set()
    if not lines:
        raise RequestError(bad[0].problem if bad else f"{source} has no requests")
    return lines, bad


def _line(text: bytes, where: str, seen: Set[str]) -> Line | BadLine:
    """seen: the custom_ids of earlier lines."""
    try:
        bounded_json.check(text)
        value = json.loads(text.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        return BadLine(None, f"{where} is not valid JSON ({reason})")
    if not isinstance(value, dict):
        return BadLine(None, f"{where} is not an object with custom_id, method, url and body")
    id, body = value.get("custom_id"), value.get("body")
    if not isinstance(id, str) or not id:
        return BadLine(None, f"{where} has no custom_id: give each line a unique string")
    if id in seen:
        return BadLine(None, f"{where} repeats the custom_id {id!r} of an earlier line: give each line a unique one")
    if not isinstance(body, dict):
        return BadLine(id, f"{where} has no body: add the request as a JSON object")
    return Line(id, str(value.get("method", "POST")), str(value.get("url")), body)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


@contextmanager
def open_output(
    target: Path, source: Path, ids: Set[str], model: OneModel | None = None
) -> Iterator[tuple[int, set[str]]]:
    """A descriptor that appends to `target`, and the ids that it answers; no other batch can open it meanwhile.

    Removes what is to be done again: failed lines, and an incomplete last one. Raises RequestError, and changes
    nothing, if `target` is `source`, is not a regular file, has other contents than answers of `model` to `ids`, or
    another batch writes to it.
    """
    if _is_same(target, source):
        raise RequestError(f"{target} is IN and OUT: choose another OUT file")
    descriptor = open_append(target)
    with ExitStack() as opened:
        opened.callback(os.close, descriptor)
        if not try_lock(descriptor):
            raise RequestError(f"another batch writes to {target}: wait for it, or choose another OUT file")
        done, failed = repair_output(descriptor, target, ids, model or OneModel())
        if failed:
            # The old file stays open and locked, so that no other batch begins between the two.
            descriptor = _without(descriptor, target, failed)
            opened.callback(os.close, descriptor)
        yield descriptor, done


def _without(descriptor: int, target: Path, failed: Set[int]) -> int:
    """Replace `target` by its lines without those of these numbers; returns its locked descriptor, which appends."""
    with os.fdopen(os.dup(descriptor), "rb") as old, write_whole(target) as new:
        old.seek(0)
        for number, line in enumerate(old, 1):
            if number not in failed:
                new.write(line)
        # Its lock belongs to both descriptors, and outlives the block.
        appending = os.dup(new.fileno())
    fcntl.fcntl(appending, fcntl.F_SETFL, fcntl.fcntl(appending, fcntl.F_GETFL) | os.O_APPEND)
    return appending


def _is_same(target: Path, source: Path) -> bool:
    try:
        return os.path.samefile("/dev/stdin" if str(source) == "-" else source, target)
    except (OSError, ValueError):
        return False


def repair_output(descriptor: int, target: Path, ids: Set[str], model: OneModel) -> tuple[set[str], set[int]]:
    """The custom_ids that are answered, and the numbers of the lines that failed. Removes an incomplete last line.

    Raises RequestError, and changes nothing, unless every complete line is an answer of `model` to one of `ids`, or
    names a bad line; without a complete line, unless the text begins as our lines do.
    """
    done: set[str] = set()
    failed: set[int] = set()
    whole = size = number = 0
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        while line := file.readline(LARGEST_ANSWER + 1):
            size += len(line)
            number += 1
            if not line.endswith(b"\n"):
                if len(line) > LARGEST_ANSWER:
                    raise RequestError(f"{target}, line {number} is not a batch answer: choose another OUT file")
                if not (done or failed) and not line.startswith(BEGINNING[: len(line)]):
                    raise RequestError(f"{target} has other contents: choose another OUT file")
                break
            whole = size
            if line.strip():
                id, good = _answered(line, f"{target}, line {number}", ids, model)
                if good and id is not None:
                    done.add(id)
                else:
                    failed.add(number)
    if whole < size:
        os.ftruncate(descriptor, whole)
    return done, failed


def _answered(line: bytes, where: str, ids: Set[str], model: OneModel) -> tuple[str | None, bool]:
    """The custom_id of an answer, and whether it is one to keep. None: a bad line of IN."""
    try:
        value = bounded_json.loads(line)
        id, response = value["custom_id"], value["response"]
        good = isinstance(response, dict) and response.get("status_code") == 200
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RequestError(f"{where} is not a batch answer: choose another OUT file") from None
    if id is None and not good and line.startswith(BEGINNING):
        return None, False
    if not isinstance(id, str) or id not in ids:
        raise RequestError(
            f"{where} answers {shortened(repr(id), 100)}, which IN does not ask: choose another OUT file"
        )
    if good:
        model.check(value, where)
    return id, good


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
