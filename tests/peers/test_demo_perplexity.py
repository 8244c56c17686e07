"""The converted demo model here, the original in llama.cpp: the same numbers on real text.

The passage is the opening of Herman Melville's Moby-Dick (1851). `bench/perplexity.py` does this on longer texts.
"""

from __future__ import annotations

from pathlib import Path

import llama_cpp
import numpy as np
import pytest

import shoestring
from shoestring import demo
from shoestring.checkpoint.open import open_checkpoint
from shoestring.checkpoint.tokenizer import Tokenizer
from shoestring.errors import CheckpointError

PASSAGE = """\
Call me Ishmael. Some years ago—never mind how long precisely—having little or no money in my purse, and nothing \
particular to interest me on shore, I thought I would sail about a little and see the watery part of the world. It \
is a way I have of driving off the spleen and regulating the circulation. Whenever I find myself growing grim about \
the mouth; whenever it is a damp, drizzly November in my soul; whenever I find myself involuntarily pausing before \
coffin warehouses, and bringing up the rear of every funeral I meet; and especially whenever my hypos get such an \
upper hand of me, that it requires a strong moral principle to prevent me from deliberately stepping into the \
street, and methodically knocking people's hats off—then, I account it high time to get to sea as soon as I can. \
This is my substitute for pistol and ball. With a philosophical flourish Cato throws himself upon his sword; I \
quietly take to the ship. There is nothing surprising in this. If they but knew it, almost all men in their degree, \
some time or other, cherish very nearly the same feelings towards the ocean with me.

There now is your insular city of the Manhattoes, belted round by wharves as Indian isles by coral reefs—commerce \
surrounds it with her surf. Right and left, the streets take you waterward. Its extreme downtown is the battery, \
where that noble mole is washed by waves, and cooled by breezes, which a few hours previous were out of sight of \
land. Look at the crowds of water-gazers there.
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    try:
        original = open_checkpoint(demo.source_path())
    except CheckpointError as error:
        pytest.skip(str(error))
    demo.convert(original, tmp_path / "demo.gguf")
    return tmp_path / "demo.gguf"


def test_same_distributions(path: Path) -> None:
    tokens = Tokenizer.from_checkpoint(open_checkpoint(path)).encode(PASSAGE)[:256]
    theirs = llama_cpp.logits(demo.source_path(), np.asarray(tokens, np.int32))
    ours = shoestring.load(path, context=512).logits(tokens)

    def losses(
        logits: np.ndarray[tuple[int, int], np.dtype[np.float32]],
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        wide = logits[:-1].astype(np.float64)
        peak = wide.max(axis=1)
        return peak + np.log(np.exp(wide - peak[:, None]).sum(axis=1)) - wide[np.arange(len(wide)), tokens[1:]]

    perplexities = [float(np.exp(losses(logits).mean())) for logits in (ours, theirs)]
    assert 5 < perplexities[1] < 60
    assert abs(perplexities[0] / perplexities[1] - 1) < 0.005
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean() >= 0.97
