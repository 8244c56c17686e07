"""`shoestring run --reference` on a tiny model: it answers, and refuses token ids beyond the vocabulary."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_vocabulary
from tiny_models import TINY, TinyModel

from shoestring.cli.app import run


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("tiny")
    size = len(small_vocabulary.metadata()["tokenizer.ggml.tokens"])
    TinyModel(TINY["qwen-dense"].config | {"vocab_size": size}, TINY["qwen-dense"].tensors).write(folder)
    small_vocabulary.write_folder(folder)
    return str(folder)


def test_it_answers(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", path, "hi", "--reference", "--max-tokens", "2"]) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("id", [287, 1 << 31])
@pytest.mark.parametrize("option", ["--stop-id", "--logit-bias"])
@pytest.mark.parametrize("more", [[], ["--reference"]])
def test_token_ids_beyond_the_vocabulary(
    path: str, option: str, id: int, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    value = f"{id}=1" if option == "--logit-bias" else str(id)
    assert run(["run", path, "hi", option, value, "--max-tokens", "2", *more]) == 2
    assert "286" in capsys.readouterr().err
