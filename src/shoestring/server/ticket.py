"""Ticket: one request between the two threads. asyncio reads its items, the engine's thread writes them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from shoestring.output.form import Form
from shoestring.runtime.answers import Answers
from shoestring.runtime.prompt import Prompt
from shoestring.runtime.request import GenerationOptions
from shoestring.server.http.record import Record
from shoestring.server.request import StreamItem

#: What ends a ticket's items: None when all is said, an exception when it failed.
End = None | Exception


@dataclass(eq=False)
class Ticket:
    """The prompt and options of a request, ready for the engine, and the way back to its client."""

    prompt: Prompt
    options: GenerationOptions
    form: Form
    record: Record
    loop: asyncio.AbstractEventLoop
    #: the engine has taken it, or says why not
    accepted: asyncio.Future[None]
    items: asyncio.Queue[StreamItem | End] = field(default_factory=asyncio.Queue)
    # --- the engine thread's own
    answers: Answers | None = None
    started: bool = False
    computed: int = -1
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
