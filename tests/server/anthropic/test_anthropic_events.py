"""Any answer of the service becomes Anthropic's events in order, and the message that they add up to."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoestring.output.events import Content, Event, Thinking, ToolCall, ToolCallArguments, ToolCallEnd
from shoestring.server.anthropic.wire import MessageEvents, assembled, event_text
from shoestring.server.request import Delta, Finished, Progress, Started, StreamItem, Usage

#: A busy machine generates examples slowly, which is no failure.
quiet = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
letters = 'ab \n"{é😀'
pieces = st.lists(st.text(letters, max_size=3), max_size=4)


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[StreamItem], list[tuple[str, Any]]]:
    """Items of an answer, and its expected blocks: kind, text or arguments."""
    events: list[Event] = []
    blocks: list[tuple[str, Any]] = []
    for number in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["thinking", "text", "tool_use"]))
        if kind == "tool_use":
            arguments = draw(
                st.dictionaries(st.text(letters, max_size=3), st.integers() | st.text(letters, max_size=3), max_size=3)
            )
            written = json.dumps(arguments)
            cut = draw(st.integers(0, len(written)))
            parts = [ToolCallArguments(number, text) for text in (written[:cut], written[cut:])]
            events += [ToolCall(number, f"id{number}", "look"), *parts, ToolCallEnd(number)]
            blocks.append((kind, arguments))
            continue
        texts = draw(pieces)
        events += [Thinking(text) if kind == "thinking" else Content(text) for text in texts]
        if not "".join(texts):
            continue
        if blocks and blocks[-1][0] == kind:
            blocks[-1] = (kind, blocks[-1][1] + "".join(texts))
        else:
            blocks.append((kind, "".join(texts)))
    prompt, cached = draw(st.integers(1, 99)), 0
    cached = draw(st.integers(0, prompt))
    items: list[StreamItem] = [Started(prompt, cached), *(Progress(n, prompt) for n in range(draw(st.integers(0, 2))))]
    while events:
        size = draw(st.integers(0, 3))
        items.append(Delta(0, tuple(events[:size]), ()))
        events = events[size:]
    reason = draw(st.sampled_from(["stop", "length", "context", "tool_calls"]))
    stop = draw(st.none() | st.just("END")) if reason == "stop" else None
    return [*items, Finished(0, reason, stop), Usage(prompt, cached, 7, 3)], blocks


def events_of(items: list[StreamItem], **options: Any) -> list[dict[str, Any]]:
    events = MessageEvents("msg_1", "m", **options)
    return [event for item in items for event in events.take(item)]


@quiet
@given(answers())
def test_events_come_in_order(answer: tuple[list[StreamItem], list[tuple[str, Any]]]) -> None:
    events = [event for event in events_of(answer[0]) if event["type"] != "ping"]
    kinds = [event["type"] for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    inside, index = False, 0
    for event in events[1:-2]:
        match event["type"]:
            case "content_block_start":
                assert not inside
                assert event["index"] == index
                inside = True
            case "content_block_delta":
                assert inside
                assert event["index"] == index
            case "content_block_stop":
                assert inside
                assert event["index"] == index
                inside, index = False, index + 1
            case other:
                raise AssertionError(f"{other} has no place among the blocks")
    assert not inside


@quiet
@given(answers())
def test_the_message_matches_the_service(answer: tuple[list[StreamItem], list[tuple[str, Any]]]) -> None:
    items, blocks = answer
    message = assembled(events_of(items))
    fields = {"thinking": "thinking", "text": "text", "tool_use": "input"}
    assert [(block.type, getattr(block, fields[block.type])) for block in message.content] == blocks
    usage = message.usage
    started = items[0]
    assert isinstance(started, Started)
    prompt = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
    assert (prompt, usage.cache_read_input_tokens) == (started.prompt_tokens, started.cached_tokens)
    assert usage.output_tokens == 7
    finished = items[-2]
    assert isinstance(finished, Finished)
    means = {
        "stop": "stop_sequence" if finished.stop_sequence else "end_turn",
        "length": "max_tokens",
        "context": "model_context_window_exceeded",
        "tool_calls": "tool_use",
    }
    assert (message.stop_reason, message.stop_sequence) == (means[finished.reason], finished.stop_sequence)


@quiet
@given(answers())
def test_omitted_thinking_keeps_its_block_without_text(
    answer: tuple[list[StreamItem], list[tuple[str, Any]]],
) -> None:
    shown, hidden = (assembled(events_of(answer[0], show_thinking=show)).content for show in (True, False))
    assert [block.type for block in shown] == [block.type for block in hidden]
    for one, other in zip(shown, hidden, strict=True):
        assert getattr(other, "thinking", "") == ""
        assert one == other or one.type == "thinking"


def test_a_thinking_block_ends_with_an_empty_signature() -> None:
    items: list[StreamItem] = [Started(1, 0), Delta(0, (Thinking("a"), Content("b")), ()), Finished(0, "stop")]
    deltas = [e["delta"]["type"] for e in events_of(items) if e["type"] == "content_block_delta"]
    assert deltas == ["thinking_delta", "signature_delta", "text_delta"]


def test_cut_off_arguments_are_no_error() -> None:
    events = (ToolCall(0, "id", "look"), ToolCallArguments(0, '{"a": "unfini'))
    items: list[StreamItem] = [Started(1, 0), Delta(0, events, ()), Finished(0, "length"), Usage(1, 0, 5, 0)]
    message = assembled(events_of(items))
    assert (message.content[0].type, message.stop_reason) == ("tool_use", "max_tokens")
    assert getattr(message.content[0], "input", None) == {}


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_an_event_is_one_line_of_data_with_its_name(text: str) -> None:
    written = event_text({"type": "ping", "text": text})
    name, data, *rest = written.split("\n")
    assert name == "event: ping"
    assert json.loads(data.removeprefix("data: ")) == {"type": "ping", "text": text}
    assert rest == ["", ""]
