"""Convert text to ids and back, with a tokenizer from tokenizer.json or GGUF metadata.

Both families use byte-level BPE; the `tokenizers` library implements it. We do not use the library's matching of added
tokens, which would turn a user's `<think>` into a token: our encoder has none, and `encode_marked` finds them only in
text that the chat template wrote.
"""

import codecs
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from shoestring.checkpoint.tensors import Checkpoint
from shoestring.checkpoint.text.added_tokens import AddedTokens
from shoestring.checkpoint.text.contents import Contents
from shoestring.checkpoint.text.text_work import proceed, refuse_longer
from shoestring.checkpoint.text.tokenizer_gguf import read_metadata
from shoestring.checkpoint.text.tokenizer_json import read_folder
from shoestring.checkpoint.text.windows import Encoder, encodable, plain

#: Tokens that end an answer in the published vocabularies, in addition to the eos that a file names
_END_TOKENS = ("<|endoftext|>", "<|im_end|>", "<|end_of_text|>", "<|eom|>", "<|eot|>")
#: Tags that open and close thinking; text if the vocabulary has no such tokens
THINKING_TEXTS = ("<think>", "</think>")
_THINKING = (THINKING_TEXTS, ("<|reasoning_thinking_start|>", "<|reasoning_thinking_end|>"))
#: NFC makes three characters one, at most.
_MOST_JOINED = 3


def byte_characters() -> tuple[str, ...]:
    """The printable character for each byte in a byte-level vocabulary (GPT-2's table)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in printable else next(spare)) for byte in range(256))


_BYTE_OF = {character: byte for byte, character in enumerate(byte_characters())}


class Tokenizer:
    """Byte-level BPE. Build it with `from_folder` or `from_gguf`.

    vocab_size: larger ids have no text and are never sampled (a model may have more logits).
    added: added tokens by text; added_ids: their ids, which plain text is never encoded to.
    bos_id, pad_id: None if there is none. eos_ids: all ids that end an answer.
    add_bos: whether a raw prompt begins with bos_id (chat templates write their own).
    template_tokens: texts of tokens by the names that chat templates use ("bos_token", "eos_token", …).
    thinking: ids of the tokens that open and close a thinking block, or None.
    """

    def __init__(self, contents: Contents, source: str) -> None:
        """source: the file, for errors. Raises TokenizerError."""
        self._encoder = Encoder(contents, source)
        self._added = AddedTokens(contents.added, source)
        self.added = self._added.by_text
        self._added_by_id = {token.id: token for token in self.added.values()}
        self.added_ids = frozenset(self._added_by_id)
        self.vocab_size = contents.vocab_size
        known = {self.added[text].id for text in _END_TOKENS if text in self.added}
        self.eos_ids = frozenset(contents.eos | known)
        self.bos_id, self.pad_id = contents.bos, contents.pad
        self.add_bos = contents.add_bos and contents.bos is not None
        self.template_tokens = dict(contents.template_tokens)
        self.special_ids = frozenset(token.id for token in self.added.values() if token.special)
        self.thinking = next(
            ((self.added[a].id, self.added[b].id) for a, b in _THINKING if a in self.added and b in self.added), None
        )
        strips = any(token.strip_left or token.strip_right for token in contents.added)
        longest = max(map(len, (*contents.vocab, *self.added)))
        #: most characters of a token; None: no limit, because added tokens take the whitespace beside them
        self._longest = None if strips else longest * (_MOST_JOINED if contents.nfc else 1)

    # ---- text to ids

    def encode(self, text: str, allow_special: bool = False) -> list[int]:
        """Ids of `text`, without bos. Text that looks like an added token stays text, unless `allow_special`.

        Raises RequestError for a word of more than half a megabyte, and as `text_work.proceed` does.
        """
        return self.encode_marked(text) if allow_special else self._ids(text, plain(text))

    def encode_marked(self, text: str, marks: Mapping[int, str] | None = None) -> list[int]:
        """Ids of a rendered template: finds its added tokens, except those with a marked character.

        marks: code point of a mark → the character that it replaces (see `marks`); they are replaced back after the
        search. Text between two added tokens is encoded in one piece, so marks never move a token boundary.
        """
        pieces: Iterable[str | int] = self._added.split(encodable(text))
        if marks:
            pieces = (piece.translate(marks) if isinstance(piece, str) else piece for piece in pieces)
        return self._ids(text, pieces)

    def _ids(self, text: str, pieces: Iterable[str | int]) -> list[int]:
        if self._longest is not None:
            refuse_longer(len(text), self._longest)
        ids: list[int] = []
        for some in self._encoder.encode(pieces):
            ids += some
            proceed(len(ids))
        return ids

    # ---- ids to text

    def token_bytes(self, id: int) -> bytes:
        """The bytes of one id; empty for an id without text."""
        added = self._added_by_id.get(id)
        if added is not None:
            return added.text.encode()
        token = self._encoder.token(id) if 0 <= id < self.vocab_size else None
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
        return cls(read_folder(folder), str(folder / "tokenizer.json"))

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any], file: str = "GGUF file") -> "Tokenizer":
        """Read the `tokenizer.ggml.*` keys of a GGUF file. `file`: its name, for errors."""
        return cls(read_metadata(metadata, file), file)


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
