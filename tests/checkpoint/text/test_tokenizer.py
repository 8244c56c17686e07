"""Properties of the tokenizer that hold for every text and vocabulary."""

import json
import re
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from corpus import TEXTS
from hypothesis import given, settings
from hypothesis import strategies as st
from small_vocabulary import ADDED, IDS, MERGES, PLAIN, metadata, write_folder

from shoestring.checkpoint.text.added_tokens import AddedTokens
from shoestring.checkpoint.text.contents import AddedToken
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.errors import RequestError, TokenizerError

TOKENIZER = Tokenizer.from_gguf(metadata())

pieces = st.one_of(st.text(max_size=12), st.sampled_from([*IDS, "<", "|>", "im_", " ", "\n", "think", "hello world"]))
texts = st.lists(pieces, max_size=8).map("".join)
all_ids = st.lists(st.integers(-3, TOKENIZER.vocab_size + 3), max_size=40)


@settings(deadline=None)  # the machine may be busy
@given(texts)
def test_text_survives_but_for_normalisation(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == unicodedata.normalize("NFC", text)
    assert not set(ids) & set(IDS.values())


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.one_of(st.text(max_size=8), st.sampled_from(list(IDS))), max_size=8))
def test_added_tokens_are_found_when_allowed(parts: list[str]) -> None:
    text = "".join(parts)
    ids = TOKENIZER.encode(text, allow_special=True)
    assert sum(id in IDS.values() for id in ids) >= sum(part in IDS for part in parts)
    assert unicodedata.normalize("NFC", TOKENIZER.decode(ids)) == unicodedata.normalize("NFC", text)


@settings(deadline=None)  # the machine may be busy
@given(all_ids, st.booleans(), st.data())
def test_streams_join_to_the_whole(ids: list[int], skip: bool, data: st.DataObject) -> None:
    decoder = TOKENIZER.stream_decoder(skip_special=skip)
    text, at = "", 0
    while at < len(ids):
        size = data.draw(st.integers(1, 4))
        text += decoder.push(*ids[at : at + size])
        at += size
    assert text + decoder.finish() == TOKENIZER.decode(ids, skip_special=skip)
    assert decoder.finish() == ""


@settings(deadline=None)  # the machine may be busy
@given(texts)
def test_streams_of_real_text_never_show_a_broken_character(text: str) -> None:
    text = unicodedata.normalize("NFC", text).replace("\ufffd", "?")
    decoder = TOKENIZER.stream_decoder()
    shown = ""
    for id in TOKENIZER.encode(text):
        shown += decoder.push(id)
        assert text.startswith(shown)
    assert decoder.finish() == ""
    assert shown == text


def test_an_unfinished_character_waits_and_then_is_replaced() -> None:
    decoder = TOKENIZER.stream_decoder()
    fire = "🔥".encode()
    assert [decoder.push(PLAIN.index(BYTE)) for BYTE in map(PLAIN.__getitem__, fire[:3])] == ["", "", ""]
    assert decoder.push(IDS["<think>"]) == "\ufffd<think>"
    decoder.push(fire[0])
    assert decoder.finish() == "\ufffd"


def test_folder_and_gguf_agree(tmp_path: Path) -> None:
    write_folder(tmp_path)
    folder = Tokenizer.from_folder(tmp_path)
    for name, text in TEXTS.items():
        for allowed in (False, True):
            assert folder.encode(text, allowed) == TOKENIZER.encode(text, allowed), name
    for field in ("vocab_size", "eos_ids", "bos_id", "special_ids", "thinking", "added", "template_tokens"):
        assert getattr(folder, field) == getattr(TOKENIZER, field), field


def test_special_ids_of_the_files_beside_it(tmp_path: Path) -> None:
    write_folder(tmp_path, eos_token={"content": "</tool_call>"}, add_bos_token=True)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 3]}))
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.eos_ids >= {0, 3, IDS["</tool_call>"], IDS["<|im_end|>"], IDS["<|eot|>"]}
    assert tokenizer.add_bos
    assert tokenizer.template_tokens["eos_token"] == "</tool_call>"


def _changed(folder: Path, **changes: Any) -> Tokenizer:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return Tokenizer.from_folder(folder)


