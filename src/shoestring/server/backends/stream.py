"""Stream: the items of one request, as endpoints read them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shoestring.server.request import StreamItem

#: What ends a request's items: None after the last one, or the exception of a request that failed.
End = None | Exception


class Stream:
    """The items of one request. Read it to the end, or close it: `aclose` cancels what has not ended.

    release: called once, when the request is over for its client.
    """

    def __init__(self, items: asyncio.Queue[StreamItem | End], release: Callable[[], None]) -> None:
        self._items = items
        self._release = release
        self._open = True

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> StreamItem:
        if not self._open:
            raise StopAsyncIteration
        item = await self._items.get()
        if item is None or isinstance(item, Exception):
            await self.aclose()
            raise StopAsyncIteration if item is None else item
        return item

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            self._release()

    def __del__(self) -> None:
        # For a response that was dropped before it began to read.
        if self._open:
            self._release()
