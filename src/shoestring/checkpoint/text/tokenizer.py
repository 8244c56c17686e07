"""Convert text to ids and back, with a tokenizer from tokenizer.json or GGUF metadata.

Both families use byte-level BPE; the `tokenizers` library implements it. We do not use the library's matching of added
tokens, which would turn a user's `<think>` into a token: our encoder has none, and `encode_marked` finds them only in
text that the chat template wrote.
"""

import codecs
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Regex, models, normalizers, pre_tokenizers

from shoestring.checkpoint.formats.json_file import read_json
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.errors import TokenizerError

#: GGUF `tokenizer.ggml.token_type`
_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WHITESPACE = (r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+")

#: Qwen 3.5: combining marks count as letters, each digit is a word.
_QWEN35_WORDS = "|".join(
    (_CONTRACTIONS, r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+", r"\p{N}", r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*", *_WHITESPACE)
)
#: Llama 4 (o200k): an upper-case letter begins a new word, up to three digits form one.
_LLAMA4_WORDS = "|".join(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        *_WHITESPACE,
    )
)

#: Tokens that end an answer in the published vocabularies, in addition to the eos that a file names
_END_TOKENS = ("<|endoftext|>", "<|im_end|>", "<|end_of_text|>", "<|eom|>", "<|eot|>")
#: Tags that open and close thinking; text if the vocabulary has no such tokens
THINKING_TEXTS = ("<think>", "</think>")
_THINKING = (THINKING_TEXTS, ("<|reasoning_thinking_start|>", "<|reasoning_thinking_end|>"))


