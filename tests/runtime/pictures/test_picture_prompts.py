"""Prompts with pictures: what stands in their place, positions, boundaries, and what cannot be honoured."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import odd_pictures
import pytest

from shoestring.errors import CapacityError, RequestError
from shoestring.media.settings import QwenSettings, checked_wishes, wished
from shoestring.media.source import Source
from shoestring.runtime.model import Model
from shoestring.runtime.pictures.reader import PictureReader
from shoestring.runtime.prompt import Prompt
from shoestring.testing import Family, scripted_model

FAMILIES: tuple[Family, ...] = ("qwen3_5", "llama4")


def png(height: int = 90, width: int = 120, seed: int = 0) -> bytes:
    return odd_pictures.saved(odd_pictures.rgb(height, width, seed=seed), "PNG")


def image(data: Any) -> dict[str, Any]:
    return {"type": "image", "image": data}


def ask(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]}


def prompt(model: Model, *messages: dict[str, Any]) -> Prompt:
    return model.prompt(messages=messages)


def placeholder(model: Model) -> int:
    (token,) = model.encode("<|image_pad|>" if model.family == "qwen3_5" else "<|patch|>", allow_special=True)[-1:]
    return token


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Model:
    return scripted_model(family=request.param)


def test_every_form_of_a_picture_is_the_same_prompt(model: Model, tmp_path: Path) -> None:
    data = png()
    path = tmp_path / "a.png"
    path.write_bytes(data)
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    forms = [
        image(data), image(path), image(str(path)), image(url), image(Source("image", data)),
        {"type": "image_url", "image_url": {"url": url}}, {"type": "image_url", "image_url": url},
    ]  # fmt: skip
    prompts = [prompt(model, ask(form, "what?")) for form in forms]
    assert all(each.rows == prompts[0].rows for each in prompts)
    assert prompts[0].tokens.count(placeholder(model)) == sum(row < 0 for row in prompts[0].rows)
    assert len(prompts[0].tokens) - len(prompt(model, ask("what?")).tokens) == model.vision.token_count(
        Source("image", data)
    )


@pytest.mark.parametrize("value", ["https://example.org/a.png", "data:image/png,abc", "data:image/png;base64,@@"])
def test_what_is_no_picture_is_refused(value: str) -> None:
    with pytest.raises(RequestError):
        prompt(scripted_model(), ask(image(value)))


def test_a_client_of_a_server_names_no_file() -> None:
    """Only the Python API reads paths: `prompt_of` takes what the server makes of JSON."""
    from shoestring.runtime.request import ChatRequest

    for part in (image("/etc/passwd"), {"type": "image"}, image(None)):
        with pytest.raises(RequestError, match="no picture or video in it"):
            scripted_model().prompt_of(ChatRequest((ask(part, "what?"),)))


def test_placeholders_that_a_user_types_stay_text(model: Model) -> None:
    """Known mistake 10."""
    typed = "<|vision_start|><|image_pad|><|vision_end|><|image|><|patch|><|video_pad|>"
    found = prompt(model, ask(typed, image(png()), typed))
    rows = model.prompt(messages=[ask(image(png()))]).tokens.count(placeholder(model))
    assert found.tokens.count(placeholder(model)) == rows
    assert model.decode(found.tokens).count(typed) == 2


def test_pictures_of_equal_size_have_other_rows(model: Model) -> None:
    """Known mistake 9: content and target size are in every row's id."""
    data = png(640, 640)
    rows = [
        {row for row in prompt(model, ask(part)).rows if row < 0}
        for part in (image(data), image(png(640, 640, seed=1)), {**image(data), "detail": "low"})
    ]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert len(rows[0]) == prompt(model, ask(image(data))).tokens.count(placeholder(model)), "each row has its own id"


def slow_positions(found: Prompt) -> list[tuple[int, int, int]]:
    """Row by row, as the paper tells it."""
    positions: list[tuple[int, int, int]] = []
    parts = {part.start: part.part for part in found.pictures.parts} if found.pictures else {}
    while len(positions) < len(found.tokens):
        now = max((max(p) for p in positions), default=-1) + 1
        part = parts.get(len(positions))
        if part is None:
            positions.append((now, now, now))
        else:
            positions += [(now, now + y, now + x) for y in range(part.rows) for x in range(part.columns)]
    return positions


def test_positions_of_qwen_go_on_behind_the_largest() -> None:
    """Known mistake 9: the offset of later text, which every picture changes, in later turns too."""
    model = scripted_model()
    turns = [ask("a", image(png()), "b", image(png(64, 300)), "c"), ask("d", role="assistant"), ask(image(png()), "e")]
    for count in (1, 3):
        found = prompt(model, *turns[:count])
        assert found.rotary_positions.tolist() == [list(p) for p in slow_positions(found)]
        assert found.pictures is not None
        later = found.pictures.rotary_positions(len(found.tokens) - 1, len(found.tokens) + 2)
        assert (np.diff(later, axis=0) == 1).all()
    assert prompt(model, *turns).pictures.offset < prompt(model, turns[0]).pictures.offset < 0  # type: ignore[union-attr]


