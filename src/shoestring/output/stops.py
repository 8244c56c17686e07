"""Stop strings: end an answer's content before the first one, even if it spans several tokens."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Passes text through, but holds back an end that could become a stop string, and drops everything after one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        #: the stop string that was found
        self.found: str | None = None

    def push(self, text: str) -> str:
        """Add text; return what is safe to show."""
        if self.found is not None:
            return ""
        self._held += text
        places = [(at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if places:
            at, self.found = min(places, key=lambda place: place[0])
            shown, self._held = self._held[:at], ""
            return shown
        overlap = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        shown, self._held = self._held[: len(self._held) - overlap], self._held[len(self._held) - overlap :]
        return shown

    def finish(self) -> str:
        """Return the text held back, since nothing follows."""
        shown, self._held = self._held, ""
        return shown


def _overlap(text: str, stop: str) -> int:
    """Length of the longest suffix of `text` that is a prefix of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
