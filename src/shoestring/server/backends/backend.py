"""Backend: what the endpoints and the server need of whatever answers requests. They know nothing else about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from shoestring.engine.request import Counts
from shoestring.server.backends.stream import Stream as Stream
from shoestring.server.facts import ServedModel
from shoestring.server.limits import Limits
from shoestring.server.media.reading import Cost
from shoestring.server.media.unread import Unread
from shoestring.server.request import ChatRequest, CompletionRequest
from shoestring.streaming.counters import Totals

T = TypeVar("T")

#: The names of clients with an API key begin so; all others share one prefix cache.
KEY = "key:"


class Spellings(Protocol):
    """How the backend's tokens are spelled, for log-probabilities and echoes."""

    @property
    def bos_id(self) -> int | None: ...
    @property
    def add_bos(self) -> bool: ...
    @property
    def eos_ids(self) -> frozenset[int]: ...
    @property
    def thinking(self) -> tuple[int, int] | None: ...
    def token_bytes(self, id: int, /) -> bytes: ...


@dataclass(frozen=True)
class Experts:
    """A model whose experts stream from disk: the share that is in memory, and what was counted."""

    share: float = 1.0
    totals: Totals = field(default_factory=Totals)


class Backend(Protocol):
    """One model, and the requests in it. `start` it before use, `close` it after."""

    info: ServedModel
    limits: Limits
    #: maximum waiting requests
    queue: int
    #: new requests are refused
    closing: bool

    def start(self) -> None: ...
    def close(self) -> None:
        """Running requests end with an error. May be called from any thread, and twice."""

    async def ended(self) -> None:
        """Wait for what needs the event loop to end, after `close`."""

    def refuse_new(self) -> None:
        """Refuse new requests with 503; running requests continue."""

    @property
    def idle(self) -> bool:
        """Whether no thread of the backend runs anything."""

    @property
    def busy(self) -> bool:
        """Whether a request is in it."""

    @property
    def waiting(self) -> int:
        """Number of requests whose prompt nobody computes yet."""

    @property
    def running(self) -> int: ...

    async def health(self) -> str | None:
        """None while requests are accepted and can be answered, else the reason in a few words."""

    async def counts(self) -> Counts | None:
        """The counts of the engines, summed; None if they are not known in time."""

    async def replicas(self) -> Mapping[str, Counts]:
        """The counts by replica; {} where there are none."""

    @property
    def experts(self) -> Experts: ...
    @property
    def spellings(self) -> Spellings: ...

    def check_model(self, name: str | None) -> None:
        """Raise ApiError if this server does not serve the model (404), or the name is too long to be repeated."""

    async def chat(self, request: ChatRequest) -> Stream:
        """Answer a conversation. Raises ApiError for what is refused, before the answer begins."""

    async def complete(self, request: CompletionRequest) -> Stream:
        """Continue a raw prompt. Raises ApiError."""

    async def count_tokens(self, request: ChatRequest) -> int:
        """Number of tokens in the prompt of `chat`, also if it is longer than the context. Raises ApiError."""

    async def on_text(self, function: Callable[..., T], /, *arguments: Any) -> T:
        """`function(service, *arguments)` in a process that has the model's tokenizer. Raises ApiError.

        service: the one there, a `Service`. The function is one of a module, and its arguments can be pickled.
        """

    async def on_prompt(self, function: Callable[..., T], request: ChatRequest, /, *arguments: Any) -> T:
        """`function(service, prompt, *arguments)`, as `on_text`. prompt: the conversation's, pictures included."""

    async def media_cost(self, media: Unread) -> Cost:
        """What a picture or video costs in tokens. Raises ApiError."""

    async def beside(self, function: Callable[..., T], /, *arguments: Any) -> T:
        """The result of a function that takes time in proportion to a request or an answer, outside the event loop."""
