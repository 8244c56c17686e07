"""Weights that are not finite: the error names the file; a server's clients do not see the name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_vocabulary
from tiny_models import TINY, TinyModel

from shoestring.errors import NumericsError
from shoestring.runtime.loading import load
from shoestring.server.errors import from_exception


@pytest.mark.parametrize("name", ["qwen-mixture", "llama-scout"])
def test_the_error_names_the_file(name: str, tmp_path: Path) -> None:
    size = len(small_vocabulary.metadata()["tokenizer.ggml.tokens"])
    config = TINY[name].config | {"vocab_size": size}
    tensors = TINY[name].tensors(config)
    tensors["lm_head.weight"][3, 5] = np.nan
    TinyModel(config, lambda c: tensors).write(tmp_path)
    small_vocabulary.write_folder(tmp_path)
    with load(tmp_path, threads=1, context=64) as model:
        for use in (lambda: model.logits([1, 2]), lambda: list(model.generate("hi", max_tokens=2))):
            with pytest.raises(NumericsError) as caught:
                use()
            assert str(caught.value).startswith(f"{tmp_path}: a logit is not a finite number")
            assert str(tmp_path) not in from_exception(caught.value).message
