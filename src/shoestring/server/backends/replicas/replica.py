"""Replica: our engine on one node of the cluster, with the same service that a server on one machine has.

Ray calls its methods. They get our requests and give our items, so an answer is the one of a single process.
"""

from __future__ import annotations

import platform
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import shoestring
from shoestring.engine.request import Counts
from shoestring.errors import RequestError
from shoestring.kv_types import KVType
from shoestring.runtime.model import Model
from shoestring.runtime.prompt import Prompt
from shoestring.server.backends.backend import Spellings
from shoestring.server.backends.replicas.addresses import listen_only_on
from shoestring.server.backends.replicas.batches import batched
from shoestring.server.errors import ApiError, from_exception
from shoestring.server.facts import ServedModel, served_model
from shoestring.server.http import record
from shoestring.server.limits import Limits
from shoestring.server.media.fetch import Web
from shoestring.server.media.reading import Cost
from shoestring.server.media.unread import Unread
from shoestring.server.request import ChatRequest, CompletionRequest, StreamItem
from shoestring.server.service import Service

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """What a replica loads, and how it answers."""

    model: str
    id: str
    aliases: tuple[str, ...] = ()
    threads: int | None = None
    kv_type: KVType = "f16"
    context: int | None = None
    memory: int | None = None
    parallel: int | None = None
    cache_memory: int | None = None
    experts_per_token: int | None = None
    mmproj: str | None = None
    max_image_tokens: int | None = None
    video_fps: float | None = None
    max_frames: int | None = None
    #: fetch pictures whose URL a request has
    allow_remote_media: bool = False

    def load(self, cores: int) -> Model:
        from shoestring.runtime.loading import load, physical_cores

        return load(
            self.model,
            threads=self.threads or max(1, min(physical_cores(), cores)),
            kv_type=self.kv_type,
            context=self.context,
            memory=self.memory,
            parallel=self.parallel,
            cache_memory="share" if self.cache_memory is None else self.cache_memory,
            experts_per_token=self.experts_per_token,
            mmproj=self.mmproj,
            max_image_tokens=self.max_image_tokens,
            video_fps=self.video_fps,
            max_frames=self.max_frames,
        )


@dataclass(frozen=True)
class Vocabulary:
    """Spellings of a model that is somewhere else."""

    bos_id: int | None
    add_bos: bool
    eos_ids: frozenset[int]
    thinking: tuple[int, int] | None
    table: tuple[bytes, ...]

    def token_bytes(self, id: int, /) -> bytes:
        return self.table[id]


def versions() -> dict[str, str]:
    """What must be the same on all nodes."""
    return {"shoestring": shoestring.__version__, "Python": platform.python_version()}


class Replica:
    """One engine. load: makes the model, given the node's cores. expected: the versions of who starts it.

    generation: counts rolling restarts; a new one replaces the replicas. web: fetch pictures that a request names.
    """

    def __init__(
        self,
        load: Callable[[int], Model],
        id: str,
        aliases: tuple[str, ...],
        limits: Limits,
        expected: dict[str, str],
        generation: int,
        web: bool = False,
    ) -> None:
        import ray
        from ray import serve

        here = versions()
        for name, version in expected.items():
            if here[name] != version:
                raise RequestError(f"mixed versions: this node has {name} {here[name]}, the front door {version}")
        node = ray.get_runtime_context().get_node_id()
        known = next(entry for entry in ray.nodes() if entry["NodeID"] == node)
        listen_only_on(known["NodeManagerAddress"])
        cores = int(known["Resources"].get("CPU", 1))
        context = serve.get_replica_context()
        self.name = f"{known['NodeManagerHostname']}-{context.replica_id.unique_id}"
        model = load(max(1, cores))
        self.info: ServedModel = served_model(model, id, aliases)
        # The front door bounds what waits.
        self._service = Service(model, self.info, queue=100_000, limits=limits, web=Web() if web else None)
        self._service.start()

    def check_health(self) -> None:
        """Ray replaces a replica whose engine has stopped."""
        if not self._service.ready:
            raise RuntimeError("the engine has stopped")

    def describe(self) -> tuple[ServedModel, Vocabulary]:
        tokenizer: Spellings = self._service.model.tokenizer
        size = self._service.model.tokenizer.vocab_size
        table = tuple(tokenizer.token_bytes(id) for id in range(size))
        return self.info, Vocabulary(tokenizer.bos_id, tokenizer.add_bos, tokenizer.eos_ids, tokenizer.thinking, table)

    async def counts(self) -> tuple[str, Counts | None]:
        return self.name, await self._service.counts()

    async def answer(
        self, prefix: str, request: ChatRequest | CompletionRequest, body_bytes: int
    ) -> AsyncIterator[list[StreamItem] | ApiError | None]:
        """None once the engine has accepted the request, then batches of items; or an error, last.

        prefix: for the router.
        """
        record.CURRENT.set(record.Record(body_bytes=body_bytes))
        try:
            chat = isinstance(request, ChatRequest)
            stream = await (self._service.chat(request) if chat else self._service.complete(request))  # type: ignore[arg-type]
        except Exception as error:
            yield from_exception(error)
            return
        try:
            yield None
            async for batch in batched(stream):
                yield batch
        except Exception as error:
            yield from_exception(error)
        finally:
            await stream.aclose()

    async def on_text(self, prefix: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """The result of a function of the service, or its error."""
        return await _result(self._service.on_text(function, *arguments))

    async def on_prompt(self, prefix: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """As `on_text`, of a function that takes a prompt. The first argument is the conversation."""
        return await _result(self._service.on_prompt(function, *arguments))

    async def media_cost(self, prefix: str, media: Unread) -> Cost | ApiError:
        """What a picture or video costs in tokens, or its error."""
        return await _result(self._service.media_cost(media))


async def _result(work: Awaitable[T]) -> T | ApiError:
    try:
        return await work
    except Exception as error:
        return from_exception(error)


def count(service: Service, prompt: Prompt) -> int:
    """For `on_prompt`: the tokens of a conversation's prompt."""
    return len(prompt.tokens)
