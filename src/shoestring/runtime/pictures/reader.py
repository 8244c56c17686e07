"""PictureReader: how a model reads pictures and video. `Model.vision` is one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shoestring.errors import RequestError
from shoestring.media.limits import LIMITS, Limits
from shoestring.media.pieces import token_count
from shoestring.media.prepared import Prepared, prepare
from shoestring.media.settings import Settings
from shoestring.media.source import Source
from shoestring.runtime.pictures.expand import Encode, Expanded, expand, missing_placeholders
from shoestring.spelling import option

Float32 = npt.NDArray[np.float32]

#: Pictures that are known to be sound.
_MOST_SOUND = 4096


class PictureReader:
    """settings: of the processor. missing: why the model reads no pictures, and what to do; "": it does.

    encode: ids of a text, for a video's timestamps. limits: of each picture or video. most_patches: of a picture, for
    which there is memory; None: any number.
    """

    def __init__(
        self,
        family: str,
        settings: Settings | None,
        encode: Encode,
        missing: str = "",
        limits: Limits = LIMITS,
        most_patches: int | None = None,
    ) -> None:
        self._family = family
        self._most_patches = most_patches
        self._settings = settings
        self._encode = encode
        self.missing = missing if settings is not None else missing or "this model reads text alone: it has no vision"
        self.limits = limits
        #: keys of pictures that have been decoded without an error: their pixels are read when rows are missing
        self._sound: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def sees(self) -> bool:
        """Whether the model reads pictures."""
        return not self.missing

    @property
    def settings(self) -> Settings:
        """Raises RequestError for a model that reads no pictures."""
        if self.missing or self._settings is None:
            raise RequestError(self.missing)
        return self._settings

    def prepare(self, source: Source) -> Prepared:
        """What the prompt contains in a picture's place, from its header.

        Raises RequestError for what cannot be read, or takes more memory than there is for pictures.
        """
        prepared = prepare(source, self.settings, self.limits)
        rows, columns = prepared.parts[0].patches
        if self._most_patches is not None and self._family == "qwen3_5" and rows * columns > self._most_patches:
            tokens = self._most_patches * prepared.parts[0].count // (rows * columns) + 2
            raise RequestError(
                f"{source.name} takes {rows * columns:,} patches, and there is memory for {self._most_patches:,}: "
                f"make it smaller, or give more {option('memory')}, a smaller {option('context')} or "
                f"{option('max_image_tokens')} {tokens:,}"
            )
        return prepared

    def lacks(self, tokens: Sequence[int], prepared: Sequence[Prepared]) -> bool:
        """Whether the placeholders that a template wrote are not those of the pictures."""
        return missing_placeholders(tokens, prepared, self._family, self._encode)

    def expand(self, tokens: Sequence[int], prepared: Sequence[Prepared]) -> Expanded:
        """The prompt with its pictures, decoded unless they have been decoded before. Raises RequestError."""
        expanded, loaders = expand(tokens, prepared, self._family, self._encode)
        for each, loader in zip(prepared, loaders, strict=True):
            if not self._is_sound(each.parts[0].key):
                loader.decode()
                self._remember(each.parts[0].key)
        return expanded

    def check(self, source: Source) -> None:
        """Decode a picture unless that has been done before. Raises RequestError for damaged data."""
        prepared = self.prepare(source)
        if not self._is_sound(prepared.parts[0].key):
            for _ in prepared.pixels():
                continue
            self._remember(prepared.parts[0].key)

    def _is_sound(self, key: bytes) -> bool:
        with self._lock:
            if key in self._sound:
                self._sound.move_to_end(key)
            return key in self._sound

    def _remember(self, key: bytes) -> None:
        with self._lock:
            self._sound[key] = None
            while len(self._sound) > _MOST_SOUND:
                self._sound.popitem(last=False)

    def pixels(self, source: Source) -> Float32:
        """What the processor makes of a picture or video: patches [rows, 1536] of Qwen 3.5, the pairs of a video one
        after the other; tiles [tiles, 3, 336, 336] of Llama 4."""
        values = [pixels.values() for pixels in self.prepare(source).pixels()]
        return np.concatenate(values) if self._family == "qwen3_5" else np.stack(values)

    def token_count(self, source: Source) -> int:
        """Tokens of a picture or video in a prompt, markers and timestamps included. Decodes no picture.

        Raises RequestError for a model that reads none, and for a file that cannot be read or is too large.
        """
        return token_count(self.prepare(source).pieces, lambda text: len(self._encode(text, False)))
