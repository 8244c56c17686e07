"""Read the tokenizer of a GGUF file: the `tokenizer.ggml.*` keys of its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoestring.checkpoint.text.contents import AddedToken, Contents, Fail, checked
from shoestring.checkpoint.text.words import LLAMA4, QWEN35, Digits, Split, Words
from shoestring.errors import TokenizerError
from shoestring.printable import shortened

#: `tokenizer.ggml.token_type`
_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5


def read_metadata(metadata: Mapping[str, Any], file: str) -> Contents:
    """The tokenizer of a file's metadata. Raises TokenizerError."""

    def fail(what: str) -> TokenizerError:
        return TokenizerError(f"{file}: {what}")

    kind, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if pre == "default" and metadata.get("general.architecture") == "llama4":
        pre = "llama4"  # what Ollama's converter writes when it does not know the pattern
    if kind != "gpt2":
        raise fail(f"tokenizer.ggml.model is {_shown(kind)}: both families use 'gpt2' (byte-level BPE)")
    lists: list[list[Any]] = []
    for key, item in (("tokens", str), ("merges", str), ("token_type", int)):
        value = metadata.get(f"tokenizer.ggml.{key}")
        if not isinstance(value, list):
            raise fail(f"tokenizer.ggml.{key} is missing or not a list")
        if not all(type(entry) is item for entry in value):
            raise fail(f"tokenizer.ggml.{key} has an entry that is not a {'string' if item is str else 'number'}")
        lists.append(value)
    tokens, merges, types = lists
    if len(types) != len(tokens):
        raise fail(f"tokenizer.ggml.token_type has {len(types)} entries for {len(tokens)} tokens")
    pairs = [tuple(merge.split(" ")) for merge in merges]
    if any(len(pair) != 2 for pair in pairs):
        raise fail("tokenizer.ggml.merges has an entry that is not two tokens separated by a space")

    def special(key: str) -> int | None:
        value = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if value is not None and not (isinstance(value, int) and 0 <= value < len(tokens)):
            raise fail(
                f"tokenizer.ggml.{key}_token_id is {_shown(value)}, which is not an id of its {len(tokens)} tokens"
            )
        return value

    ids = {name: special(key) for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown"))}
    nfc, words = _words(pre, fail)
    outside = {id for id, type_ in enumerate(types) if type_ in (_CONTROL, _USER_DEFINED, _UNUSED)}
    contents = Contents(
        vocab={text: id for id, text in enumerate(tokens) if id not in outside},
        merges=pairs,
        # Llama 4's own tokenizer does not split a word that is a token.
        ignore_merges=pre in ("llama4", "gpt-4o"),
        nfc=nfc,
        words=words,
        added=tuple(
            AddedToken(id, tokens[id], type_ == _CONTROL)
            for id, type_ in enumerate(types)
            if type_ in (_CONTROL, _USER_DEFINED)
        ),
        vocab_size=max((id for id, type_ in enumerate(types) if type_ != _UNUSED), default=-1) + 1,
        bos=ids["bos"],
        eos=frozenset(id for id in (ids["eos"], special("eot"), special("eom")) if id is not None),
        pad=ids["pad"],
        # Llama 4's raw prompts begin with bos; early converters wrote no key for that.
        add_bos=bool(metadata.get("tokenizer.ggml.add_bos_token", pre == "llama4")),
        template_tokens={f"{name}_token": tokens[id] for name, id in ids.items() if id is not None},
    )
    return checked(contents, fail)


def _words(pre: Any, fail: Fail) -> tuple[bool, Words]:
    """Whether text is normalised, and the words that `tokenizer.ggml.pre` names."""
    match pre:
        case "qwen35":
            return True, Words((Split(QWEN35),))
        case "llama4" | "gpt-4o":
            return False, Words((Split(LLAMA4),))
        case "smollm":
            return False, Words((Digits(individual=True),), gpt2=True)
    raise fail(f"tokenizer.ggml.pre is {_shown(pre)}: supported are qwen35, llama4, gpt-4o, smollm")


def _shown(value: Any) -> str:
    return shortened(repr(value), 80)
