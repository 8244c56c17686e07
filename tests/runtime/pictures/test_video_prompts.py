"""Videos in prompts: the trained form of their text, positions, fps and frames, and how they are read again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import clips
import numpy as np
import pytest
from test_picture_prompts import ask, prompt, slow_positions

from shoestring.errors import RequestError
from shoestring.media.prepared import Part
from shoestring.media.settings import QwenSettings, Wishes, wished
from shoestring.media.source import Source
from shoestring.runtime.model import Model
from shoestring.runtime.pictures.reader import PictureReader
from shoestring.testing import scripted_model


@pytest.fixture(scope="module")
def clip() -> dict[str, Any]:
    return Source("video", clips.clip("ffv1.mkv", count=25), name="the clip").part


def with_wishes(wishes: Wishes) -> Model:
    """A model whose user has wishes."""
    model = scripted_model()
    reader = PictureReader("qwen3_5", wished(QwenSettings(), wishes), model.tokenizer.encode)
    return Model(model.engine, model.tokenizer, model.template, family="qwen3_5", vision=reader)


def test_the_trained_form(clip: dict[str, Any]) -> None:
    """Known mistakes 5 and 6: each pair has its time and markers of its own, and one more pair of markers is around."""
    model = scripted_model()
    found = prompt(model, ask(clip, "what?"))
    assert found.pictures is not None
    rows = "<|video_pad|>" * found.pictures.parts[0].part.count
    times = ["<0.3 seconds>", "<1.5 seconds>", "<2.4 seconds>"]
    body = "".join(f"{time}<|vision_start|>{rows}<|vision_end|>" for time in times)
    text = model.decode(found.tokens)
    assert f"<|im_start|>user\n<|vision_start|>{body}<|vision_end|>what?<|im_end|>" in text
    assert model.vision.token_count(clip["video"]) == len(
        model.encode("<|vision_start|>" + body + "<|vision_end|>", allow_special=True)
    )


def test_positions_count_each_pair_as_a_picture(clip: dict[str, Any]) -> None:
    """Known mistake 6: time does not stand in the positions, as it did with Qwen2-VL; it stands in the text."""
    found = prompt(scripted_model(), ask("a", clip, "b", clip), ask("c", role="assistant"), ask(clip))
    assert found.rotary_positions.tolist() == [list(p) for p in slow_positions(found)]


def test_rows_of_equal_frames_have_their_own_ids(clip: dict[str, Any]) -> None:
    found = prompt(scripted_model(), ask(clip))
    rows = [row for row in found.rows if row < 0]
    assert len(rows) == len(set(rows))


def test_wishes(clip: dict[str, Any]) -> None:
    def parts(wishes: Wishes) -> tuple[Part, ...]:
        return with_wishes(wishes).vision.prepare(clip["video"]).parts

    def frames(wishes: Wishes) -> int:
        return 2 * len(parts(wishes))

    assert frames(Wishes()) == 6  # 2.5 seconds at 2 frames a second, the last one repeated
    assert frames(Wishes(video_fps=4)) == 10
    assert frames(Wishes(video_fps=4, frames=6)) == 6
    assert parts(Wishes(frames=3))[0].key != parts(Wishes(frames=4))[0].key, "settings are in every row's id"


def test_a_second_question_reads_no_frame(clip: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = scripted_model()
    expected = model.logits(prompt(model, ask(clip, "why?")), rows=[-1])
    fresh = scripted_model()
    fresh.generate(messages=[ask(clip, "how?")], max_tokens=1).texts()
    monkeypatch.setattr("shoestring.media.prepared.decode_video", lambda *_: pytest.fail("a frame was decoded"))
    assert np.array_equal(fresh.logits(prompt(fresh, ask(clip, "why?")), rows=[-1]), expected)


def test_frames_are_read_again_in_order_when_rows_are_gone(clip: dict[str, Any]) -> None:
    model = scripted_model(picture_bytes=0)
    first = prompt(model, ask(clip, "why?"))
    expected = model.logits(first, rows=[-1])
    again = prompt(model, ask(clip, "why?"))  # known to be sound, so nothing is decoded beforehand
    other = scripted_model(picture_bytes=0)
    assert np.array_equal(other.logits(again, rows=[-1]), expected)
    assert np.array_equal(other.logits(again, rows=[0, len(again.tokens) - 1])[1:], expected), "a part is read twice"


def test_llama_reads_no_video(clip: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="Llama 4 reads none"):
        prompt(scripted_model(family="llama4"), ask(clip))


def test_a_video_given_as_a_picture_is_refused(clip: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="is a video"):
        prompt(scripted_model(), ask(replace(clip["video"], kind="image").part))
