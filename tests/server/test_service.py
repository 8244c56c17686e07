"""The service: streams that cancel, a bounded queue, failing steps, an orderly end, boundaries for the cache."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from shoestring.errors import NumericsError
from shoestring.output.events import Content, Thinking, ToolCall, ToolCallArguments
from shoestring.runtime.model import Model
from shoestring.runtime.prompt import chat_prompt
from shoestring.server.errors import ApiError
from shoestring.server.facts import served_model
from shoestring.server.limits import Limits
from shoestring.server.request import (
    ChatRequest,
    CompletionRequest,
    Constraint,
    Delta,
    Finished,
    GenerationOptions,
    Progress,
    Started,
    StreamItem,
    ToolChoice,
    Usage,
)
from shoestring.server.service import Service, Stream
from shoestring.testing import Family, Reply, scripted_model

LONG = Reply("x" * 2000)
REPLIES = {"hi": Reply("hello", thinking="hmm"), "long": LONG, "act": Reply("now", calls=[("f", {"a": [1, "ä"]})])}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}}


def ask(text: str = "hi", **options: Any) -> ChatRequest:
    return ChatRequest(({"role": "user", "content": text},), GenerationOptions(**options))


async def items(stream: Stream) -> list[StreamItem]:
    return [item async for item in stream]


def said(found: list[StreamItem], kind: type, choice: int = 0) -> str:
    events = [e for item in found if isinstance(item, Delta) and item.choice == choice for e in item.events]
    return "".join(e.text for e in events if isinstance(e, kind))


def play(scene: Callable[[Service], Coroutine[Any, Any, None]], model: Model | None = None, **options: Any) -> Service:
    """Run a scene against a started service; afterwards the engine's thread has ended and nothing is left in it."""
    service = Service(model or scripted_model(REPLIES, context=4096), **options)
    service.start()
    try:
        asyncio.run(asyncio.wait_for(scene(service), 60))
    finally:
        service.close()
    assert not service._engine.alive
    assert service.model.engine.idle
    service.model.engine.check()
    return service


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_items_come_in_the_order_that_is_promised() -> None:
    async def scene(service: Service) -> None:
        found = await items(await service.chat(ask(n=2)))
        assert isinstance(found[0], Started)
        kinds = [type(item) for item in found]
        assert kinds.index(Delta) > max(i for i, kind in enumerate(kinds) if kind is Progress)
        assert [type(item) for item in found if isinstance(item, Finished | Usage)] == [Finished, Finished, Usage]
        for choice in range(2):
            assert said(found, Thinking, choice).strip() == "hmm"
            assert said(found, Content, choice) == "hello"
        usage = found[-1]
        assert isinstance(usage, Usage)
        assert usage.prompt_tokens == found[0].prompt_tokens
        assert usage.completion_tokens == sum(len(item.tokens) for item in found if isinstance(item, Delta))
        assert 0 < usage.thinking_tokens < usage.completion_tokens

    play(scene)


@pytest.mark.parametrize("family", ["qwen3_5", "llama4"])
def test_a_call_comes_whole(family: Family) -> None:
    async def scene(service: Service) -> None:
        request = ChatRequest(({"role": "user", "content": "act"},), tools=(TOOL,))
        found = await items(await service.chat(request))
        calls = [e for i in found if isinstance(i, Delta) for e in i.events if isinstance(e, ToolCall)]
        assert [call.name for call in calls] == ["f"]
        assert said(found, ToolCallArguments).replace(" ", "") == '{"a":[1,"ä"]}'
        assert any(isinstance(item, Finished) and item.reason == "tool_calls" for item in found)

    play(scene, scripted_model(REPLIES, family=family, context=8192))


def test_a_closed_stream_is_out_of_the_engine_within_a_step() -> None:
    async def scene(service: Service) -> None:
        stream = await service.chat(ask("long"))
        async for item in stream:
            if isinstance(item, Delta):
                break
        await stream.aclose()
        steps = service._engine.steps
        await until(lambda: service.model.engine.idle)
        assert service._engine.steps <= steps + 1
        assert not service.busy
        assert said(await items(await service.chat(ask())), Content) == "hello"

    play(scene)


def test_a_client_that_goes_during_the_prompt_stops_it() -> None:
    """The prompt takes many steps; after the close the engine computes no more of it."""

    async def scene(service: Service) -> None:
        stream = await service.chat(ask("y" * 6000))
        async for item in stream:
            if isinstance(item, Progress):
                assert item.computed < item.prompt_tokens
                break
        await stream.aclose()
        await until(lambda: service.model.engine.idle)
        assert service.model.engine.runner.rows < 6000  # type: ignore[attr-defined]

    play(scene, scripted_model(REPLIES, context=8192))


