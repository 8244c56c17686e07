"""bounded_json.py: the count over raw bytes agrees with the parsed value."""

import json
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


def test_the_number_of_values_is_bounded() -> None:
    check("[1,2,3]", values=3)
    with pytest.raises(BoundError, match="more than 3 values"):
        check("[[],[],[]]", values=3)
    check(json.dumps("[" * 1000 + "," * 1000), depth=0, values=0)
