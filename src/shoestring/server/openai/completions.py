"""OpenAI's older completions API: continue one or many raw prompts, given as texts or token ids."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from shoestring.server.backends.backend import Backend, Stream
from shoestring.server.constraints import constraint
from shoestring.server.errors import bad_request
from shoestring.server.http.bodies.route import JsonRoute, keep
from shoestring.server.http.dependencies import client, service
from shoestring.server.http.streaming import EventStream, WholeAnswer, event, unless_gone
from shoestring.server.openai import completion_types as api
from shoestring.server.openai.chat_requests import most_tokens
from shoestring.server.openai.completion_wire import Chunk, Chunks
from shoestring.server.openai.sampling_fields import sampling, stop_texts
from shoestring.server.request import CompletionRequest, GenerationOptions, Progress, Scored, StreamItem
from shoestring.server.service import Service

router = APIRouter(tags=["openai"], route_class=JsonRoute)

#: OpenAI's own default of max_tokens.
DEFAULT_TOKENS = 16
#: Maximum prompts of one request in the service at once; the others follow.
_AT_ONCE = 8


@router.post("/v1/completions", response_model=None, responses={200: {"model": api.Completion}})
async def create_completion(body: api.CompletionBody, request: Request) -> Response:
    """Continue one or several prompts; with `stream`, as server-sent events that end with [DONE]."""
    served = service(request, body.model)
    requests = await served.beside(completion_requests, body, client(request))
    echo = body.echo and body.logprobs is None
    echoes = await _echoes(served, requests) if echo else None
    spellings = served.spellings
    chunks = Chunks(
        f"cmpl-{secrets.token_hex(12)}",
        served.info.id,
        requests[0].options.n,
        echoes=echoes,
        token_bytes=spellings.token_bytes if body.logprobs is not None else None,
        added=int(isinstance(requests[0].prompt, str) and spellings.add_bos and spellings.bos_id is not None),
        fingerprint=served.info.fingerprint,
    )
    first = await unless_gone(request.receive, _open(served, requests[:_AT_ONCE]))
    together = Together(served, first, requests[_AT_ONCE:])
    further = (request.prompt for request in requests[_AT_ONCE:])
    keep(request, sum(map(_size, (*further, *(echoes or ())))))
    if body.stream:
        usage = body.stream_options is not None and bool(body.stream_options.include_usage)
        return EventStream(_streamed(together, chunks, usage), source=together, limits=served.limits)
    return WholeAnswer(_whole(together, chunks, served), source=together, beside=served.beside)


def _size(prompt: str | tuple[int, ...]) -> int:
    """Bytes of a prompt, about."""
    return sys.getsizeof(prompt) if isinstance(prompt, str) else 40 * len(prompt)


def completion_requests(body: api.CompletionBody, client: str = "") -> list[CompletionRequest]:
    """One request for each prompt. Raises ApiError."""
    if body.best_of not in (None, 0, 1, body.n):
        raise bad_request("best_of is not supported: ask for n answers and choose among them", param="best_of")
    max_tokens = DEFAULT_TOKENS if body.max_tokens is None else most_tokens(body.max_tokens, None)
    if body.max_tokens == 0 and not body.echo:
        raise bad_request("max_tokens is 0: choose at least 1, or echo the prompt", param="max_tokens")
    fields = sampling(body)
    if body.logprobs is not None:
        fields["logprobs"] = body.logprobs
    options = GenerationOptions(
        sampling=fields,
        max_tokens=max_tokens,
        stop=stop_texts(body.stop),
        n=1 if body.n is None else body.n,
        ignore_eos=bool(body.ignore_eos),
        constraint=constraint(body),
        prompt_logprobs=bool(body.echo) and (body.logprobs is not None or body.max_tokens == 0),
        client=client,
    )
    prompts: list[Any] = (
        [body.prompt] if isinstance(body.prompt, str) or isinstance(body.prompt[0], int) else body.prompt
    )
    return [CompletionRequest(prompt if isinstance(prompt, str) else tuple(prompt), options) for prompt in prompts]


async def _echoes(served: Backend, requests: Sequence[CompletionRequest]) -> list[str]:
    prompts = [request.prompt for request in requests]
    if all(isinstance(prompt, str) for prompt in prompts):
        return await served.beside(list, map(_text, prompts))
    return await served.on_text(_decoded, prompts)


def _decoded(served: Service, prompts: Sequence[str | tuple[int, ...]]) -> list[str]:
    return [_text(prompt if isinstance(prompt, str) else served.model.tokenizer.decode(prompt)) for prompt in prompts]


def _text(prompt: Any) -> str:
    """The prompt's echo. Half of a surrogate pair, which UTF-8 cannot encode, becomes U+FFFD."""
    return str(prompt).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


async def _open(served: Backend, requests: Sequence[CompletionRequest]) -> list[Stream]:
    """Open all streams or none, so that an error comes before the answer begins."""
    opened: list[Stream] = []
    try:
        for request in requests:
            opened.append(await served.complete(request))
    except BaseException:
        for stream in opened:
            await stream.aclose()
        raise
    return opened


class Together:
    """Merges several streams: yields their items with the number of the prompt; opens the next stream when one ends."""

    def __init__(self, served: Backend, first: Sequence[Stream], further: Sequence[CompletionRequest]) -> None:
        self._served = served
        self._open = dict(enumerate(first))
        self._waiting = iter(enumerate(further, len(first)))
        self._news: asyncio.Queue[tuple[int, StreamItem] | Exception | None] = asyncio.Queue(64)
        self._lanes: list[asyncio.Task[None]] = []

    async def items(self) -> AsyncIterator[tuple[int, StreamItem]]:
        self._lanes = [asyncio.create_task(self._lane(number)) for number in self._open]
        running = len(self._lanes)
        while running:
            item = await self._news.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                running -= 1
            else:
                yield item

    async def _lane(self, number: int) -> None:
        """Forward one stream after the other, then None, or the error that ended one."""
        try:
            while True:
                async for item in self._open[number]:
                    await self._news.put((number, item))
                following = next(self._waiting, None)
                if following is None:
                    break
                del self._open[number]
                number = following[0]
                self._open[number] = await self._served.complete(following[1])
            await self._news.put(None)
        except Exception as error:
            await self._news.put(error)

    async def aclose(self) -> None:
        """Cancel the streams that have not ended."""
        for lane in self._lanes:
            lane.cancel()
        if self._lanes:
            await asyncio.wait(self._lanes)
        for stream in self._open.values():
            await stream.aclose()


async def _streamed(together: Together, chunks: Chunks, usage: bool) -> AsyncGenerator[Chunk | str, None]:
    for chunk in chunks.begin():
        yield chunk
    async for prompt, item in together.items():
        if isinstance(item, Progress):
            yield f": prefill {item.computed}/{item.prompt_tokens}\n\n"
        for chunk in chunks.take(prompt, item):
            yield chunk
    if usage:
        yield chunks.usage_chunk()
    yield event("[DONE]")


async def _whole(together: Together, chunks: Chunks, served: Backend) -> dict[str, Any]:
    pieces: list[Chunk] = chunks.begin()
    async for prompt, item in together.items():
        for chunk in chunks.take(prompt, item):
            pieces.append(chunk)
            if isinstance(item, Scored):
                await asyncio.sleep(0)
    return await served.beside(chunks.whole, pieces)
