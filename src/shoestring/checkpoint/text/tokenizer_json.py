"""Read tokenizer.json: the parts of byte-level BPE, checked by name. Nothing else reaches the `tokenizers` library.

Padding, truncation, decoder and post-processor are never built: some of them end the process. We decode ourselves, and
read from the post-processor only whether a text begins with the beginning-of-text token.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shoestring.checkpoint.formats.json_file import read_json
from shoestring.checkpoint.text.contents import MOST_ADDED, AddedToken, Contents, Fail, checked
from shoestring.checkpoint.text.words import Digits, Split, Words
from shoestring.errors import TokenizerError
from shoestring.printable import shortened

#: Bytes of a Split's pattern, and parts of a pre-tokenizer.
MOST_PATTERN, MOST_PARTS = 4096, 16
_BEHAVIORS = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")

Json = Mapping[str, Any]


def read_folder(folder: Path) -> Contents:
    """The tokenizer of a Hugging Face folder, with the special ids of the files beside it. Raises TokenizerError."""
    path = folder / "tokenizer.json"
    whole = read_json(path, TokenizerError, optional=True)
    if not whole:
        raise TokenizerError(f"{folder} has no tokenizer.json: download it from the model's repository")
    settings, config, generation = (
        read_json(folder / name, TokenizerError, optional=True)
        for name in ("tokenizer_config.json", "config.json", "generation_config.json")
    )
    contents = _contents(whole, settings, _ids(config), lambda what: TokenizerError(f"{path}: {what}"))
    # Loading warns of unusable values of generation_config.json, and ignores them.
    usable = frozenset(id for id in _ids(generation) if 0 <= id < contents.vocab_size)
    return replace(contents, eos=contents.eos | usable)


def _ids(config: Json) -> set[int]:
    """The ids that end an answer."""
    value = config.get("eos_token_id")
    return {id for id in (value if isinstance(value, list) else [value]) if type(id) is int}


def _contents(whole: Json, settings: Json, eos: set[int], fail: Fail) -> Contents:
    model = _component(whole.get("model"), "model", ("BPE",), fail)
    words = _words(whole.get("pre_tokenizer"), fail)
    _check_decoder(whole.get("decoder"), fail)
    vocab = model.get("vocab")
    if not isinstance(vocab, dict):
        raise fail("model.vocab is not an object of ids by token")
    added = tuple(_added(whole.get("added_tokens") or [], fail))
    texts = {key: _content(value) for key, value in settings.items() if key.endswith("_token")}
    texts = {key: text for key, text in texts.items() if isinstance(text, str)}
    ids = {token.text: token.id for token in added}

    def named(key: str) -> int | None:
        return ids.get(texts.get(key, ""))

    bos, end, add_bos = named("bos_token"), named("eos_token"), settings.get("add_bos_token")
    first = _first_id(whole.get("post_processor"), fail)
    _check_model(model, ids, fail)
    contents = Contents(
        vocab=vocab,
        merges=_merges(model.get("merges"), fail),
        ignore_merges=_flag(model, "ignore_merges", "model", fail),
        nfc=_normalizes(whole.get("normalizer"), fail),
        words=words,
        added=added,
        vocab_size=max((id for id in (*vocab.values(), *ids.values()) if type(id) is int), default=-1) + 1,
        bos=bos,
        eos=frozenset(eos | ({end} if end is not None else set())),
        pad=named("pad_token"),
        add_bos=add_bos if isinstance(add_bos, bool) else bos is not None and first == bos,
        template_tokens=texts,
    )
    return checked(contents, fail)


def _component(value: Any, where: str, kinds: Sequence[str], fail: Fail) -> Json:
    """An object of one of these types."""
    kind = value.get("type") if isinstance(value, dict) else value
    if not isinstance(value, dict) or kind not in kinds:
        hint = (
            ""
            if where.startswith("norm")
            else ": this is not a byte-level BPE tokenizer, the kind that both families use"
        )
        raise fail(f"{where} is {_shown(kind)}, supported: {', '.join(kinds)}{hint}")
    return value


def _flag(value: Json, key: str, where: str, fail: Fail, default: bool = False) -> bool:
    flag = value.get(key, default)
    if not isinstance(flag, bool):
        raise fail(f"{where}.{key} is {_shown(flag)}, not true or false")
    return flag


def _check_model(model: Json, added: Collection[str], fail: Fail) -> None:
    """Refuse options of BPE that byte-level vocabularies do not use: they change ids, and some make encoding fail."""
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(key):
            raise fail(f"model.{key} is {_shown(model[key])}: only byte-level BPE without it is supported")
    unknown = model.get("unk_token")
    if unknown is not None and unknown not in added and (not isinstance(unknown, str) or unknown not in model["vocab"]):
        raise fail(f"model.unk_token is {_shown(unknown)}, which is no token")


def _merges(value: Any, fail: Fail) -> list[tuple[str, str]]:
    if not isinstance(value, list):
        raise fail("model.merges is not a list of pairs of tokens")
    merges: list[tuple[str, str]] = []
    for entry in value:
        pair = entry.split(" ") if type(entry) is str else entry
        if type(pair) is not list or len(pair) != 2 or type(pair[0]) is not str or type(pair[1]) is not str:
            raise fail(f"model.merges[{len(merges)}] is {_shown(entry)}, not two tokens")
        merges.append((pair[0], pair[1]))
    return merges


def _added(value: Any, fail: Fail) -> Iterator[AddedToken]:
    if not isinstance(value, list):
        raise fail("added_tokens is not a list")
    if len(value) > MOST_ADDED:
        raise fail(f"added_tokens has {len(value):,} entries: the limit is {MOST_ADDED:,}")
    for number, entry in enumerate(value):
        where = f"added_tokens[{number}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise fail(f"{where} is not an object with an id and a content")
        special, left, right = (_flag(entry, key, where, fail) for key in ("special", "lstrip", "rstrip"))
        yield AddedToken(entry.get("id"), entry["content"], special, left, right)  # type: ignore[arg-type] # checked later


def _normalizes(value: Any, fail: Fail) -> bool:
    """Whether the normalizer is NFC."""
    return value is not None and any(
        part["type"] == "NFC" for part in _flattened(value, "normalizer", "normalizers", ("NFC",), fail)
    )


def _words(value: Any, fail: Fail) -> Words:
    parts = list(_flattened(value, "pre_tokenizer", "pretokenizers", ("Split", "ByteLevel", "Digits"), fail))
    if [part["type"] for part in parts].count("ByteLevel") != 1 or parts[-1]["type"] != "ByteLevel":
        raise fail(
            "pre_tokenizer does not end in ByteLevel: this is not a byte-level BPE tokenizer, the kind that both "
            "families use"
        )
    if _flag(parts[-1], "add_prefix_space", "ByteLevel", fail, True):
        raise fail("ByteLevel has add_prefix_space, with which an answer would not continue its prompt")
    return Words(
        tuple(_part(part, fail) for part in parts[:-1]), gpt2=_flag(parts[-1], "use_regex", "ByteLevel", fail, True)
    )


def _part(value: Json, fail: Fail) -> Split | Digits:
    if value["type"] == "Digits":
        return Digits(_flag(value, "individual_digits", "Digits", fail))
    pattern, behavior = value.get("pattern"), value.get("behavior")
    if not (isinstance(pattern, dict) and len(pattern) == 1 and set(pattern) <= {"Regex", "String"}):
        raise fail('a Split\'s pattern is not {"Regex": text} or {"String": text}')
    ((kind, text),) = pattern.items()
    if not isinstance(text, str) or not text:
        raise fail("a Split's pattern is empty or not text")
    if len(text.encode("utf-8", "surrogatepass")) > MOST_PATTERN:
        raise fail(f"a Split's pattern has more than {MOST_PATTERN:,} bytes")
    if behavior not in _BEHAVIORS:
        raise fail(f"a Split's behavior is {_shown(behavior)}: choose one of {', '.join(_BEHAVIORS)}")
    return Split(text, kind == "Regex", str(behavior), _flag(value, "invert", "Split", fail))


def _flattened(value: Any, where: str, key: str, kinds: Sequence[str], fail: Fail) -> Iterator[Json]:
    """The components of nested Sequences, in order."""
    waiting, count = [value], 0
    while waiting:
        part = _component(waiting.pop(0), where, (*kinds, "Sequence"), fail)
        count += 1
        if count > MOST_PARTS:
            raise fail(f"{where} has more than {MOST_PARTS} parts")
        if part["type"] != "Sequence":
            yield part
            continue
        inside = part.get(key)
        if not isinstance(inside, list):
            raise fail(f"{where}: a Sequence has no list {key}")
        waiting = [*inside, *waiting]


def _check_decoder(value: Any, fail: Fail) -> None:
    """The decoder must be ours: bytes from byte characters."""
    parts = [] if value is None else list(_flattened(value, "decoder", "decoders", ("ByteLevel",), fail))
    if value is not None and not parts:
        raise fail("decoder is an empty Sequence")


def _first_id(value: Any, fail: Fail) -> int | None:
    """The id of the token that a post-processor puts before a text."""
    if value is None:
        return None
    kinds = ("ByteLevel", "TemplateProcessing")
    for part in _flattened(value, "post_processor", "processors", kinds, fail):
        single, tokens = part.get("single"), part.get("special_tokens")
        if part["type"] == "ByteLevel" or not isinstance(single, list) or not isinstance(tokens, dict):
            continue
        special = single[0].get("SpecialToken") if single and isinstance(single[0], dict) else None
        token = tokens.get(special.get("id")) if isinstance(special, dict) else None
        ids = token.get("ids") if isinstance(token, dict) else None
        if isinstance(ids, list) and ids and type(ids[0]) is int:
            return ids[0]
    return None


def _content(value: Any) -> Any:
    return value.get("content") if isinstance(value, dict) else value


def _shown(value: Any) -> str:
    return shortened(repr(value), 80)
