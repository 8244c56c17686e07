"""Converting Anthropic's conversations loses and moves nothing; unsupported blocks are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from shoestring.errors import RequestError
from shoestring.runtime.turns import ordered
from shoestring.server.anthropic.requests import chat_request
from shoestring.server.anthropic.types import CountTokensBody, MessagesBody
from shoestring.server.errors import ApiError
from shoestring.server.request import ChatRequest, Constraint, ToolChoice
from shoestring.server.thinking import EFFORT_BUDGETS

USER = {"role": "user", "content": "hi"}
TOOL = {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}}


def translated(**fields: Any) -> ChatRequest:
    return chat_request(MessagesBody.model_validate({"model": "m", "max_tokens": 9, "messages": [USER], **fields}))


# --- round trip

#: A busy machine generates examples slowly, which is no failure.
quiet = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
texts = st.text('abE \t"{é😀', min_size=1, max_size=8)
names = st.sampled_from(["look", "read", "write"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts, lambda v: st.lists(v) | st.dictionaries(texts, v)
)


def text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


text_blocks = texts.map(text_block)
results = st.builds(
    lambda id, content, error: {"type": "tool_result", "tool_use_id": id, "content": content, "is_error": error},
    texts,
    texts | st.lists(text_blocks, min_size=1, max_size=3),
    st.booleans() | st.none(),
)
thoughts = texts.map(lambda text: {"type": "thinking", "thinking": text, "signature": ""})
redacted = texts.map(lambda text: {"type": "redacted_thinking", "data": text})
uses = st.builds(
    lambda id, name, input: {"type": "tool_use", "id": id, "name": name, "input": input},
    texts,
    names,
    st.dictionaries(texts, values, max_size=3),
)
users = st.builds(
    lambda content: {"role": "user", "content": content},
    texts | st.lists(text_blocks | results, min_size=1, max_size=5),
)
assistants = st.builds(
    lambda content: {"role": "assistant", "content": content},
    texts | st.lists(text_blocks | thoughts | redacted | uses, min_size=1, max_size=6),
)
conversations = st.builds(lambda before, last: [*before, last], st.lists(users | assistants, max_size=5), users)


def atoms_of_theirs(messages: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """The content of a conversation, piece by piece."""
    found: list[tuple[Any, ...]] = []
    for message in messages:
        content = message["content"]
        for block in [text_block(content)] if isinstance(content, str) else content:
            match block:
                case {"type": "text", "text": text}:
                    found.append((message["role"], text))
                case {"type": "thinking", "thinking": text}:
                    found.append(("thinking", text))
                case {"type": "tool_use"}:
                    found.append(("call", block["id"], block["name"], block["input"]))
                case {"type": "tool_result", "content": content}:
                    parts = [content] if isinstance(content, str) else [part["text"] for part in content]
                    text = "\n".join(parts)
                    if block["is_error"] and not text.lower().startswith("error"):
                        text = f"Error: {text}"
                    found.append(("result", block["tool_use_id"], text))
    return found


def atoms_of_ours(messages: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for message in messages:
        if message["role"] == "tool":
            found.append(("result", message["tool_call_id"], message["content"]))
            continue
        found += [("thinking", text) for text in message.get("reasoning_content", "").split("\n") if text]
        found += [(message["role"], text) for text in message["content"].split("\n") if text]
        for call in message.get("tool_calls", ()):
            found.append(("call", call["id"], call["function"]["name"], call["function"]["arguments"]))
    return found


@quiet
@given(conversations)
def test_conversion_keeps_content_and_order(messages: list[dict[str, Any]]) -> None:
    assert atoms_of_ours(translated(messages=messages).messages) == atoms_of_theirs(messages)


@quiet
@given(conversations)
def test_results_have_their_tools_name(messages: list[dict[str, Any]]) -> None:
    known = {
        block["id"]: block["name"]
        for message in messages
        for block in message["content"]
        if isinstance(block, dict) and block["type"] == "tool_use"
    }
    for message in translated(messages=messages).messages:
        if message["role"] == "tool":
            assert message.get("name") == known.get(message["tool_call_id"])


# --- fields


def test_system_is_the_first_message() -> None:
    for system in ("Be brief.", [text_block("Be brief.")]):
        assert translated(system=system).messages == ({"role": "system", "content": "Be brief."}, USER)
    two = translated(
        system=[text_block("Be brief."), {**text_block("Be kind."), "cache_control": {"type": "ephemeral"}}]
    )
    assert two.messages[0]["content"] == "Be brief.\nBe kind."
    for nothing in (None, "", []):
        assert translated(system=nothing).messages == (USER,)


def test_later_system_messages_become_reminders() -> None:
    """Claude Code sends them after the user's message; templates allow a system message only at the start."""
    late = {"role": "system", "content": [text_block("Be kind.")]}
    reminder = "<system-reminder>\nBe kind.\n</system-reminder>"
    answer = {"role": "assistant", "content": "yes"}
    assert ordered(translated(messages=[USER, late]).messages) == [{"role": "user", "content": f"hi\n{reminder}"}]
    assert ordered(translated(messages=[USER, answer, late]).messages)[-1] == {"role": "user", "content": reminder}
    assert ordered(translated(messages=[late, USER]).messages) == [{"role": "system", "content": "Be kind."}, USER]


def test_claude_codes_billing_line_never_reaches_the_prompt() -> None:
    line = "x-anthropic-billing-header: cc_version=2.1.0; cch=0aaa9;"
    assert translated(system=[text_block(line), text_block("Be brief.")]).messages[0]["content"] == "Be brief."
    assert translated(system=f"{line}\nBe brief.").messages[0]["content"] == "Be brief."
    assert translated(system=f"Be brief.\n{line}").messages[0]["content"] == f"Be brief.\n{line}"
    assert translated(messages=[{"role": "user", "content": line}]).messages[0]["content"] == line


