"""Pumped: a request whose items come from somewhere else. A task reads them ahead of the client, and records facts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from shoestring.server.backends.stream import End
from shoestring.server.errors import ApiError, from_exception, shutting_down
from shoestring.server.http.record import Record
from shoestring.server.request import Delta, Finished, Started, StreamItem, Usage

#: Times between tokens that a request's metrics count.
_MOST_GAPS = 10_000


@dataclass(eq=False)
class Pumped:
    """One request: the queue to its client, and the task that fills it."""

    record: Record
    loop: asyncio.AbstractEventLoop
    #: the error of a request that the backend cancels, not its client
    ending: Callable[[], ApiError] = shutting_down
    items: asyncio.Queue[StreamItem | End] = field(default_factory=asyncio.Queue)
    started: bool = False
    #: time of each answer's latest token
    latest: dict[int, float] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None

    async def begin(self, source: AsyncGenerator[list[StreamItem], None]) -> None:
        """Pass on the items of `source` until it ends, fails, or the request is cancelled."""
        self.record.generates = True
        self.task = asyncio.ensure_future(self._pump(source))
        await asyncio.sleep(0)  # a task that is cancelled before it runs would not close the source

    async def _pump(self, source: AsyncGenerator[list[StreamItem], None]) -> None:
        end: End = None
        try:
            async for items in source:
                now = time.perf_counter()
                for item in items:
                    self._note(item, now)
                    self.items.put_nowait(item)
        except asyncio.CancelledError:
            self.record.finish = self.record.finish or "cancelled"
            end = self.ending()
            raise
        except Exception as error:
            end = error if isinstance(error, ApiError) else from_exception(error)
        finally:
            self.items.put_nowait(end)
            await source.aclose()

    def cancel(self) -> None:
        """End the request, from any thread."""
        if self.task is not None and not self.task.done() and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.task.cancel)

    def _note(self, item: StreamItem, now: float) -> None:
        """Record times, tokens and finish reasons, for the log and the metrics."""
        record = self.record
        match item:
            case Started():
                self.started = True
                record.admitted = record.admitted or now
            case Delta(choice, events, tokens) if events or tokens:
                record.first_token = record.first_token or now
                record.last_token = now
                if choice in self.latest and len(record.gaps) < _MOST_GAPS:
                    record.gaps.append(now - self.latest[choice])
                self.latest[choice] = now
            case Finished(_, reason, _, inside):
                how = f"{reason} inside thinking" if inside else reason
                record.finish = f"{record.finish}+{how}" if record.finish else how
            case Usage():
                record.prompt_tokens += item.prompt_tokens
                record.cached_tokens += item.cached_tokens
                record.output_tokens += item.completion_tokens
