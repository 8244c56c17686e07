"""The log never waits for its reader, drops and counts what does not fit, and prints no control character."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.printable import printable
from shoestring.server.http.logs import log_writer
from shoestring.server.http.logs.lines import Style
from shoestring.server.http.logs.log import RequestLog
from shoestring.server.http.logs.log_writer import LogHandler, LogWriter
from shoestring.server.http.record import Record
from shoestring.streaming.counters import Totals


def test_a_full_pipe_blocks_nobody_and_dropped_lines_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "_MOST_LINES", 50)
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)  # eight lines
    writer = LogWriter(write)
    began = time.monotonic()
    for number in range(2000):
        writer(f"{number} " + "x" * 500)
    assert time.monotonic() - began < 5
    text = b""
    while writer._lines:
        text += os.read(read, 1 << 16)
    writer("after")
    while b"after\n" not in text:
        text += os.read(read, 1 << 16)
    lines = [line.split() for line in text.decode().splitlines()]
    numbers = [int(line[0]) for line in lines if line[-1].startswith("x")]
    dropped = sum(int(line[0]) for line in lines if "dropped" in line)
    assert numbers == sorted(set(numbers))
    assert dropped == 2000 - len(numbers) > 1900
    os.close(read)  # the thread's next write fails
    writer.close(10)
    os.close(write)


def test_what_waits_is_written_at_the_end(tmp_path: Path) -> None:
    with open(tmp_path / "log", "wb") as file:
        writer = LogWriter(file.fileno())
        for number in range(100):
            writer(str(number))
        assert writer.close(10)
    assert (tmp_path / "log").read_text().split() == [str(number) for number in range(100)]


def test_messages_and_tracebacks_are_printable_and_short(tmp_path: Path) -> None:
    with open(tmp_path / "log", "wb") as file:
        writer = LogWriter(file.fileno())
        log = logging.Logger("ours")
        log.addHandler(LogHandler(writer))
        log.warning("one\nline\x1b[2J\u202e %s", "x" * 5000)
        log.warning("%d", "not a number")
        try:
            raise ValueError("\x1b]52;c;\x07" + "y" * 5000)
        except ValueError as error:
            log.error("a bug", exc_info=error)
        assert writer.close(10)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0].startswith("WARNING ours: one\\nline\\x1b[2J\\u202e x")
    assert lines[1] == "WARNING ours: %d"
    assert "Traceback (most recent call last):" in lines
    assert all(line.isprintable() and len(line) <= 500 for line in lines)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_request_line_repeats_little_of_what_a_client_sent(as_json: bool) -> None:
    lines: list[str] = []
    log = RequestLog(as_json=as_json, write=lines.append)
    failure = "no\n\x1b]52;c;\x07\u2066" + "z" * 5000
    log(Record(method="M" * 5000, endpoint="/v1/x", path="/é" * 3000, status=400, failure=failure))
    assert lines[0].isprintable()
    assert len(lines[0]) <= 500
    assert "zzzz" in lines[0]


@given(
    st.text(max_size=300),
    st.text(max_size=300),
    st.text(max_size=600),
    st.text(max_size=100),
    st.integers(0, 1 << 20),
    st.booleans(),
)
def test_every_line_is_bounded_whatever_clients_send(
    method: str, path: str, failure: str, client: str, tokens: int, key: bool
) -> None:
    entry = Record(
        *(method, path, "/v1/x", 500, "i" * 64, client, "k" * 40 if key else ""),
        **dict.fromkeys(("prompt_tokens", "cached_tokens", "output_tokens"), tokens),
        arrived=0.0,
        first_token=1e4,
        last_token=1e4 + 1,
        ended=1e5,
        finish="+".join(["length inside thinking"] * 16),
        failure=failure,
        experts=Totals(asked=tokens, hits=tokens // 2, read_bytes=tokens << 20) if tokens % 2 else None,
    )
    for style in (Style(), Style(dated=True), Style(as_json=True)):
        line = style.request(entry)
        assert line == printable(line)
        assert len(line) <= (900 if style.as_json else 500)
        assert "i" * 64 in line
        if style.as_json:
            assert json.loads(line)["status"] == 500