def test_tools() -> None:
    asked = translated(tools=[{**TOOL, "strict": True, "cache_control": {"type": "ephemeral", "ttl": "1h"}}])
    function = {"name": "look", "description": "Looks.", "parameters": TOOL["input_schema"], "strict": True}
    assert asked.tools == ({"type": "function", "function": function},)
    assert asked.parallel_tool_calls


@pytest.mark.parametrize(
    ("choice", "means"),
    [
        ({"type": "auto"}, ToolChoice("auto")),
        ({"type": "any"}, ToolChoice("required")),
        ({"type": "tool", "name": "look"}, ToolChoice("required", "look")),
        ({"type": "none"}, ToolChoice("none")),
    ],
)
@pytest.mark.parametrize("single", [None, False, True])
def test_tool_choice(choice: dict[str, Any], means: ToolChoice, single: bool | None) -> None:
    asked = translated(tools=[TOOL], tool_choice={**choice, "disable_parallel_tool_use": single})
    assert asked.tool_choice == means
    assert asked.parallel_tool_calls is not single or single is None


@pytest.mark.parametrize(
    ("fields", "means"),
    [
        ({}, (False, None)),
        ({"thinking": {"type": "disabled"}}, (False, None)),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, (False, None)),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, (True, 1024)),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}, "output_config": {"effort": "low"}}, (True, 5)),
        ({"thinking": {"type": "adaptive"}}, (True, None)),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, (True, EFFORT_BUDGETS["low"])),
        ({"output_config": {"effort": "medium"}}, (True, EFFORT_BUDGETS["medium"])),
        ({"output_config": {"effort": "max"}}, (True, None)),
    ],
)
def test_thinking(fields: dict[str, Any], means: tuple[bool, int | None]) -> None:
    asked = translated(**fields)
    assert (asked.thinking, asked.thinking_budget) == means


def test_options() -> None:
    schema = {"type": "object"}
    asked = translated(
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        stop_sequences=["a", "b"],
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert asked.options.sampling == {"temperature": 0.5, "top_p": 0.9, "top_k": 3}
    assert asked.options.stop == ("a", "b")
    assert asked.options.max_tokens == 9
    assert asked.options.constraint == Constraint("json_schema", schema)


def test_counting_uses_the_same_conversation() -> None:
    fields: dict[str, Any] = {"messages": [USER], "system": "s", "tools": [TOOL], "thinking": {"type": "adaptive"}}
    counted = chat_request(CountTokensBody.model_validate({"model": "m", **fields}))
    asked = translated(**fields)
    for name in ("messages", "tools", "tool_choice", "thinking", "template_arguments"):
        assert getattr(counted, name) == getattr(asked, name)


HARMLESS = [
    {"metadata": {"user_id": "u"}},
    {"service_tier": "auto"},
    {"cache_control": {"type": "ephemeral"}},
    {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}},
    {"inference_geo": "eu"},
    {"speed": "fast"},
]


@pytest.mark.parametrize("fields", HARMLESS, ids=str)
def test_harmless_fields_change_nothing(fields: dict[str, Any]) -> None:
    assert translated(**fields) == translated()


def block_in(role: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    after = [USER] if role == "assistant" else []
    return {"messages": [{"role": role, "content": list(blocks)}, *after]}


REFUSED = [
    (block_in("user", {"type": "document", "source": {}}), "'document'"),
    (block_in("assistant", {"type": "server_tool_use", "id": "1", "name": "n", "input": {}}), "'server_tool_use'"),
    (block_in("user", {"type": "tool_use", "id": "1", "name": "n", "input": {}}), "role 'user'"),
    (block_in("assistant", {"type": "tool_result", "tool_use_id": "1"}), "role 'assistant'"),
    (block_in("user", {"type": "hologram"}), "hologram"),
    (block_in("user", {"type": "text", "text": 5}), "text"),
    ({"messages": []}, "empty"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "role"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"),
    ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "bash_20250124"),
    ({"tools": [{"name": "look", "input_schema": [1]}]}, "input_schema"),
    ({"tools": [{**TOOL, "input_examples": [{}]}]}, "input_examples"),
    ({"tools": [{**TOOL, "defer_loading": True}]}, "defer_loading"),
    ({"tool_choice": {"type": "tool"}}, "name"),
    ({"tool_choice": {"type": "auto", "name": "look"}}, "no name"),
    ({"thinking": {"type": "between_tools"}}, "between_tools"),
    ({"thinking": {"type": "enabled"}}, "budget_tokens"),
    ({"thinking": {"type": "enabled", "budget_tokens": 0}}, "budget_tokens"),
    ({"output_config": {"effort": "none"}}, "effort"),
    ({"output_config": {"task_budget": {"total": 5}}}, "task_budget"),
    ({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, "clear_thinking"),
    ({"mcp_servers": [{}]}, "mcp_servers"),
    ({"container": "c"}, "container"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": "9"}, "max_tokens"),
    ({"stop_sequences": [5]}, "stop_sequences"),
    ({"nonsense": 1}, "nonsense"),
]


@pytest.mark.parametrize(("fields", "says"), REFUSED, ids=[str(fields)[:60] for fields, _ in REFUSED])
def test_unsupported_features_are_refused_by_name(fields: dict[str, Any], says: str) -> None:
    with pytest.raises((ApiError, RequestError, ValidationError), match=says):
        translated(**fields)
