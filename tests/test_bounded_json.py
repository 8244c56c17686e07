"""bounded_json.py: the count over raw bytes agrees with the parsed value."""

import json
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring import bounded_json
from shoestring.bounded_json import BoundError, check, loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def depth(value: Any) -> int:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if items is None else 1 + max(map(depth, items), default=0)


@given(VALUES, st.booleans(), st.integers(3, 9))
def test_depth_is_exact(value: Any, ascii_only: bool, window: int) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded_json, "_WINDOW", window)  # every construct is cut somewhere
        assert loads(text.encode(), depth=depth(value)) == value
        if depth(value):
            with pytest.raises(BoundError, match="deeper"):
                check(text.encode(), depth=depth(value) - 1)


@given(VALUES, st.booleans(), st.integers(3, 9))
def test_the_width_bounds_the_parsed_strings(value: Any, ascii_only: bool, window: int) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded_json, "_WINDOW", window)
        size = check(text.encode())
    wide = not json.dumps(value, ensure_ascii=False).isascii() or r"\u" in text
    assert (size.width, size.length) == (4 if wide else 1, len(text.encode()))


def test_the_number_of_values_is_bounded() -> None:
    check("[1,2,3]", values=3)
    with pytest.raises(BoundError, match="more than 3 values"):
        check("[[],[],[]]", values=3)
    check(json.dumps("[" * 1000 + "," * 1000), depth=0, values=0)
    check('[1,{"a":2},"{"]', containers=2)
    with pytest.raises(BoundError, match="more than 1 objects"):
        check('[1,{"a":2},"{"]', containers=1)


@given(VALUES)
def test_the_count_bounds_the_parsed_values(value: Any) -> None:
    def number(value: Any) -> int:
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return 1 + sum(map(number, items))

    size = check(json.dumps(value))
    assert size.values + 1 >= number(value)
    assert size.containers <= size.values


@given(VALUES)
def test_a_text_of_many_values_is_parsed_in_python_to_the_same_value(value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded_json, "_PARSED_AT_ONCE", -1)
        assert loads(json.dumps(value)) == value


@pytest.mark.parametrize("window", [3, 100, 1 << 18])
def test_a_number_has_a_bounded_length_and_a_text_does_not(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_json, "_WINDOW", window)
    most = "9" * bounded_json.DIGITS
    assert loads(f'[{most}, -{most}, "{most * 20}"]')[1] == -int(most)
    for text in (f"[{most}9]", f"[0, -{most}9]", f"0.{most}9", f'["a",{most}9'):
        with pytest.raises(BoundError, match="digits"):
            check(text)


@pytest.mark.parametrize(
    "text",
    [
        b"NaN",
        b"[Infinity]",
        b'{"a":-Infinity}',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        "[1]".encode("utf-16"),
        b"",
        b"[1]]",
        b"][",
    ],
)
def test_what_is_not_json_in_utf_8_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011: the messages are Python's
        loads(text)


def test_utf_8_with_a_mark_and_halves_of_characters_are_read() -> None:
    assert loads(b'\xef\xbb\xbf["\\ud800"]') == ["\ud800"]
    assert loads("[1, 1.5, true, null]") == [1, 1.5, True, None]
    assert loads('"\ud800"') == "\ud800"


def test_other_threads_run_while_a_long_text_is_counted_and_parsed() -> None:
    text = b"{%s}" % b",".join(b'"%d":1' % number for number in range(400_000))
    turns, over = 0, threading.Event()

    def count() -> None:
        nonlocal turns
        while not over.is_set():
            turns += 1
            time.sleep(0.001)

    beside = threading.Thread(target=count)
    beside.start()
    loads(text)
    over.set()
    beside.join()
    assert turns > 25  # json's C code would allow a few, before and after it
