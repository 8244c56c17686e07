"""The judge of a siege notices what must not happen."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile import judge
from hostile.attack import Outcome, parsed


def outcome(reply: bytes, problem: str = "") -> Outcome:
    status, headers, body = parsed(reply)
    return Outcome("x", status, 0.0, headers, body, b"", problem)


def reply(status: int, body: bytes = b"{}", headers: bytes = b"") -> Outcome:
    return outcome(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%s\r\n%s" % (status, headers, body))


@pytest.mark.parametrize(
    "good",
    [
        reply(200),
        reply(400, b'{"error": {"message": "no"}}'),
        reply(429),
        reply(503, headers=b"Retry-After: 3\r\n"),
    ],
)
def test_refusals_are_no_problem(good: Outcome) -> None:
    assert judge.of_reply(good, replied=True) is None


@pytest.mark.parametrize(
    "bad",
    [
        reply(500),
        reply(503),
        outcome(b""),
        outcome(b"HTTP/1.1 200 OK\r\n\r\n", problem="no end"),
        reply(400, b'{"error": "' + b"x" * 501 + b'"}'),
        reply(400, b'{"error": {"message": "\\u001b[31m"}}'),
        reply(400, b'{"type": "error", "error": {"message": "\\u202e"}}'),
    ],
)
def test_a_bad_reply_is_a_problem(bad: Outcome) -> None:
    assert judge.of_reply(bad, replied=True) is not None


def test_no_reply_may_be_right() -> None:
    assert judge.of_reply(outcome(b""), replied=False) is None


@pytest.mark.parametrize(
    "line",
    [
        b"x" * 501,
        b"a\x1b[31m",
        b"a\rb",
        "a\u2066".encode(),
        b"\xff",
        b"Traceback (most recent call last):",
        b"ERROR shoestring.server: a bug",
    ],
)
def test_a_bad_line_is_a_problem(line: bytes, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"10:00:00  GET /health  200\n" + line + b"\n")
    assert len(judge.of_log(log)) == 1


def test_a_kind_of_problem_is_told_once(tmp_path: Path) -> None:
    trace = b'Traceback (most recent call last):\n  File "a.py", line 3, in f\n    f()\nValueError: no\n'
    log = tmp_path / "log"
    log.write_bytes(trace * 3)
    (problem,) = judge.of_log(log)
    assert "ValueError: no" in problem
    assert "a.py" in problem
    assert "3 times" in problem


def test_good_lines_are_no_problem(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"10:00:00  GET /health  200\n\n" + "Grüße\n".encode())
    assert judge.of_log(log) == []


def test_percentiles() -> None:
    assert judge.percentile([float(n) for n in range(100)], 0.99) == 99
    assert judge.percentile([1.0], 0.5) == 1
