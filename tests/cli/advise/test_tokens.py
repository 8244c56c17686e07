"""`shoestring tokens`: both tokenizers count a user's own text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shoestring.catalogue.load import builtin_catalogue
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.cli.advise import tokens
from shoestring.cli.app import run
from shoestring.planning.cost import Money, cheapest_price
from shoestring.samples.embedded import EMBEDDED

TEXT = "Alle Menschen sind frei und gleich an Würde und Rechten geboren. " * 3


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a tokenizer and a config, of both families; the second splits words into bytes."""
    from tokenizers import Tokenizer as Fast
    from tokenizers import decoders, models, pre_tokenizers

    pairs = []
    for family, merged in (("qwen3_5", True), ("llama4", False)):
        folder = tmp_path_factory.mktemp(family)
        alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
        merges = [("e", "n"), ("i", "n"), ("Ġ", "u")] if merged else []
        vocabulary = alphabet | {a + b: len(alphabet) + i for i, (a, b) in enumerate(merges)}
        fast = Fast(models.BPE(vocabulary, merges))
        fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        fast.decoder = decoders.ByteLevel()
        fast.save(str(folder / "tokenizer.json"))
        (folder / "config.json").write_text(json.dumps({"model_type": family}), encoding="utf-8")
        pairs.append(folder)
    return pairs[0], pairs[1]


def test_both_tokenizers_count_a_text(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tokens", *map(str, folders), "--compare", TEXT, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    counts = [len(Tokenizer.from_folder(folder).encode(TEXT)) for folder in folders]
    assert [m["tokens"] for m in data["models"]] == counts
    assert counts[1] == len(TEXT.encode()) > counts[0]
    assert [m["family"] for m in data["models"]] == ["qwen3_5", "llama4"]
    assert data["missing"] == []
    for model, name in zip(data["models"], ("qwen3.5-397b-a17b", "llama-4-scout"), strict=True):
        found = cheapest_price(name, Money(), builtin_catalogue())
        assert found is not None
        assert model["usd_copies"] == pytest.approx(1000 * model["tokens"] / 1e6 * found[0])
        assert model["row"] == found[1].id
    assert run(["tokens", *map(str, folders), "--compare", TEXT]) == 0
    fewer = 100 * (1 - counts[0] / counts[1])
    assert f"Qwen 3.5 takes {fewer:.1f} % fewer tokens than Llama 4." in capsys.readouterr().out


def test_a_text_a_file_and_stdin_are_counted_alike(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import io
    import sys

    file = tmp_path / "text.txt"
    file.write_text(TEXT, encoding="utf-8")
    outputs = []
    for given in (TEXT, str(file), "-"):
        with open(file, "rb") as pipe:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe))
            assert run(["tokens", str(folders[0]), "--compare", given, "--json"]) == 0
        outputs.append(capsys.readouterr().out)
    assert len(set(outputs)) == 1
    assert json.loads(outputs[0])["missing"] == ["Llama 4"]


def test_checkpoints_of_the_stores_are_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A GGUF file that `list` finds: only its header is read."""
    from shoestring.cli.progress import Progress
    from shoestring.stores import Found

    with Progress("writing") as progress:
        path = EMBEDDED["demo-llama4"](progress)
    monkeypatch.setattr(
        "shoestring.stores.find_checkpoints", lambda: [Found("a/b:Q8_0", "llama.cpp", "llama4", path, 1)]
    )
    assert run(["tokens", "--compare", "hello world"]) == 0
    out = capsys.readouterr().out
    assert "Llama 4 (a/b:Q8_0)" in out
    assert "No tokenizer of Qwen 3.5 is on this machine" in out
    monkeypatch.setattr("shoestring.stores.find_checkpoints", list)
    assert run(["tokens", "--compare", "hello world"]) == 2
    assert "no tokenizer of either family" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tokens"], "tokens needs a text"),
        (["tokens", "--compare", ""], "tokens needs a text"),
        (["tokens", "nowhere", "--compare", "x"], "nowhere does not exist"),
        (["tokens", "--compare", "/dev/zero"], "/dev/zero"),
    ],
    ids=" ".join,
)
def test_wrong_input_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_another_architecture_is_refused(
    tmp_path: Path, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tokenizer.json").write_bytes((folders[0] / "tokenizer.json").read_bytes())
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    assert run(["tokens", str(tmp_path), "--compare", "x"]) == 2
    assert "is of architecture gpt2" in capsys.readouterr().err


def test_a_text_longer_than_a_name_is_a_text() -> None:
    assert tokens._text("x" * 100_000) == "x" * 100_000
    assert tokens._text("a\0b") == "a\0b"