def test_a_stream_that_nobody_reads_is_given_up() -> None:
    async def scene(service: Service) -> None:
        stream = await service.chat(ask("long"))
        del stream
        await until(lambda: service.model.engine.idle)
        assert not service.busy

    play(scene)


def test_a_full_queue_is_told_with_a_time_to_wait() -> None:
    async def scene(service: Service) -> None:
        running = [await service.chat(ask("long")) for _ in range(2)]
        await asyncio.gather(*(anext(stream) for stream in running))
        waiting = [await service.chat(ask("long")) for _ in range(2)]
        with pytest.raises(ApiError) as refused:
            await service.chat(ask())
        assert refused.value.status == 429
        assert int(refused.value.headers["Retry-After"]) >= 1
        for stream in (*running, *waiting):
            await stream.aclose()
        assert said(await items(await service.chat(ask())), Content) == "hello"

    play(scene, scripted_model(REPLIES, context=4096, sequences=2), queue=2)


def test_a_form_that_waits_for_others_is_refused_soon_and_never_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    model, go_on, compiled = scripted_model(REPLIES), threading.Event(), []
    form_of = model.form_of

    def slowly(request: Any) -> Any:
        compiled.append(request.messages[0]["content"])
        go_on.wait(30)
        return form_of(request)

    monkeypatch.setattr(model, "form_of", slowly)
    monkeypatch.setattr("shoestring.server.service._FORM_WAIT_SECONDS", 0.3)
    constraint = Constraint("regex", "(hello|bye){1,9}")

    async def scene(service: Service) -> None:
        first = [
            asyncio.ensure_future(service.chat(ask(str(i), constraint=constraint, max_tokens=2))) for i in range(4)
        ]
        while len(compiled) < 4:
            await asyncio.sleep(0.01)
        with pytest.raises(ApiError, match="wait to be compiled") as refused:
            await service.chat(ask("late", constraint=constraint))
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "5")
        go_on.set()
        for stream in await asyncio.gather(*first):
            await stream.aclose()

    play(scene, model)
    assert sorted(compiled) == ["0", "1", "2", "3"]


def test_a_models_name_is_short_because_answers_repeat_it() -> None:
    model = scripted_model(REPLIES)
    service = Service(model, served_model(model, "m", ("*",)))
    service.check_model("x" * 512)
    with pytest.raises(ApiError, match="512 characters") as refused:
        service.check_model("x" * 513)
    assert (refused.value.status, refused.value.param) == (400, "model")


def test_waiting_prompts_are_bounded_by_memory_but_one_alone_may_be_long() -> None:
    long = "z" * 1000

    async def scene(service: Service) -> None:
        running = await service.chat(ask("long"))
        await anext(running)
        waiting = [await service.chat(ask(long))]
        with pytest.raises(ApiError) as refused:
            await service.chat(ask(long))
        assert (refused.value.status, refused.value.code) == (429, "queue_full")
        assert int(refused.value.headers["Retry-After"]) >= 1
        waiting.append(await service.chat(ask()))
        with pytest.raises(ApiError):
            await service.chat(ask("y" * 100, n=16))
        for stream in (running, *waiting):
            await stream.aclose()
        assert said(await items(await service.chat(ask())), Content) == "hello"

    play(scene, scripted_model(REPLIES, context=4096, sequences=1), limits=Limits(waiting_bytes=54_000))


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (ask("z" * 5000), "context_length_exceeded"),
        (ask(n=0), None),
        (ask(n=99), None),
        (ask(max_tokens=0), None),
        (ask(stop=("",)), None),
        (ask(stop=("a",) * 99), None),
        (ask(sampling={"temperature": -1.0}), None),
        (ask(sampling={"logit_bias": {10**6: 1.0}}), None),
        (ChatRequest(()), None),
        (ChatRequest(({"role": "wizard", "content": "a"},)), None),
        (ChatRequest(({"role": "user", "content": "a"},), template_arguments={"messages": []}), None),
        (ChatRequest(({"role": "user", "content": "a"},), tools=({"type": "function"},)), None),
        (ChatRequest(({"role": "user", "content": "a"},), tools=(TOOL, TOOL)), None),
        (ChatRequest(({"role": "user", "content": "a"},), tool_choice=ToolChoice("required")), None),
        (
            ChatRequest(({"role": "user", "content": "a"},), tools=(TOOL,), tool_choice=ToolChoice("required", "g")),
            None,
        ),
        (CompletionRequest(""), None),
        (CompletionRequest((10**6,)), None),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(request_: Any, code: str | None) -> None:
    async def scene(service: Service) -> None:
        with pytest.raises(ApiError) as refused:
            await (service.chat if isinstance(request_, ChatRequest) else service.complete)(request_)
        assert refused.value.status == 400
        assert code in (None, refused.value.code)
        assert service.model.engine.runner.rows == 0  # type: ignore[attr-defined]
        assert not service.busy

    play(scene)


