"""The converted demo model here, the original in llama.cpp: the same numbers on real text.

The passage is the opening of Herman Melville's Moby-Dick (1851). `bench/perplexity.py` does this on longer texts.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

import shoestring
from shoestring.checkpoint.open import open_checkpoint
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.errors import CheckpointError
from shoestring.samples import smollm_as_llama4

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
BENCH = Path(__file__).parents[2] / "bench"

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
        original = open_checkpoint(smollm_as_llama4.source_path())
    except CheckpointError as error:
        pytest.skip(str(error))
    smollm_as_llama4.convert(original, tmp_path / "demo.gguf")
    return tmp_path / "demo.gguf"


def test_same_distributions(path: Path) -> None:
    """Few tokens, so each position is compared; perplexities agree to 0.5 % only over thousands (below)."""
    tokens = Tokenizer.from_checkpoint(open_checkpoint(path)).encode(PASSAGE)[:256]
    theirs = log_softmax(llama_cpp.logits(smollm_as_llama4.source_path(), np.asarray(tokens, np.int32)))
    ours = log_softmax(shoestring.load(path, context=512).logits(tokens))
    divergence = (np.exp(theirs) * (theirs - ours)).sum(axis=1)
    assert divergence.mean() <= 0.005
    clear = np.sort(theirs, axis=1)[:, -2:]
    sure = clear[:, 1] - clear[:, 0] > 0.5
    assert np.array_equal(ours.argmax(axis=1)[sure], theirs.argmax(axis=1)[sure])


@pytest.mark.deep
@pytest.mark.usefixtures("path")
def test_perplexity_of_thousands_of_tokens(tmp_path: Path) -> None:
    """On the documentation that comes with Python, by the command of the benchmarks."""
    topics = pytest.importorskip("pydoc_data.topics").topics
    text = tmp_path / "text.txt"
    text.write_text("\n".join(topics[name] for name in sorted(topics))[:60_000], encoding="utf-8")
    command = [sys.executable, str(BENCH / "perplexity.py"), "--file", str(text), "--tokens", "8192"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tokens"] >= 8192


def log_softmax(logits: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> Array:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
