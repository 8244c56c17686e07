"""FairLock: a lock that goes to the thread that has waited longest. The engine takes it for each call and step."""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class FairLock:
    """A context manager. The thread that has the lock may enter again.

    With a lock of `threading`, a thread that steps in a loop would take it again before a waiting thread wakes up.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._owner: int | None = None
        self._depth = 0
        #: threads that wait, each with a lock that opens when it is its turn
        self._waiting: deque[tuple[int, threading.Lock]] = deque()

    @property
    def entered(self) -> bool:
        """Whether this thread has the lock."""
        return self._owner == threading.get_ident()

    def __enter__(self) -> None:
        me = threading.get_ident()
        if self._owner == me:
            self._depth += 1
            return
        with self._guard:
            if self._owner is None:
                self._owner, self._depth = me, 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append((me, turn))
        try:
            turn.acquire()
        except BaseException:  # Ctrl-C while waiting
            self._give_up(me, turn)
            raise

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if not self._depth:
            with self._guard:
                self._pass_on()

    def _pass_on(self) -> None:
        self._owner = None
        if self._waiting:
            self._owner, turn = self._waiting.popleft()
            self._depth = 1
            turn.release()

    def _give_up(self, me: int, turn: threading.Lock) -> None:
        with self._guard:
            if self._owner == me:
                self._pass_on()
            else:
                self._waiting.remove((me, turn))


class Locked(Protocol):
    """What `exclusive` needs of an object. drop: what others want done before anything else."""

    lock: FairLock

    def drop(self) -> None: ...


L = TypeVar("L", bound=Locked)


def exclusive(method: Callable[Concatenate[L, P], R]) -> Callable[Concatenate[L, P], R]:
    """Run a method under the object's lock, after `drop`."""

    @functools.wraps(method)
    def locked(self: L, /, *args: P.args, **options: P.kwargs) -> R:
        if self.lock.entered:
            return method(self, *args, **options)
        with self.lock:
            self.drop()
            return method(self, *args, **options)

    return locked