@pytest.mark.parametrize("error", [NumericsError("a logit"), MemoryError(), ValueError("a bug"), KeyError("x")])
def test_a_failing_step_ends_its_requests_and_the_server_lives_on(error: Exception) -> None:
    async def scene(service: Service) -> None:
        runner: Any = service.model.engine.runner
        real, left = runner.forward, [3]

        def failing(*arguments: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise error
            return real(*arguments)

        runner.forward = failing
        with pytest.raises(ApiError) as failed:
            await items(await service.chat(ask()))
        assert failed.value.status == 500
        assert not service.busy
        assert said(await items(await service.chat(ask())), Content) == "hello"

    play(scene)


def test_who_runs_may_finish_and_who_comes_is_refused() -> None:
    async def scene(service: Service) -> None:
        stream = await service.chat(ask())
        service.refuse_new()
        assert not service.ready
        with pytest.raises(ApiError) as refused:
            await service.chat(ask())
        assert refused.value.status == 503
        assert said(await items(stream), Content) == "hello"
        assert not service.busy

    play(scene)


def test_closing_ends_what_runs_with_an_error() -> None:
    async def scene(service: Service) -> None:
        stream = await service.chat(ask("long"))
        assert service.busy
        await asyncio.to_thread(service.close)
        with pytest.raises(ApiError) as ended:
            await items(stream)
        assert ended.value.status == 503

    play(scene)


def test_the_same_request_again_is_served_from_the_cache() -> None:
    async def scene(service: Service) -> None:
        first = await items(await service.chat(ask("w" * 1000)))
        again = await items(await service.chat(ask("w" * 1000)))
        assert isinstance(first[-1], Usage)
        assert isinstance(again[-1], Usage)
        assert first[-1].cached_tokens == 0
        assert again[-1].cached_tokens >= again[-1].prompt_tokens - 2
        assert said(first, Content) == said(again, Content)

    play(scene)


@pytest.mark.parametrize("family", ["qwen3_5", "llama4"])
def test_boundaries_stand_before_every_message_and_behind_the_last(family: Family) -> None:
    """Each is the end of a prompt of fewer messages, so that a conversation that branches there shares all of it."""
    model = scripted_model(family=family)
    messages = [
        {"role": "system", "content": "be <|im_start|> brief <|header_start|>"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]

    def rendered(count: int, opened: bool = False) -> tuple[int, ...]:
        return tuple(model.template.render(messages[:count], add_generation_prompt=opened).token_ids)

    prompt = chat_prompt(model.template, ChatRequest(tuple(messages)))
    assert prompt.tokens == rendered(4, opened=True)
    for count in (2, 4):  # the template refuses conversations without a user
        assert len(rendered(count)) in prompt.boundaries
    assert {len(rendered(2)), len(rendered(4))} <= set(prompt.boundaries)
    # before system (llama4 writes a beginning of text), user, assistant and user, and behind all
    assert len(prompt.boundaries) == (4 if family == "qwen3_5" else 5)
    # an edit of the last user message shares everything before it
    edited = chat_prompt(model.template, ChatRequest((*messages[:3], {"role": "user", "content": "other"})))
    shared = next(i for i, (a, b) in enumerate(zip(prompt.tokens, edited.tokens, strict=False)) if a != b)
    assert max(b for b in prompt.boundaries if b <= shared) == max(b for b in edited.boundaries if b <= shared)
    assert max(b for b in prompt.boundaries if b <= shared) > len(rendered(2))


def test_counting_and_rendering_agree_with_answering() -> None:
    async def scene(service: Service) -> None:
        request = ChatRequest(({"role": "user", "content": "hi"},), tools=(TOOL,))
        found = await items(await service.chat(request))
        assert isinstance(found[0], Started)
        assert await service.count_tokens(request) == found[0].prompt_tokens
        assert len((await service.render(request)).tokens) == found[0].prompt_tokens
        counts = await service.counts()
        assert counts is not None
        assert counts.running == counts.waiting == 0

    play(scene)