def test_smollm2_components_and_merges_as_text(tmp_path: Path) -> None:
    """Digits and GPT-2's own pattern, as SmolLM2's tokenizer.json has them, against GGUF's name for both."""
    write_folder(tmp_path)
    digits, byte_level = {"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "trim_offsets": True}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "fuse_unk": False}
    model |= {"vocab": {token: id for id, token in enumerate(PLAIN)}, "merges": list(MERGES)}
    parts = [digits, {**byte_level, "add_prefix_space": False, "use_regex": True}]
    folder = _changed(
        tmp_path, normalizer=None, pre_tokenizer={"type": "Sequence", "pretokenizers": parts}, model=model
    )
    gguf = Tokenizer.from_gguf(metadata(pre="smollm"))
    for name, text in TEXTS.items():
        assert folder.encode(text) == gguf.encode(text), name


@pytest.mark.parametrize("nesting", range(3))
@pytest.mark.parametrize("first", ["<|begin_of_text|>", "<|eot|>", None])
def test_bos_is_read_from_the_post_processor(tmp_path: Path, nesting: int, first: str | None) -> None:
    write_folder(tmp_path)
    special = {text: {"id": text, "ids": [id], "tokens": [text]} for text, id in IDS.items()}
    single: list[Any] = [{"Sequence": {"id": "A", "type_id": 0}}]
    if first is not None:
        single.insert(0, {"SpecialToken": {"id": first, "type_id": 0}})
    processor: dict[str, Any] = {"type": "TemplateProcessing", "single": single, "special_tokens": special}
    for _ in range(nesting):
        processor = {"type": "Sequence", "processors": [{"type": "ByteLevel"}, processor]}
    assert _changed(tmp_path, post_processor=processor).add_bos == (first == "<|begin_of_text|>")


def test_normalizers_without_effect_and_sequences(tmp_path: Path) -> None:
    write_folder(tmp_path)
    nfc = {"type": "NFC"}
    nested = {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": []}, nfc]}
    assert _changed(tmp_path, normalizer=nested).encode("e\u0301") == TOKENIZER.encode("é")
    for nothing in (None, {"type": "Sequence", "normalizers": []}):
        plain = _changed(tmp_path, normalizer=nothing)
        assert plain.decode(plain.encode("e\u0301")) == "e\u0301"


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["<a>", "<ab>", "<", "a", "b>", " ", "\n", "<b>", "c"]), max_size=30).map("".join),
    st.integers(1, 9),
    st.tuples(st.booleans(), st.booleans()),
)
def test_added_tokens_are_found_across_slices(text: str, slice_size: int, strips: tuple[bool, bool]) -> None:
    """The longest at each position, with the whitespace that they take, wherever a slice ends."""
    tokens = [AddedToken(1, "<a>", False, *strips), AddedToken(2, "<ab>", False), AddedToken(3, "<ab>c", True)]
    pieces = list(AddedTokens(tokens, "test").split(text, slice_size))
    left, right = (r"\s*" if strip else "" for strip in strips)
    expected = re.split(rf"({left}<a>{right}|<ab>c|<ab>)", text)
    ids = {"<a>": 1, "<ab>": 2, "<ab>c": 3}
    joined: list[str | int] = [""]
    for piece in pieces:
        if isinstance(piece, int):
            joined += [piece, ""]
        else:
            joined[-1] = str(joined[-1]) + piece
    assert joined == [ids[part.strip()] if n % 2 else part for n, part in enumerate(expected)]


def test_a_panic_is_an_error_of_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        """As pyo3's, which is no Exception."""

    class Panicking:
        def encode_batch_fast(self, *arguments: Any, **options: Any) -> None:
            raise PanicException("index out of range")

    tokenizer = Tokenizer.from_gguf(metadata())
    monkeypatch.setattr(tokenizer._encoder, "_of_texts", Panicking())
    with pytest.raises(RequestError, match="index out of range"):
        tokenizer.encode("hello")


