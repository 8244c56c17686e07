"""The bodies of all requests together: their number, and the bytes that they and their parsed values take.

A body counts from its first byte until its request has become a prompt. All of this runs in the event loop's thread.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from shoestring.server.errors import ApiError
from shoestring.server.limits import Limits

#: A body that has been arriving for longer makes way for new ones when the limits are reached.
_SLOW_SECONDS = 5.0


@dataclass(eq=False)
class Claim:
    """What one body takes. `lost` is done when it has to make way."""

    began: float
    lost: asyncio.Future[None]
    bytes: int = 0
    arriving: bool = True


class InFlight:
    """The claims of all bodies within the limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._claims: dict[Claim, None] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._claims)

    def enter(self) -> Claim:
        """A claim for a body that begins to arrive. Raises ApiError (503) if there are too many."""
        if len(self._claims) >= self._limits.bodies and not self._evict(None):
            raise overloaded("the server is reading too many requests")
        loop = asyncio.get_running_loop()
        claim = Claim(loop.time(), loop.create_future())
        self._claims[claim] = None
        return claim

    def grow(self, claim: Claim, more: int) -> None:
        """Count more bytes. Raises ApiError (503) if all bodies take too many, unless this one is alone."""
        while self.bytes + more > self._limits.bodies_bytes and len(self._claims) > 1:
            if not self._evict(claim):
                raise overloaded("the requests that the server is reading are too large together")
        claim.bytes += more
        self.bytes += more

    def release(self, claim: Claim) -> None:
        """Remove a claim; more than once has no effect."""
        if claim in self._claims:
            del self._claims[claim]
            self.bytes -= claim.bytes

    def _evict(self, but: Claim | None) -> bool:
        """Drop the slow body that began first. Returns False if there is none."""
        latest = asyncio.get_running_loop().time() - _SLOW_SECONDS
        for claim in self._claims:  # in the order of their beginnings
            if claim is not but and claim.arriving and claim.began < latest:
                self.release(claim)
                if not claim.lost.done():
                    claim.lost.set_result(None)
                return True
        return False


def overloaded(what: str) -> ApiError:
    return ApiError(503, f"{what}: try again in 2 s", "overloaded", headers={"Retry-After": "2"})
