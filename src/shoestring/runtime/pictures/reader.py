"""PictureReader: how a model reads pictures and video. `Model.vision` is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shoestring.errors import RequestError
from shoestring.media.limits import LIMITS, Limits
from shoestring.media.pieces import token_count
from shoestring.media.prepared import Prepared, prepare
from shoestring.media.settings import Settings
from shoestring.media.source import Source


class PictureReader:
    """settings: of the processor. missing: why the model reads no pictures, and what to do; "": it does.

    encode: ids of a text, for a video's timestamps. limits: of each picture or video.
    """

    def __init__(
        self,
        settings: Settings | None,
        encode: Callable[[str], Sequence[int]],
        missing: str = "",
        limits: Limits = LIMITS,
    ) -> None:
        self._settings = settings
        self._encode = encode
        self.missing = missing if settings is not None else missing or "this model reads text alone: it has no vision"
        self.limits = limits

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
        """What the prompt contains in a picture's place, from its header. Raises RequestError."""
        return prepare(source, self.settings, self.limits)

    def token_count(self, source: Source) -> int:
        """Tokens of a picture or video in a prompt, markers and timestamps included. Decodes no picture.

        Raises RequestError for a model that reads none, and for a file that cannot be read or is too large.
        """
        return token_count(self.prepare(source).pieces, lambda text: len(self._encode(text)))
