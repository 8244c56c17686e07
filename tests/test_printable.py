"""printable.py: no control or bidirectional character reaches a terminal."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from shoestring.printable import printable, quoted, shortened


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in printable(text))
    assert not any(unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
                   for c in printable(text))  # fmt: skip
    assert len(shortened(text, 20)) <= 20


def test_ordinary_text_stays() -> None:
    assert printable("grüße, 世界 👍 עברית") == "grüße, 世界 👍 עברית"
    assert printable("a\tb\nc", lines=True) == "a\tb\nc"
    assert printable("\x1b]52;c;\x07") == "\\x1b]52;c;\\x07"
    assert shortened("a\nb") == "a\\nb"


def test_quoted_values_are_escaped_once() -> None:
    assert quoted("a\x1bb") == "'a\\x1bb'"
    assert quoted("it's") == '"it\'s"'
    assert quoted(["x"]) == "a list"
    assert quoted(1.5) == "1.5"
