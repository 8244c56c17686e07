"""What the model sees of a tool's result that is neither text nor a picture, in each API."""

from __future__ import annotations

from typing import Any

import pytest

from shoestring.server.anthropic.requests import chat_request as of_anthropic
from shoestring.server.anthropic.types import MessagesBody
from shoestring.server.left_out import document_text, file_text, left_out
from shoestring.server.openai.chat_requests import chat_request as of_openai
from shoestring.server.openai.chat_types import ChatBody

HI = {"role": "user", "content": "hi"}


def anthropic(*parts: dict[str, Any], role: str = "result") -> Any:
    result = {"type": "tool_result", "tool_use_id": "t", "content": list(parts)}
    messages = [HI, {"role": "user", "content": [result] if role == "result" else list(parts)}]
    return of_anthropic(MessagesBody.model_validate({"model": "m", "max_tokens": 1, "messages": messages})).messages[-1]


def openai(*parts: dict[str, Any]) -> Any:
    tool = {"role": "tool", "tool_call_id": "c", "content": list(parts)}
    return of_openai(ChatBody.model_validate({"messages": [HI, tool]}), "").messages[-1]


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def test_a_line_says_what_was_left_out() -> None:
    line = "[a sound was left out: only text can be read here]"
    assert openai(text("saved"), {"type": "input_audio"})["content"] == f"saved\n{line}"
    pdf = {
        "type": "document",
        "title": "a.pdf",
        "source": {"type": "base64", "data": "", "media_type": "application/pdf"},
    }
    assert anthropic(pdf)["content"] == "[a document (a.pdf) was left out: only text can be read here]"


def test_texts_alone_are_joined_as_ever() -> None:
    assert openai(text("a"), text("b"))["content"] == "ab"
    assert anthropic(text("a"), text("b"))["content"] == "a\nb"


def test_the_line_of_a_hostile_part_is_one_short_line() -> None:
    line = left_out("x\n\x1b[2J" * 1000, "n\n" * 1000)
    assert "\n" not in line
    assert "\x1b" not in line
    assert len(line) < 400


@pytest.mark.parametrize("role", ["result", "user"])
def test_documents_of_text_are_text(role: str) -> None:
    plain = {"type": "document", "title": "t", "source": {"type": "text", "media_type": "text/plain", "data": "hello"}}
    assert anthropic(plain, role=role)["content"] == "t\nhello"
    parts = {"type": "document", "source": {"type": "content", "content": [text("a"), text("b")]}}
    assert anthropic(parts, role=role)["content"] == "a\nb"
    whole = {"type": "document", "source": {"type": "content", "content": "a"}}
    assert anthropic(whole, role=role)["content"] == "a"
    found = {"type": "search_result", "source": "s", "title": "t", "content": [text("a")]}
    assert anthropic(found, role=role)["content"] == "t\ns\na"


def test_files_of_text_are_text() -> None:
    data = "data:text/markdown;base64,aGVsbG8="
    assert openai({"type": "file", "file": {"file_data": data, "filename": "a.md"}})["content"] == "hello"


@pytest.mark.parametrize(
    "data",
    [
        None,
        5,
        "",
        "data:text/plain,hello",
        "data:text/plain;base64,*",
        "data:text/plain;base64,/w==",
        "data:image/png;base64,aGVsbG8=",
    ],
)
def test_other_files_are_left_out(data: Any) -> None:
    assert file_text({"file_data": data}) is None
    assert "a.md" in openai({"type": "file", "file": {"file_data": data, "filename": "a.md"}})["content"]


@pytest.mark.parametrize(
    "source",
    [None, 5, {}, {"type": "url", "url": "x"}, {"type": "text", "data": 5}, {"type": "content", "content": [5]}],
)
def test_other_documents_have_no_text(source: Any) -> None:
    assert document_text({"type": "document", "source": source}) is None


def test_a_documents_picture_is_not_dropped_silently() -> None:
    mixed = {"type": "document", "source": {"type": "content", "content": [text("a"), {"type": "image", "source": {}}]}}
    assert anthropic(mixed)["content"] == "[a document was left out: only text can be read here]"
