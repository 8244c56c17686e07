"""Workers: threads for what would stop the event loop. As daemons they cannot keep the process from ending.

The executors of asyncio and concurrent.futures wait for their threads when the interpreter ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from shoestring.errors import RequestError

T = TypeVar("T")


class Workers:
    """Up to `number` threads, started when needed. They run functions in the order of the calls."""

    def __init__(self, number: int, name: str) -> None:
        self._number = number
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._busy = 0

    @property
    def busy(self) -> bool:
        """Whether a thread runs a function."""
        return self._busy > 0

    @property
    def waiting(self) -> int:
        """Calls that no thread has begun."""
        return self._calls.qsize()

    def start(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Run a function whose result and errors nobody needs."""

        def call() -> None:
            try:
                function(*arguments)
            except BaseException:
                return

        self._put(call)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """The result of a function that runs in a thread, in the caller's context. Not started if cancelled before.

        A panic of a Rust library, which is no Exception, becomes a RequestError.
        """
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()

        def call() -> None:
            if result.cancelled():
                return
            try:
                value = context.run(function, *arguments)
            except BaseException as error:
                finish(_fail, result, error)
            else:
                finish(_succeed, result, value)

        def finish(*step: Any) -> None:
            try:
                loop.call_soon_threadsafe(*step)
            except RuntimeError:  # the loop is closed: nobody waits
                return

        self._put(call)
        return await result

    def close(self) -> None:
        """End the threads after the calls that wait: somebody waits for each of them."""
        for _ in self._threads:
            self._calls.put(None)

    def _put(self, call: Callable[[], None]) -> None:
        self._calls.put(call)
        with self._lock:
            if len(self._threads) < self._number:
                self._threads.append(threading.Thread(target=self._work, name=self._name, daemon=True))
                self._threads[-1].start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            with self._lock:
                self._busy += 1
            try:
                call()
            finally:
                del call  # holds the arguments and the result
                with self._lock:
                    self._busy -= 1


def _succeed(result: asyncio.Future[Any], value: Any) -> None:
    if not result.done():
        result.set_result(value)


def _fail(result: asyncio.Future[Any], error: BaseException) -> None:
    if result.done():
        return
    if not isinstance(error, Exception):
        what = " ".join(str(error).split())[:200]
        error = RequestError(f"a library cannot process this request ({type(error).__name__}: {what})")
    result.set_exception(error)
