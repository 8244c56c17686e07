"""Real clients send pictures, each in its own form; the model sees the same picture through all of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from questions import BLUE, RED, WEATHER_SCHEMA, Seen, seen_in

from shoestring.testing import Family

anthropic = pytest.importorskip("anthropic", reason="the client, PyPI's anthropic, is not installed")
ollama = pytest.importorskip("ollama", reason="the client, PyPI's ollama, is not installed")
openai = pytest.importorskip("openai", reason="the client, PyPI's openai, is not installed")

ASK = "What is this?"


def encoded(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def data_url(picture: bytes) -> str:
    return f"data:image/png;base64,{encoded(picture)}"


def of_openai(picture: bytes, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(picture), **more}}


def of_anthropic(picture: bytes) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": encoded(picture)}}


@pytest.fixture(scope="module")
def talks(url: str, model: str) -> Iterator[tuple[Any, Any, Any]]:
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as one,
        anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as two,
    ):
        three = ollama.Client(host=url, trust_env=False)
        yield one, two, three
        three._client.close()


@pytest.fixture(scope="module")
def seen(talks: tuple[Any, Any, Any], model: str) -> dict[bytes, Seen]:
    """What the model sees of a picture, by OpenAI's client."""

    def see(picture: bytes) -> Seen:
        content = [of_openai(picture), {"type": "text", "text": ASK}]
        answer = talks[0].chat.completions.create(model=model, messages=[{"role": "user", "content": content}])
        return seen_in(answer.choices[0].message.content)

    return {picture: see(picture) for picture in (RED, BLUE)}


def test_different_pictures_are_different(seen: dict[bytes, Seen], family: Family) -> None:
    assert seen[RED] != seen[BLUE]
    assert seen[RED].rows == seen[BLUE].rows == (70 if family == "qwen3_5" else 144)


def test_anthropic(talks: tuple[Any, Any, Any], model: str, seen: dict[bytes, Seen]) -> None:
    content = [of_anthropic(RED), {"type": "text", "text": ASK}, of_anthropic(BLUE)]
    asked = {"model": model, "messages": [{"role": "user", "content": content}]}
    message = talks[1].messages.create(max_tokens=4000, **asked)
    both = Seen(seen[RED].first, seen[BLUE].last, 2 * seen[RED].rows)
    assert seen_in(message.content[0].text) == both
    usage = message.usage
    prompt = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
    assert talks[1].messages.count_tokens(**asked).input_tokens == prompt > both.rows
    with talks[1].messages.stream(max_tokens=4000, **asked) as stream:
        assert seen_in("".join(stream.text_stream)) == both


def test_anthropic_reads_a_file_itself(
    talks: tuple[Any, Any, Any], model: str, seen: dict[bytes, Seen], tmp_path: Path
) -> None:
    """Its client encodes an open file."""
    source = {"type": "base64", "media_type": "image/png", "data": io.BytesIO(RED)}
    messages = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    message = talks[1].messages.create(model=model, max_tokens=4000, messages=messages)
    assert seen_in(message.content[0].text) == seen[RED]


@pytest.mark.parametrize("form", ["bytes", "path", "base64"])
def test_ollama(talks: tuple[Any, Any, Any], model: str, seen: dict[bytes, Seen], form: str, tmp_path: Path) -> None:
    file = tmp_path / "red.png"
    file.write_bytes(RED)
    image = {"bytes": RED, "path": file, "base64": encoded(RED)}[form]
    answer = talks[2].chat(model=model, messages=[{"role": "user", "content": ASK, "images": [image]}])
    assert seen_in(answer.message.content) == seen[RED]
    assert answer.prompt_eval_count > seen[RED].rows
    assert seen_in(talks[2].generate(model=model, prompt=ASK, images=[image]).response) == seen[RED]
    assert "vision" in talks[2].show(model).capabilities


def test_langchain(url: str, model: str, seen: dict[bytes, Seen]) -> None:
    langchain = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
    messages = pytest.importorskip("langchain_core.messages")
    chat = langchain.ChatOpenAI(base_url=f"{url}/v1", api_key="none", model=model, max_retries=0)
    for part in (of_openai(RED), {"type": "image", "base64": encoded(RED), "mime_type": "image/png"}):
        answer = chat.invoke([messages.HumanMessage(content=[part, {"type": "text", "text": ASK}])])
        assert seen_in(answer.content) == seen[RED]
    call = {"name": "get_weather", "args": {}, "id": "c1", "type": "tool_call"}
    history = [
        messages.HumanMessage(content="hi"),
        messages.AIMessage(content="", tool_calls=[call]),
        messages.ToolMessage(content=[of_openai(BLUE)], tool_call_id="c1"),
    ]
    assert seen_in(chat.invoke(history).content) == seen[BLUE]


