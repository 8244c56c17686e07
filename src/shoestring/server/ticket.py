"""Ticket: one request between the two threads. asyncio reads its items, the engine's thread writes them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from shoestring.engine.sampler import Sampling
from shoestring.output.machine import OutputMachine
from shoestring.runtime.model import Prompt
from shoestring.server.http.record import Record
from shoestring.server.request import StreamItem

#: What ends a ticket's items: None when all is said, an exception when it failed.
End = None | Exception


@dataclass(eq=False)
class Ticket:
    """The prompt and options of a request, ready for the engine, and the way back to its client."""

    prompt: Prompt
    sampling: Sampling
    max_tokens: int | None
    stop_ids: frozenset[int]
    client: str
    machines: tuple[OutputMachine, ...]
    record: Record
    loop: asyncio.AbstractEventLoop
    #: the engine has taken it, or says why not
    accepted: asyncio.Future[None]
    items: asyncio.Queue[StreamItem | End] = field(default_factory=asyncio.Queue)
    # --- the engine thread's own
    #: the engine's numbers of the answers, by choice
    numbers: list[int] = field(default_factory=list)
    unfinished: set[int] = field(default_factory=set)
    started: bool = False
    computed: int = -1
    cached_tokens: int = 0
    output_tokens: int = 0
    #: when each choice's latest token came
    latest: dict[int, float] = field(default_factory=dict)
    over: bool = False

    def send(self, items: list[StreamItem | End]) -> None:
        """From the engine's thread to the client's task."""
        if items and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._put, items)

    def _put(self, items: list[StreamItem | End]) -> None:
        for item in items:
            self.items.put_nowait(item)

    def accept(self, error: Exception | None = None) -> None:
        """From the engine's thread: the request is in, or cannot be."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._accept, error)

    def _accept(self, error: Exception | None) -> None:
        if self.accepted.done():
            return
        if error is None:
            self.accepted.set_result(None)
        else:
            self.accepted.set_exception(error)
