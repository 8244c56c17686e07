"""Marked text answers every question as plain text does, and its parts keep their marks."""

import json
import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoestring.checkpoint.text.marks import Marked, Marks

TOKENS = ("<|im_end|>", "<think>", "</think>", "[END]")
MARKS = Marks.for_tokens(TOKENS)

texts = st.lists(st.sampled_from(["<", ">", "[", "]", "<think>", "</think>", " ", "\n", "a", "w", "é", "ab"])).map(
    "".join
)
#: method → strategies of its arguments
METHODS: dict[str, st.SearchStrategy[tuple[Any, ...]]] = {
    **dict.fromkeys(
        ("find", "rfind", "count", "startswith", "endswith", "removeprefix", "removesuffix"), st.tuples(texts)
    ),
    **dict.fromkeys(("split", "rsplit"), st.tuples(st.none() | texts.filter(bool), st.integers(-1, 3))),
    **dict.fromkeys(("partition", "rpartition"), st.tuples(texts.filter(bool))),
    **dict.fromkeys(("strip", "lstrip", "rstrip"), st.tuples(st.none() | texts)),
    **dict.fromkeys(("upper", "lower", "splitlines", "isspace", "isalpha", "__len__"), st.just(())),
    "replace": st.tuples(texts, texts, st.integers(-1, 3)),
    "__contains__": st.tuples(texts),
    "__getitem__": st.tuples(st.slices(6)),
    "__add__": st.tuples(texts),
    "__eq__": st.tuples(texts),
    "join": st.tuples(st.lists(texts)),
}


def plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    return MARKS.plain(value)


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None)  # the machine may be busy
@given(data=st.data())
def test_methods_answer_as_plain_text_does(method: str, data: st.DataObject) -> None:
    text = data.draw(texts)
    arguments = data.draw(METHODS[method])
    marked = MARKS.mark(text)
    for given_marked in (False, True):
        passed = tuple(map(MARKS.mark, arguments)) if given_marked else arguments
        assert plain(getattr(marked, method)(*passed)) == getattr(text, method)(*arguments)


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne])
@settings(deadline=None)  # the machine may be busy
@given(a=texts, b=texts)
def test_comparisons_answer_as_plain_text_does(compare: Callable[[str, str], bool], a: str, b: str) -> None:
    for left, right in ((MARKS.mark(a), b), (a, MARKS.mark(b)), (MARKS.mark(a), MARKS.mark(b))):
        assert compare(left, right) == compare(a, b)


@settings(deadline=None)  # the machine may be busy
@given(texts, st.integers(0, 5))
def test_no_operation_takes_marks_off(text: str, at: int) -> None:
    marked = MARKS.mark(text)
    made = [
        *(marked.strip(), marked[at:], str(marked), f"{marked}", "x" + marked + "y", marked.replace("a", "b")),
        *("".join(marked.split("a")), "".join(marked), marked.upper(), marked * 2, f"{marked}", marked.title()),
        *(marked.partition("<think>")[0], *marked.rsplit("</think>", 1), *marked.splitlines(), marked.center(20)),
        *(json.dumps(marked, ensure_ascii=False), "-".join([marked, marked]), "%s" % marked),  # noqa: UP031, as templates do
    ]
    for result in made:
        assert not any(character in "<>[]" for character in str.__str__(result))


@settings(deadline=None)  # the machine may be busy
@given(texts)
def test_marks_come_off(text: str) -> None:
    marked = MARKS.mark({"k" + text: [text, 1, None, True, {"x": text}]})
    assert {plain(k): [plain(x) for x in v[:4]] for k, v in marked.items()} == {"k" + text: [text, 1, None, True]}
    assert hash(MARKS.mark(text)) == hash(text)
    assert MARKS.mark(text) == text
    assert text == MARKS.mark(text)
    assert MARKS.mark(text) in {text: 1}


def test_marks_avoid_what_is_there_and_leave_json_alone() -> None:
    first = Marks.for_tokens(["<a>"])
    again = Marks.for_tokens(["<a>"], avoid="".join(map(chr, first.to_plain)))
    assert not set(first.to_plain) & set(again.to_plain)
    assert set(Marks.for_tokens(['"x"', "\\y"]).to_private) == {ord("x"), ord("y")}
    assert isinstance(first.mark("a<b"), Marked)
    assert type(first.mark("ab")) is str
