"""Record: facts about one request, for its log line and the metrics.

The middleware in logs/log.py opens and closes it; endpoints and the service write into it.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass, field

from shoestring.streaming.counters import Totals


@dataclass
class Record:
    """Facts about one request. Times are from time.perf_counter(), in seconds; 0: not reached."""

    method: str = ""
    #: as the client asked for it
    path: str = ""
    #: the path of its route
    endpoint: str = ""
    status: int = 0
    #: the client's own id of the request, or ours
    request_id: str = ""
    #: the client's address
    client: str = ""
    #: the label of its API key (keys.py)
    key: str = ""
    body_bytes: int = 0
    arrived: float = field(default_factory=time.perf_counter)
    admitted: float = 0.0
    first_token: float = 0.0
    last_token: float = 0.0
    ended: float = 0.0
    #: whether the request generates: log lines of other requests have no tokens
    generates: bool = False
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    #: why the answers ended, joined by "+"; or "cancelled"
    finish: str = ""
    failure: str = ""
    #: of a model that streams: what was asked of its experts between the first token and the last, by all requests
    experts: Totals | None = None
    #: seconds between tokens of one answer, as the client could see them
    gaps: list[float] = field(default_factory=list)

    @property
    def total_seconds(self) -> float:
        return (self.ended or time.perf_counter()) - self.arrived

    @property
    def first_token_seconds(self) -> float | None:
        return self.first_token - self.arrived if self.first_token else None

    @property
    def tokens_per_second(self) -> float | None:
        """Speed of the answer after its first token."""
        spent = self.last_token - self.first_token
        return (self.output_tokens - 1) / spent if self.output_tokens > 1 and spent > 0 else None


#: the record of this task's request
CURRENT: ContextVar[Record | None] = ContextVar("record", default=None)


def current() -> Record:
    """The record of this task's request, or a new one outside of requests."""
    return CURRENT.get() or Record()