def test_pictures_in_tool_results(
    talks: tuple[Any, Any, Any], model: str, seen: dict[bytes, Seen], family: Family
) -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    result = {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "saved"}, of_openai(RED)]}
    history = [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": calls}, result]
    answer = talks[0].chat.completions.create(model=model, messages=history)
    assert seen_in(answer.choices[0].message.content) == seen[RED]
    use = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
    block = {"type": "tool_result", "tool_use_id": "t", "content": [of_anthropic(BLUE)]}
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [use]}]
    messages.append({"role": "user", "content": [block]})
    tool = {"name": "look", "description": "Looks.", "input_schema": WEATHER_SCHEMA}
    message = talks[1].messages.create(model=model, max_tokens=4000, messages=messages, tools=[tool])
    assert seen_in(message.content[0].text) == seen[BLUE]


def test_usage_counts_the_rows_and_the_second_question_finds_them(
    talks: tuple[Any, Any, Any], model: str, seen: dict[bytes, Seen]
) -> None:
    content = [{"type": "text", "text": "A beginning of this test alone."}, of_openai(RED)]
    messages: list[Any] = [{"role": "user", "content": content}]
    first = talks[0].chat.completions.create(model=model, messages=messages)
    assert first.usage.prompt_tokens > seen[RED].rows + 31
    messages += [{"role": "assistant", "content": first.choices[0].message.content}]
    messages += [{"role": "user", "content": "And what else?"}]
    second = talks[0].chat.completions.create(model=model, messages=messages)
    assert second.usage.prompt_tokens_details.cached_tokens > seen[RED].rows
    assert second.choices[0].message.content == "You said: And what else?"


def test_low_detail_takes_fewer_tokens(talks: tuple[Any, Any, Any], model: str, family: Family) -> None:
    from odd_pictures import noise, saved
    from PIL import Image

    large = saved(Image.fromarray(np.ascontiguousarray(noise(1000, 1400, 3, 1))), "PNG")

    def tokens(**detail: Any) -> int:
        messages = [{"role": "user", "content": [of_openai(large, **detail)]}]
        answer = talks[0].chat.completions.create(model=model, messages=messages, max_tokens=1)
        return int(answer.usage.prompt_tokens)

    low, high, usual = tokens(detail="low"), tokens(detail="high"), tokens()
    assert low < 350 < 1200 < high == usual


def test_videos(url: str, talks: tuple[Any, Any, Any], model: str, family: Family) -> None:
    clips = pytest.importorskip("clips")
    url_of = f"data:video/mp4;base64,{encoded(clips.clip('h264.mp4', 12))}"
    messages = [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": url_of}}]}]
    if family == "llama4":
        with pytest.raises(openai.BadRequestError, match="Llama 4 reads none"):
            talks[0].chat.completions.create(model=model, messages=messages)
        return
    answer = talks[0].chat.completions.create(model=model, messages=messages)
    assert seen_in(answer.choices[0].message.content).rows >= 4
    cost = httpx.post(f"{url}/media/tokens", json={"video_url": url_of}).json()
    assert (cost["width"], cost["height"], cost["seconds"]) == (64, 48, 1.2)
    assert 0 < answer.usage.prompt_tokens - cost["tokens"] < 40


def test_errors_are_the_clients_own(talks: tuple[Any, Any, Any], model: str) -> None:
    messages = [{"role": "user", "content": [of_openai(b"%PDF-1.7")]}]
    with pytest.raises(openai.BadRequestError, match=r"messages\.0\.content\.0\.image_url is a PDF document") as caught:
        talks[0].chat.completions.create(model=model, messages=messages)
    assert (caught.value.code, caught.value.param) == ("unsupported_content", "messages.0.content.0.image_url")
    with pytest.raises(anthropic.BadRequestError, match="is a PDF document"):
        talks[1].messages.create(
            model=model, max_tokens=5, messages=[{"role": "user", "content": [of_anthropic(b"%PDF-1.7")]}]
        )
    with pytest.raises(ollama.ResponseError, match="is a PDF document"):
        talks[2].chat(model=model, messages=[{"role": "user", "content": "", "images": [b"%PDF-1.7"]}])