def test_unused_ids_are_past_the_vocabulary() -> None:
    keys = metadata()
    keys["tokenizer.ggml.tokens"] = [*keys["tokenizer.ggml.tokens"], "[PAD1]", "[PAD2]"]
    keys["tokenizer.ggml.token_type"] = [*keys["tokenizer.ggml.token_type"], 5, 5]
    assert Tokenizer.from_gguf(keys).vocab_size == TOKENIZER.vocab_size == len(PLAIN) + len(ADDED)


def test_lone_surrogates_become_replacement_characters() -> None:
    assert TOKENIZER.decode(TOKENIZER.encode("a\ud800b")) == "a\ufffdb"
    assert TOKENIZER.decode(TOKENIZER.encode("\ud83d\ude42")) == "🙂"


def test_digits_of_the_demo_vocabulary_stand_alone() -> None:
    smollm = Tokenizer.from_gguf(
        metadata(
            pre="smollm",
            merges=[*MERGES, "1 2"],
            tokens=[*PLAIN, "12", *IDS],
            token_type=[1] * (len(PLAIN) + 1) + [3] * len(ADDED),
        )
    )
    assert smollm.encode("12") == [PLAIN.index("1"), PLAIN.index("2")]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pre": "default"}, "pre is 'default'"),
        ({"pre": None}, "pre is None"),
        ({"model": "llama"}, "model is 'llama'"),
        ({"model": None}, "model is None"),
        ({"tokens": None}, "tokens is missing"),
        ({"tokens": "hello"}, "tokens is missing or not a list"),
        ({"tokens": [1, 2, 3]}, "tokens has an entry that is not a string"),
        ({"merges": None}, "merges is missing"),
        ({"merges": ["one two three"]}, "not two tokens"),
        ({"merges": ["h zzz"]}, "do not match"),
        ({"merges": ["h h"]}, "do not match"),
        ({"merges": [" "]}, "do not match"),
        ({"tokens": ["x" * 5000] * 287}, "5,000 characters"),
        ({"token_type": [1, 1]}, "2 entries"),
        ({"token_type": ["a"]}, "token_type"),
        ({"eos_token_id": 10**9}, "eos_token_id is 1000000000"),
        ({"bos_token_id": -1}, "bos_token_id is -1"),
        ({"bos_token_id": "x"}, "bos_token_id is 'x'"),
    ],
)
def test_malformed_metadata_is_refused_by_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(TokenizerError, match=says) as caught:
        Tokenizer.from_gguf(metadata(**changes), "some.gguf")
    assert str(caught.value).startswith("some.gguf: ")
    assert "\n" not in str(caught.value)


@settings(deadline=None)  # the machine may be busy
@given(
    st.dictionaries(
        st.sampled_from(
            ["tokens", "merges", "token_type", "eos_token_id", "bos_token_id", "pre", "model", "add_bos_token"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=4), lambda x: st.lists(x, max_size=4)
        ),
    )
)
def test_any_metadata_loads_or_is_refused(changes: dict[str, Any]) -> None:
    with suppress(TokenizerError):
        Tokenizer.from_gguf(metadata(**changes)).encode("hello")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": "1.0"}', '{"model": {"type": "BPE"}}'])
def test_malformed_tokenizer_json_is_refused(tmp_path: Path, text: str) -> None:
    write_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "generation_config.json", "config.json"])
@pytest.mark.parametrize("text", ["{", "[1]", "\x00"])
def test_malformed_json_beside_it_is_refused(tmp_path: Path, name: str, text: str) -> None:
    write_folder(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(TokenizerError, match=name):
        Tokenizer.from_folder(tmp_path)


def test_other_tokenizer_kinds_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, model={"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"})
    with pytest.raises(TokenizerError, match="not a byte-level BPE"):
        Tokenizer.from_folder(tmp_path)
    with pytest.raises(TokenizerError, match=r"no tokenizer\.json"):
        Tokenizer.from_folder(tmp_path / "absent")


def test_an_end_id_outside_the_vocabulary_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": 99999}))
    with pytest.raises(TokenizerError, match="99999"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "config.json").unlink()
    expected = Tokenizer.from_folder(tmp_path).eos_ids
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [99999, -1, "x", *expected]}))
    assert Tokenizer.from_folder(tmp_path).eos_ids == expected
