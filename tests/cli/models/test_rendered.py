"""The terminal's Markdown: the same whatever the pieces, whole words, nothing of the text lost or in effect."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from shoestring.cli.models.rendered import Rendered, finished
from shoestring.runtime.scripted.demo import MARKDOWN

WIDTH = 40


def drawn(*pieces: tuple[str, bool]) -> str:
    """What is printed for pieces of (text, thinking), without what is drawn and erased again."""
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, height=20, force_terminal=False, color_system=None)
    with Rendered(console) as screen:
        for text, thinking in pieces:
            screen.add(text, thinking)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def shown(text: str) -> str:
    return drawn((text, False))


LINES = ["words and words", "", "# Title", "- item", "  - inner", "1. one", "10 apples", "```", "~~~", "    code",
         "---", "| a | b |", "|---|---|", "> quote", "**bold**", "- ", "1"]  # fmt: skip
texts = st.lists(st.sampled_from(LINES), max_size=12).map("\n".join)


@given(texts, st.lists(st.integers(1, 20), min_size=1))
def test_the_pieces_make_no_difference(text: str, sizes: list[int]) -> None:
    pieces, at = [], 0
    while at < len(text):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append((text[at : at + size], False))
        at += size
    assert drawn(*pieces) == shown(text)


@given(texts)
def test_blocks_end_before_a_line_and_only_grow(text: str) -> None:
    all_ends = finished(text)
    for n in range(len(text) + 1):
        ends = finished(text[:n])
        assert ends == all_ends[: len(ends)]
        assert all(text[end - 1] == "\n" for end in ends)


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=WIDTH), min_size=1, max_size=40))
def test_no_word_is_broken(words: list[str]) -> None:
    for thinking in (False, True):
        assert drawn((" ".join(words), thinking)).split() == words


def test_line_breaks_html_and_addresses_stay() -> None:
    assert shown("one\ntwo").split("\n") == ["one", "two"]
    assert "<b>x</b> and Vec<T>" in shown("<b>x</b> and Vec<T>")
    assert "<div>" in shown("<div>\nhidden?\n</div>")
    assert "https://a.example/b" in shown("see [this](https://a.example/b)")
    assert "x = [1]" in shown("```python\nx = [1]\n\ny = 2\n```")
    assert "[bold]" in shown("[bold]no markup of rich[/bold]")


def test_markdown_is_drawn() -> None:
    text = shown(MARKDOWN)
    assert "**" not in text
    assert "|---" not in text
    assert "return 42" in text
    assert " • inside" in text


def test_nothing_has_an_effect_on_the_terminal() -> None:
    for thinking in (False, True):
        assert "\x1b" not in drawn(("a\x1b]52;c;aGk=\x07b \x1b[2J `\x1b[3J`", thinking))


def test_thinking_is_a_block_of_its_own() -> None:
    assert drawn(("I *think* so.\n\n", True), ("\n\nYes.", False)) == "I *think* so.\n\nYes."
    assert drawn(("hm", True), ("", False), ("Yes.", False)) == "hm\n\nYes."
    assert drawn() == ""
    assert drawn(("hm", True)) == "hm"


@pytest.mark.parametrize("lines", [5, 500])
def test_a_long_block_shows_its_end(lines: int) -> None:
    """On a terminal, the block in progress never needs more lines than the screen has."""
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, height=20, force_terminal=True, color_system=None)
    screen = Rendered(console)
    screen.add("x\n" * lines + "end", False)
    height = len(console.render_lines(screen._tail()))
    assert height <= min(lines + 1, 17)
    assert "end" in "".join(segment.text for line in console.render_lines(screen._tail()) for segment in line)