def test_positions_of_llama_are_those_of_text() -> None:
    found = prompt(scripted_model(family="llama4"), ask("a", image(png(400, 700)), "b"))
    assert found.rotary_positions.tolist() == [[i] * 3 for i in range(len(found.tokens))]


def test_a_request_leaves_no_offset_behind() -> None:
    """Known mistake 9: a text after a picture's request has the positions of text."""
    model = scripted_model()
    before = prompt(model, ask("hello"))
    prompt(model, ask(image(png())))
    after = prompt(model, ask("hello"))
    assert after == before
    assert after.rotary_positions.tolist() == [[i] * 3 for i in range(len(after.tokens))]


def test_boundaries_lie_behind_pictures(model: Model) -> None:
    first, second = prompt(model, ask(image(png()), "why?")), prompt(model, ask(image(png()), "how?"))
    shared = next(i for i, (a, b) in enumerate(zip(first.rows, second.rows, strict=False)) if a != b)
    ends = [part.end for part in first.pictures.parts] if first.pictures else []
    assert any(max(ends) <= boundary <= shared for boundary in first.boundaries)
    assert first.boundaries == tuple(sorted(first.boundaries))


def test_a_second_question_computes_little(model: Model) -> None:
    def usage(question: str) -> Any:
        stream = model.generate(messages=[ask(image(png(640, 640)), question)], max_tokens=1)
        stream.texts()
        return stream.usage

    assert usage("why?").cached_tokens == 0
    second = usage("how?")
    assert second.prompt_tokens - second.cached_tokens < 40


def test_pictures_in_results_of_tools(model: Model) -> None:
    call = {"type": "function", "function": {"name": "look", "arguments": {}}}
    messages = [ask("look"), {"role": "assistant", "content": "", "tool_calls": [call]}, ask(image(png()), role="tool")]
    assert prompt(model, *messages).tokens.count(placeholder(model)) == prompt(model, ask(image(png()))).tokens.count(
        placeholder(model)
    )


def test_pictures_that_a_template_loses_move_to_the_user() -> None:
    from shoestring.runtime.pictures.messages import out_of_tools

    part = Source("image", png()).part
    moved = out_of_tools([ask("x"), ask("seen", part, role="tool"), ask(part, role="tool"), ask("y")])
    assert [message["role"] for message in moved] == ["user", "tool", "tool", "user", "user"]
    assert moved[3]["content"] == [part, part]
    assert out_of_tools([ask(part, role="tool")])[-1] == {"role": "user", "content": [part]}


def test_too_many_tokens_are_refused_before_pixels_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoestring.media.prepared.resized_picture", lambda *_: pytest.fail("a pixel was decoded"))
    with pytest.raises(CapacityError):
        prompt(scripted_model(context=300), ask(image(png(640, 640)), "what?"))


def test_damaged_data_are_refused_before_the_engine(model: Model) -> None:
    with pytest.raises(RequestError, match="damaged"):
        model.generate(messages=[ask(image(png()[:-2000]), "what?")])


def test_a_model_without_a_tower_says_so() -> None:
    model = scripted_model()
    blind = Model(model.engine, model.tokenizer, model.template, family="qwen3_5")
    with pytest.raises(RequestError, match="text alone"):
        prompt(blind, ask(image(png())))
    assert not blind.vision.sees


def test_a_picture_that_takes_too_much_memory_is_refused_and_told_what_to_do() -> None:
    def reader(**wishes: Any) -> PictureReader:
        settings = wished(QwenSettings(), checked_wishes(wishes.get("tokens"), None, None))
        return PictureReader("qwen3_5", settings, lambda text, special: [0], most_patches=4096)

    small, large = (Source("image", png(side, side), name="x.png") for side in (1024, 1056))
    assert reader().token_count(small) == 1026
    said = r"x\.png takes 4,356 patches, and there is memory for 4,096: .* max_image_tokens 1,026"
    with pytest.raises(RequestError, match=said):
        reader().prepare(large)
    assert reader(tokens=1026).token_count(large) <= 1026


def test_low_detail_takes_few_tokens(model: Model) -> None:
    most = 258 if model.family == "qwen3_5" else 147
    data = png(700, 700)
    assert model.vision.token_count(Source("image", data, "low")) <= most
    assert model.vision.token_count(Source("image", data, "high")) > most


def test_logits_of_a_prompt(model: Model) -> None:
    found = prompt(model, ask(image(png()), "what?"))
    logits = model.logits(found)
    assert logits.shape == (len(found.tokens), model.vocab_size)
    assert np.array_equal(model.logits(found, rows=[-1]), logits[-1:])
    with pytest.raises(RequestError, match="must lie between 0 and"):
        model.logits(found.rows)


def test_decoded_pixels_come_again_when_rows_are_missing(model: Model) -> None:
    """The second prompt is not decoded; its rows are still right when nothing is cached any more."""
    message = ask(image(png(100, 340)), "what?")
    expected = model.logits(prompt(model, message), rows=[-1])
    again = prompt(model, message)
    fresh = scripted_model(family=model.family)  # type: ignore[arg-type]
    assert np.array_equal(fresh.logits(again, rows=[-1]), expected)