def byte_characters() -> tuple[str, ...]:
    """The printable character for each byte in a byte-level vocabulary (GPT-2's table)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in printable else next(spare)) for byte in range(256))


_BYTE_OF = {character: byte for byte, character in enumerate(byte_characters())}


@dataclass(frozen=True)
class AddedToken:
    """A token outside the BPE vocabulary. `special`: `decode` can skip it."""

    id: int
    text: str
    special: bool
    strip_left: bool = False
    strip_right: bool = False


class Tokenizer:
    """Byte-level BPE. Build it with `from_folder` or `from_gguf`.

    vocab_size: larger ids have no text and are never sampled (a model may have more logits).
    added: added tokens by text; added_ids: their ids, which plain text is never encoded to.
    bos_id, pad_id: None if there is none. eos_ids: all ids that end an answer.
    add_bos: whether a raw prompt begins with bos_id (chat templates write their own).
    template_tokens: texts of tokens by the names that chat templates use ("bos_token", "eos_token", …).
    thinking: ids of the tokens that open and close a thinking block, or None.
    """

    def __init__(
        self,
        encoder: tokenizers.Tokenizer,
        added: Iterable[AddedToken],
        *,
        vocab_size: int,
        bos: int | None,
        eos: Iterable[int],
        pad: int | None,
        add_bos: bool,
        template_tokens: Mapping[str, str],
    ) -> None:
        self._encoder = encoder
        self.added: dict[str, AddedToken] = {token.text: token for token in added if token.text}
        self._added_by_id = {token.id: token for token in self.added.values()}
        self.added_ids = frozenset(self._added_by_id)
        self.vocab_size = vocab_size
        known = {self.added[text].id for text in _END_TOKENS if text in self.added}
        self.eos_ids = frozenset(set(eos) | known)
        self.bos_id, self.pad_id, self.add_bos = bos, pad, add_bos and bos is not None
        self.template_tokens = dict(template_tokens)
        self.special_ids = frozenset(token.id for token in self.added.values() if token.special)
        self.thinking = next(
            ((self.added[a].id, self.added[b].id) for a, b in _THINKING if a in self.added and b in self.added), None
        )
        for id in (*self.eos_ids, *((bos,) if bos is not None else ())):
            if not 0 <= id < self.vocab_size:
                raise TokenizerError(f"tokenizer: bos or eos id {id} is outside its vocabulary of {self.vocab_size}")

    # ---- text to ids

    def encode(self, text: str, allow_special: bool = False) -> list[int]:
        """Ids of `text`, without bos. Text that looks like an added token stays text, unless `allow_special`."""
        return self.encode_marked(text) if allow_special else self._encode_plain(text)

    def encode_marked(self, text: str, marks: Mapping[int, str] | None = None) -> list[int]:
        """Ids of a rendered template: finds its added tokens, except those with a marked character.

        marks: code point of a mark → the character that it replaces (see `marks`); they are replaced back after the
        search. Text between two added tokens is encoded in one piece, so marks never move a token boundary.
        """
        ids: list[int] = []
        for piece in self._split(text):
            if isinstance(piece, int):
                ids.append(piece)
            else:
                ids.extend(self._encode_plain(piece.translate(marks) if marks else piece))
        return ids

    def _encode_plain(self, text: str) -> list[int]:
        if not text:
            return []
        try:
            ids: list[int] = self._encoder.encode(text, add_special_tokens=False).ids
        except TypeError:  # raised for a lone surrogate, which has no UTF-8
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            ids = self._encoder.encode(text, add_special_tokens=False).ids
        return ids

    @cached_property
    def _added_pattern(self) -> re.Pattern[str] | None:
        longest_first = sorted(self.added.values(), key=lambda token: -len(token.text))
        alternatives = (
            r"\s*" * token.strip_left + re.escape(token.text) + r"\s*" * token.strip_right for token in longest_first
        )
        return re.compile("|".join(alternatives)) if longest_first else None

    def _split(self, text: str) -> Iterable[str | int]:
        start = 0
        if self._added_pattern is not None:
            for match in self._added_pattern.finditer(text):
                if match.start() > start:
                    yield text[start : match.start()]
                token = match.group()
                yield (self.added.get(token) or self.added[token.strip()]).id
                start = match.end()
        if start < len(text):
            yield text[start:]

    # ---- ids to text

    def token_bytes(self, id: int) -> bytes:
        """The bytes of one id; empty for an id without text."""
        added = self._added_by_id.get(id)
        if added is not None:
            return added.text.encode()
        token = self._encoder.id_to_token(id) if 0 <= id < self.vocab_size else None
        if token is None:
            return b""
        try:
            return bytes([_BYTE_OF[character] for character in token])
        except KeyError:  # not in byte characters: the token is its own text
            return token.encode()

    def decode(self, ids: Iterable[int], skip_special: bool = False) -> str:
        """Text of `ids`, with U+FFFD for invalid UTF-8. skip_special: omit special tokens."""
        return self._bytes(ids, skip_special).decode("utf-8", "replace")

    def _bytes(self, ids: Iterable[int], skip_special: bool) -> bytes:
        skip = self.special_ids if skip_special else frozenset()
        return b"".join(self.token_bytes(id) for id in ids if id not in skip)

    def stream_decoder(self, skip_special: bool = False) -> "StreamDecoder":
        return StreamDecoder(self, skip_special)

    # ---- loading

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "Tokenizer":
        """The tokenizer of a checkpoint of either format. Raises TokenizerError."""
        if checkpoint.format == "gguf":
            return cls.from_gguf(checkpoint.metadata, checkpoint.path.name)
        return cls.from_folder(checkpoint.path)

    @classmethod
    def from_folder(cls, folder: Path) -> "Tokenizer":
        """Read tokenizer.json of a Hugging Face folder, and the special ids in the JSON files beside it."""
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise TokenizerError(f"{folder} has no tokenizer.json: download it from the model's repository")
        try:
            whole = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception for every malformed file
            raise TokenizerError(f"{path} is not a readable tokenizer: {one_line(error)}") from None
        parts = (json.loads(part.__getstate__()) if part else None for part in (whole.pre_tokenizer, whole.decoder))
        if not isinstance(whole.model, models.BPE) or not all('"ByteLevel"' in json.dumps(part) for part in parts):
            raise TokenizerError(f"{path} is not a byte-level BPE tokenizer, the kind that both families use")
        added = [
            AddedToken(id, token.content, token.special, token.lstrip, token.rstrip)
            for id, token in whole.get_added_tokens_decoder().items()
        ]
        id_of = {token.text: token.id for token in added}
        settings = read_json(folder / "tokenizer_config.json", TokenizerError, optional=True)

        def content(value: Any) -> Any:
            return value.get("content") if isinstance(value, dict) else value

        texts = {key: content(value) for key, value in settings.items() if key.endswith("_token")}
        texts = {key: text for key, text in texts.items() if isinstance(text, str)}

        def named(key: str) -> int | None:
            return id_of.get(texts.get(key, ""))

        vocab_size = max(whole.get_vocab().values(), default=-1) + 1
        eos: set[int] = set()
        for name in ("generation_config.json", "config.json"):
            value = read_json(folder / name, TokenizerError, optional=True).get("eos_token_id")
            ids = {id for id in (value if isinstance(value, list) else [value]) if type(id) is int}
            # Loading warns of unusable values of generation_config.json, and ignores them.
            eos |= ids if name == "config.json" else {id for id in ids if 0 <= id < vocab_size}
        bos = named("bos_token")
        starts_with_bos = bos is not None and whole.encode("").ids[:1] == [bos]
        add_bos = settings.get("add_bos_token")
        return cls(
            _encoder(whole.model, whole.normalizer, whole.pre_tokenizer),
            added,
            vocab_size=vocab_size,
            bos=bos,
            eos=eos | {id for id in (named("eos_token"),) if id is not None},
            pad=named("pad_token"),
            add_bos=add_bos if isinstance(add_bos, bool) else starts_with_bos,
            template_tokens=texts,
        )

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any], file: str = "GGUF file") -> "Tokenizer":
        """Read the `tokenizer.ggml.*` keys of a GGUF file. `file`: its name, for errors."""

        def fail(what: str) -> TokenizerError:
            return TokenizerError(f"{file}: {what}")

        kind, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
        if kind != "gpt2":
            raise fail(f"tokenizer.ggml.model is {kind!r}: both families use 'gpt2' (byte-level BPE)")
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
        added = [
            AddedToken(id, tokens[id], type_ == _CONTROL)
            for id, type_ in enumerate(types)
            if type_ in (_CONTROL, _USER_DEFINED)
        ]
        outside = {token.id for token in added}
        vocab = {text: id for id, text in enumerate(tokens) if id not in outside and types[id] != _UNUSED}
        pairs = [tuple(merge.split(" ")) for merge in merges]
        if any(len(pair) != 2 for pair in pairs):
            raise fail("tokenizer.ggml.merges has an entry that is not two tokens separated by a space")
        try:
            # Llama 4's own tokenizer does not split a word that is a token.
            model = models.BPE(vocab=vocab, merges=pairs, ignore_merges=pre in ("llama4", "gpt-4o"))
        except Exception as error:  # the library raises no narrower type
            raise fail(f"its tokens and merges do not match: {one_line(error)}") from None

        def special(key: str) -> int | None:
            value = metadata.get(f"tokenizer.ggml.{key}_token_id")
            if value is not None and not (isinstance(value, int) and 0 <= value < len(tokens)):
                raise fail(
                    f"tokenizer.ggml.{key}_token_id is {value!r}, which is not an id of its {len(tokens)} tokens"
                )
            return value

        keys = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
        ids = {name: special(key) for name, key in keys.items()}
        return cls(
            _encoder(model, *_pre_tokenizer(pre, fail)),
            added,
            vocab_size=max((id for id, type_ in enumerate(types) if type_ != _UNUSED), default=-1) + 1,
            bos=ids["bos"],
            eos={id for id in (ids["eos"], special("eot"), special("eom")) if id is not None},
            pad=ids["pad"],
            # Llama 4's raw prompts begin with bos; early converters wrote no key for that.
            add_bos=bool(metadata.get("tokenizer.ggml.add_bos_token", pre == "llama4")),
            template_tokens={f"{name}_token": tokens[id] for name, id in ids.items() if id is not None},
        )


class StreamDecoder:
    """Decodes ids one by one and buffers incomplete characters. The results of `push` and `finish`, joined, equal
    `decode` of all ids."""

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = False) -> None:
        self._tokenizer, self._skip_special = tokenizer, skip_special
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def waits(self) -> bool:
        """Whether an incomplete character is buffered."""
        return bool(self._utf8.getstate()[0])

    def push(self, *ids: int) -> str:
        return self._utf8.decode(self._tokenizer._bytes(ids, self._skip_special))

    def finish(self) -> str:
        """The incomplete character, if any, as U+FFFD. Resets the decoder."""
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return rest


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _encoder(model: models.Model, normalizer: Any, pre_tokenizer: Any) -> tokenizers.Tokenizer:
    """An encoder without added tokens, for a model that may be shared."""
    encoder = tokenizers.Tokenizer(model)
    if normalizer is not None:
        encoder.normalizer = normalizer
    encoder.pre_tokenizer = pre_tokenizer
    return encoder


def _pre_tokenizer(pre: Any, fail: Any) -> tuple[Any, Any]:
    """The normalizer and pre-tokenizer that GGUF's `tokenizer.ggml.pre` names."""

    def words(pattern: str) -> Any:
        split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])

    match pre:
        case "qwen35":
            return normalizers.NFC(), words(_QWEN35_WORDS)
        case "llama4" | "gpt-4o":
            return None, words(_LLAMA4_WORDS)
        case "smollm":
            digits = pre_tokenizers.Digits(individual_digits=True)
            return None, pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    raise fail(f"tokenizer.ggml.pre is {pre!r}: supported are qwen35, llama4, gpt-4o, smollm")
