"""What plan says about pictures: the tower's memory is counted, and the tokens are the processors' own."""

from __future__ import annotations

import pytest

from shoestring.catalogue.load import load_catalogue
from shoestring.planning.advice.details import details
from shoestring.planning.advice.pictures import picture_tokens, pictures, video_tokens
from shoestring.planning.plan import plan
from shoestring.sizes import human

CATALOGUE = load_catalogue()


@pytest.mark.parametrize(("model", "tokens"), [("qwen3.5-0.8b", "1,026 tokens"), ("llama-4-scout", "2,467 tokens")])
def test_the_tower_counts_in_memory_and_a_picture_in_the_context(model: str, tokens: str) -> None:
    planned = plan(model, hardware="cpu:16c-4ch-ddr5+512g")
    (a,) = planned.assessments
    said = pictures(a)
    assert said in details(planned, a)
    assert said is not None
    tower = a.need.sizes.of("vision")
    assert tower > 2 * sum(s.parameters for s in a.candidate.shapes if s.part == "vision")
    assert human(tower) in said.text
    assert a.need.always_bytes > tower
    assert tokens in said.text
    assert ("minute of 720p video" in said.text) == (model != "llama-4-scout")


def test_tokens_of_the_named_picture_and_video() -> None:
    assert picture_tokens("qwen3_5") == 1024 + 2
    assert picture_tokens("llama4") == 144 * 17 + 16 + 3
    assert 10_000 < video_tokens() < 20_000
