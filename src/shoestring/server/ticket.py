"""Ticket: one request between the two threads. asyncio reads its items, the engine's thread writes them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from shoestring.output.form import Form
from shoestring.runtime.answers import Answers
from shoestring.runtime.prompt import Prompt
from shoestring.runtime.request import GenerationOptions
from shoestring.server.backends.stream import End as End
from shoestring.server.http.record import Record
from shoestring.server.request import StreamItem
from shoestring.streaming.counters import Totals

#: Bytes of the pixels of a row: 32 × 32 pixels of three channels, in a video twice
_ROW_BYTES = 3 * 32 * 32


@dataclass(eq=False)
class Ticket:
    """A request's prompt and options, ready for the engine, and the queue back to its client.

    The first item is None if the engine accepts the request, else the reason. The items of the stream follow.
    """

    prompt: Prompt
    options: GenerationOptions
    form: Form
    record: Record
    loop: asyncio.AbstractEventLoop
    #: of its pictures and videos
    media_bytes: int = 0
    items: asyncio.Queue[StreamItem | End] = field(default_factory=asyncio.Queue)
    # --- only the engine's thread uses these
    answers: Answers | None = None
    started: bool = False
    computed: int = -1
    #: time of each choice's latest token
    latest: dict[int, float] = field(default_factory=dict)
    over: bool = False
    #: counts of a model that streams, at the first token
    first_totals: Totals | None = None

    @property
    def held_bytes(self) -> int:
        """An estimate of what it holds: the numbers, the prompt, the sequence of each answer, and its pictures.

        A picture is there as its file and as the pixels that the tower reads.
        """
        parts = self.prompt.pictures.parts if self.prompt.pictures is not None else ()
        rows = sum(placed.part.count for placed in parts)
        return len(self.prompt.tokens) * (40 + 8 * self.options.n) + self.media_bytes + _ROW_BYTES * rows

    def send(self, items: list[StreamItem | End]) -> None:
        """Send items from the engine's thread to the client's task."""
        if items and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._put, items)

    def _put(self, items: list[StreamItem | End]) -> None:
        for item in items:
            self.items.put_nowait(item)
