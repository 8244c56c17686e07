"""The bodies of all requests together: their number, and the bytes that they and their parsed values take.

A body counts from its first byte until its request has become a prompt. Small ones have a part of the bytes to
themselves, so that large ones do not keep them out. All of this runs in the event loop's thread.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from shoestring.server.errors import ApiError
from shoestring.server.limits import Limits

#: A body that has been arriving for longer makes way for new ones when the limits are reached.
_SLOW_SECONDS = 5.0
#: A body is small up to this part of all bytes, and small ones together have this part.
_SMALL_PART, _PART_OF_SMALL = 64, 4


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
        self._small = limits.bodies_bytes // _SMALL_PART
        self._claims: dict[Claim, None] = {}

    @property
    def bytes(self) -> int:
        """Of all bodies."""
        return sum(claim.bytes for claim in self._claims)

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
        """Count more bytes. Raises ApiError (503) if bodies of this size together take too many; one alone may."""
        if claim not in self._claims:
            return
        size = claim.bytes + more
        while self._others_of_size(claim, size) + size > self._limit(size) and self._others_of_size(claim, size):
            if not self._evict(claim):
                raise overloaded("the requests that the server is reading are too large together")
        claim.bytes = size

    def _limit(self, size: int) -> int:
        """The most bytes of all bodies that are small, or large, as one of this size is."""
        small = self._limits.bodies_bytes // _PART_OF_SMALL
        return small if size <= self._small else self._limits.bodies_bytes - small

    def _others_of_size(self, claim: Claim, size: int) -> int:
        """Bytes of the other bodies that are small, or large, as one of this size is."""
        is_small = size <= self._small
        return sum(c.bytes for c in self._claims if c is not claim and (c.bytes <= self._small) == is_small)

    def release(self, claim: Claim) -> None:
        """Remove a claim; more than once has no effect."""
        self._claims.pop(claim, None)

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
