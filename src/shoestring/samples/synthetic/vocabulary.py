"""Build a small but valid byte-level tokenizer of any vocabulary size, as GGUF metadata.

Bytes, a few merges, the family's message markers, then unused tokens up to the vocabulary's size.
"""

from __future__ import annotations

from typing import Any

from shoestring.checkpoint.text.tokenizer import byte_characters

_MERGES = ("Ġ t", "h e", "i n", "e r", "a n", "Ġ a", "o n", "r e", "n d", "Ġt he", "in g", "Ġa nd")
_MARKERS = {
    "qwen35": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    "llama4": ("<|begin_of_text|>", "<|header_start|>", "<|header_end|>", "<|eot|>"),
}
#: Markers around and inside pictures and videos, of models that see.
_VISION_MARKERS = {
    "qwen35": ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
    "llama4": (
        "<|image_start|>", "<|image_end|>", "<|tile_x_separator|>", "<|tile_y_separator|>", "<|image|>", "<|patch|>",
    ),
}  # fmt: skip
_NORMAL, _CONTROL, _UNUSED = 1, 3, 5


def vocabulary(pre: str, size: int, *, vision: bool = False) -> dict[str, Any]:
    """Metadata of a tokenizer with `size` tokens; below about 270 tokens none fits, and it is "none".

    vision: with the markers of pictures, behind those of messages.
    """
    words = [*byte_characters(), *(merge.replace(" ", "") for merge in _MERGES)]
    messages = _MARKERS[pre]
    markers = messages + (_VISION_MARKERS[pre] if vision else ())
    used = len(words) + len(markers)
    if size < used:
        return {"tokenizer.ggml.model": "none"}
    kinds = [_NORMAL] * len(words) + [_CONTROL] * len(markers) + [_UNUSED] * (size - used)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": [*words, *markers, *(f"[PAD{i}]" for i in range(used, size))],
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": list(_MERGES),
        "tokenizer.ggml.bos_token_id": len(words),
        "tokenizer.ggml.eos_token_id": len(words) + len(messages) - 1,
        "tokenizer.ggml.padding_token_id": len(words),
        "tokenizer.ggml.add_bos_token": False,
    }


def with_words(metadata: dict[str, Any]) -> dict[str, Any]:
    """The metadata with words instead of unused tokens, so that engines sample and show all of them."""
    key = "tokenizer.ggml.token_type"
    if key not in metadata:
        return metadata
    return {**metadata, key: [_NORMAL if kind == _UNUSED else kind for kind in metadata[key]]}
