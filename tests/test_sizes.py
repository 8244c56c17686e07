"""Sizes as people write them, wherever a size or a number of tokens is taken."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.errors import RequestError
from shoestring.sizes import bytes_of, count_of, human, tokens_of


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("32k", 32768), ("32K", 32768), ("32 ki", 32768), ("1.5k", 1536), ("1M", 1 << 20), ("32768", 32768),
        ("32,768", 32768), ("1,024k", 1 << 20),
        ("32_768", 32768), ("0", 0), ("-3", -3), (" 7 ", 7), (7, 7), (-7, -7), ("999999999999999999", 10**18 - 1),
    ],
)  # fmt: skip
def test_tokens(text: Any, count: int) -> None:
    assert tokens_of(text, "it") == count
    assert type(tokens_of(text, "it")) is int


@pytest.mark.parametrize(
    "text",
    [
        "",
        "k",
        "32kb",
        "32g",
        "0.3k",
        "1e3",
        "-3k",
        "٣",
        "0x10",
        "9" * 50,
        "1,5k",
        "32,76",
        "1,0000",
        ",5",
        "1_0,000",
        True,
        1.0,
        None,
        [1],
    ],
)
def test_what_is_no_number_of_tokens(text: Any) -> None:
    with pytest.raises(RequestError, match=r"^it is .*: give a number of tokens like 32768 or 32k$"):
        tokens_of(text, "it")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("2k", 2000), ("2K", 2000), ("2,000", 2000), ("2_000", 2000), ("1.5k", 1500), ("800M", 8 * 10**8),
        ("1.5b", 1_500_000_000), ("-3", -3), (" 7 ", 7), (7, 7), (-7, -7),
    ],
)  # fmt: skip
def test_counts(text: Any, count: int) -> None:
    assert count_of(text, "it") == count
    assert type(count_of(text, "it")) is int


@pytest.mark.parametrize("text", ["", "many", "2ki", "2g", "0.5", "1,5k", "20,00", "-3k", True, 1.0, None])
def test_what_is_no_count(text: Any) -> None:
    with pytest.raises(RequestError, match=r"^it is .*: give a whole number like 2000, 2k or 1.5M$"):
        count_of(text, "it")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("12GiB", 12 << 30), ("12 gib", 12 << 30), ("800MB", 8 * 10**8), ("4G", 4 * 10**9), ("1.5Ki", 1536),
        ("1,024 MB", 1024 * 10**6), ("0", 0), (5, 5), ("2TiB", 2 << 40), ("7b", 7), ("1_000", 1000),
        ("12345678901234567890", 12345678901234567890),
    ],
)  # fmt: skip
def test_bytes(text: Any, size: int) -> None:
    assert bytes_of(text, "it") == size


@pytest.mark.parametrize("text", ["", "GiB", "-1", -1, "1.2.3GB", "1 parsec", "½GB", "1kk", "1,5GB", True, 1.5, None])
def test_what_is_no_size(text: Any) -> None:
    with pytest.raises(RequestError, match=r"^it is .*12GiB"):
        bytes_of(text, "it")


def test_sizes_have_units() -> None:
    assert [human(n) for n in (0, 1023, 1536, 5 << 30, 3 << 40)] == [
        "0 B",
        "1023 B",
        "1.50 KiB",
        "5.00 GiB",
        "3.00 TiB",
    ]
    assert human(-(5 << 30)) == "-5.00 GiB"


@given(st.integers(0, 1 << 60), st.integers(1, 1 << 60))
def test_a_size_that_an_error_names_is_enough(free: int, missing: int) -> None:
    """Of two sizes the larger one never looks equal, and giving what is shown gives at least what is needed."""
    needed = free + missing
    shown_needed, shown_free = human(needed, "up"), human(free, "down")
    assert bytes_of(shown_free, "free") <= free < needed <= bytes_of(shown_needed, "needed")
    assert shown_free != shown_needed
