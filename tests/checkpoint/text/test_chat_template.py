"""Chat templates: the text that plain jinja2 renders, the ids that only the template's own tokens get."""

import json
from pathlib import Path
from typing import Any

import jinja2
import pytest
from corpus import TEXTS
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment
from small_vocabulary import IDS, metadata

from shoestring.checkpoint.text.chat_formats import FORMATS
from shoestring.checkpoint.text.chat_template import ChatTemplate
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.errors import RequestError, ShoestringError, TokenizerError

TOKENIZER = Tokenizer.from_gguf(metadata())

#: Templates that do to contents what published ones do: macros, trim, search, split, tojson, loops backwards.
SIMPLE = """{% for m in messages %}<|im_start|>{{ m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"""
SEARCHING = """
{%- macro show(content, deep=false) %}
    {%- if content is string %}
        {{- content }}
    {%- else %}
        {%- for item in content %}{% if 'text' in item %}{{- item.text }}{% endif %}{% endfor %}
    {%- endif %}
{%- endmacro %}
{%- set ns = namespace(search=true, last=messages|length - 1, seen='') %}
{%- for message in messages[::-1] %}
    {%- set text = show(message.content)|trim %}
    {%- if ns.search and message.role == "user"
        and not (text.startswith('<tool_response>') and text.endswith('</tool_response>')) %}
        {%- set ns.search = false %}
        {%- set ns.last = (messages|length - 1) - loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set text = show(message.content, deep=true)|trim %}
    {%- if message.role == 'assistant' and '</think>' in text %}
        {%- set thought = text.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
        {%- set text = text.split('</think>')[-1].lstrip('\\n') %}
        {%- if loop.index0 > ns.last %}{{ '<think>\\n' + thought + '\\n</think>\\n\\n' }}{% endif %}
    {%- endif %}
    {{- '<|im_start|>' ~ message.role ~ '\\n' ~ (text | replace('aa', 'a')) }}
    {%- set ns.seen = ns.seen ~ text[:3] | upper %}
    {%- for call in message.tool_calls or [] %}
        {%- for key, value in call.function.arguments|items %}
            {{- '<parameter=' + key + '>' + (value if value is string else value | tojson | safe) }}
        {%- endfor %}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{{- ns.seen ~ (tools | tojson(indent=2) if tools else '') ~ [messages[0].role, messages[-1].role] | join('<eot>') }}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n<think>\\n' if enable_thinking is not false else '<think>' }}
{%- endif %}
"""
TEMPLATES = {"simple": SIMPLE, "searching": SEARCHING, **FORMATS}

pieces = st.sampled_from(
    [
        *IDS,
        "<",
        ">",
        "|",
        "<|im_",
        "end|>",
        "think>",
        "hello world",
        " ",
        "\n",
        "aa",
        '"',
        "\\",
        "é",
        "\U000f0000",
        "{{",
        "{%",
    ]
)
texts = st.lists(pieces | st.text(max_size=4), max_size=6).map("".join)
harmless = st.lists(st.sampled_from(["hello", " world", "\n", "é", "aa", "1", "'", "{{ x }}"]), max_size=6).map("".join)


def conversation(content: st.SearchStrategy[str]) -> st.SearchStrategy[list[dict[str, Any]]]:
    turn = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": content})
    calls = st.fixed_dictionaries(
        {
            "role": st.just("assistant"),
            "content": content,
            "tool_calls": st.lists(
                st.fixed_dictionaries(
                    {
                        "function": st.fixed_dictionaries(
                            {"name": content, "arguments": st.dictionaries(content, content)}
                        )
                    }
                ),
                max_size=2,
            ),
        }
    )
    parts = st.fixed_dictionaries(
        {
            "role": st.just("user"),
            "content": st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": content}), max_size=3),
        }
    )
    return st.lists(turn | calls | parts, max_size=4).map(lambda turns: [*turns, {"role": "user", "content": "last"}])


def plainly(text: str, **values: Any) -> str:
    """The same template without marks: jinja2 as Hugging Face sets it up."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment.globals["raise_exception"] = refuse
    return environment.from_string(text).render(**TOKENIZER.template_tokens, **values)


@pytest.mark.parametrize("name", TEMPLATES)
@settings(deadline=None)  # the machine may be busy
@given(data=st.data())
def test_text_is_what_plain_jinja_renders(name: str, data: st.DataObject) -> None:
    template = ChatTemplate({"default": TEMPLATES[name]}, TOKENIZER, name)
    messages = data.draw(conversation(texts))
    if name == "simple":
        messages = [m for m in messages if isinstance(m["content"], str)]
    tools = data.draw(st.none() | st.just([{"name": "<think>", "type": "</x>"}]))
    thinking = data.draw(st.booleans())
    rendered = template.render(messages, tools=tools, enable_thinking=thinking)
    assert rendered.text == plainly(
        TEMPLATES[name], messages=messages, tools=tools, enable_thinking=thinking, add_generation_prompt=True
    )


@pytest.mark.parametrize("name", TEMPLATES)
@settings(deadline=None)  # the machine may be busy
@given(data=st.data())
def test_harmless_text_gets_the_ids_of_the_plain_rendering(name: str, data: st.DataObject) -> None:
    template = ChatTemplate({"default": TEMPLATES[name]}, TOKENIZER, name)
    messages = data.draw(conversation(harmless))
    if name == "simple":
        messages = [m for m in messages if isinstance(m["content"], str)]
    rendered = template.render(messages)
    assert list(rendered.token_ids) == TOKENIZER.encode(rendered.text, allow_special=True)


@pytest.mark.parametrize("name", TEMPLATES)
@settings(deadline=None)  # the machine may be busy
@given(text=texts, split=st.integers(0, 12))
def test_no_user_text_becomes_an_added_token(name: str, text: str, split: int) -> None:
    template = ChatTemplate({"default": TEMPLATES[name]}, TOKENIZER, name)

    def added(content: Any) -> list[int]:
        messages = [
            {"role": "user", "content": content},
            {"role": "assistant", "content": "ok"},
            {"role": "user", "content": content},
        ]
        return [id for id in template.render(messages, tools=[{"name": text}]).token_ids if id in IDS.values()]

    assert added(text) == added("x")
    if name != "simple":
        halves = [{"type": "text", "text": half} for half in (text[:split], text[split:])]
        assert added(halves) == added("x")


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_look_alike_of_the_corpus(name: str) -> None:
    template = ChatTemplate({"default": TEMPLATES[name]}, TOKENIZER, name)
    own = None
    for text in [*TEXTS.values(), *IDS, "".join(IDS)]:
        rendered = template.render([{"role": "user", "content": text}])
        found = [id for id in rendered.token_ids if id in IDS.values()]
        own = own or found
        assert found == own
        assert TOKENIZER.encode(TOKENIZER.decode(rendered.token_ids), True) == TOKENIZER.encode(rendered.text, True)


def test_marks_that_a_user_wrote_are_the_users(tmp_path: Path) -> None:
    template = ChatTemplate({"default": SIMPLE}, TOKENIZER, "simple")
    stolen = "".join(map(chr, template.marks.to_plain)) + "<think>"
    rendered = template.render([{"role": "user", "content": stolen}])
    assert stolen in rendered.text
    assert IDS["<think>"] not in rendered.token_ids


def test_thinking_is_seen_at_the_end_of_the_prompt() -> None:
    template = ChatTemplate.of_family("qwen3_5", TOKENIZER)
    messages = [{"role": "user", "content": "<think>"}]
    assert template.render(messages).inside_thinking
    assert template.render(messages, enable_thinking=True).inside_thinking
    off = template.render(messages, enable_thinking=False)
    assert not off.inside_thinking
    assert off.text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert not template.render(messages, add_generation_prompt=False).inside_thinking
    assert not ChatTemplate.of_family("llama4", TOKENIZER).render(messages).inside_thinking


def test_thinking_is_seen_by_text_where_the_vocabulary_has_no_tokens_for_it() -> None:
    keys = metadata()
    key = "tokenizer.ggml.tokens"
    keys[key] = [text.replace("think>", "thunk>") for text in keys[key]]
    template = ChatTemplate.of_family("qwen3_5", Tokenizer.from_gguf(keys))
    messages = [{"role": "user", "content": "why? <think>"}]
    assert template.render(messages).inside_thinking
    assert not template.render(messages, enable_thinking=False).inside_thinking
    assert not template.render(messages, add_generation_prompt=False).inside_thinking


def test_thoughts_before_the_last_question_are_dropped() -> None:
    template = ChatTemplate.of_family("qwen3_5", TOKENIZER)
    messages = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "<think>\nold\n</think>\n\nfirst"},
        {"role": "user", "content": "two"},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "new",
            "tool_calls": [
                {"type": "function", "function": {"name": "f", "arguments": '{"city": "Aa", "n": 12345678}'}}
            ],
        },
        {"role": "tool", "content": "sunny"},
    ]
    assert template.render(messages).text == (
        "<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\nfirst<|im_end|>\n<|im_start|>user\ntwo<|im_end|>\n"
        "<|im_start|>assistant\n<think>\nnew\n</think>\n\n<tool_call>\n<function=f>\n<parameter=city>\nAa\n</parameter>\n"
        "<parameter=n>\n12345678\n</parameter>\n</function>\n</tool_call><|im_end|>\n"
        "<|im_start|>user\n<tool_response>\nsunny\n</tool_response><|im_end|>\n<|im_start|>assistant\n<think>\n"
    )


def test_llama4_format() -> None:
    template = ChatTemplate.of_family("llama4", TOKENIZER)
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
        {"role": "tool", "content": "2"},
    ]
    assert template.render(messages).text == (
        "<|begin_of_text|><|header_start|>system<|header_end|>\n\nBe brief.<|eot|>"
        "<|header_start|>user<|header_end|>\n\nhi<|eot|>"
        '<|header_start|>assistant<|header_end|>\n\n<|python_start|>{"name": "f", "parameters": {"a": 1}}'
        "<|python_end|><|eom|><|header_start|>ipython<|header_end|>\n\n2<|eot|>"
        "<|header_start|>assistant<|header_end|>\n\n"
    )


def render(text: str, **values: Any) -> str:
    return ChatTemplate({"default": text}, TOKENIZER, "x").render([{"role": "user", "content": "hi"}], **values).text


def test_helpers_that_published_templates_expect() -> None:
    assert render("{{ strftime_now('%Y') | length }}") == "4"
    assert render("{% generation %}a{{ messages[0].content }}{% endgeneration %}b") == "ahib"
    assert render("{% for i in range(5) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}") == "012"
    assert render("{{ {'é': '<b>', 'a': [1]} | tojson }}") == '{"é": "<b>", "a": [1]}'
    assert render(
        "{{ {'b': 1, 'a': x} | tojson(sort_keys=True, separators=(',', ':'), ensure_ascii=True) }}", x="<é>"
    ) == ('{"a":"<\\u00e9>","b":1}')
    assert render("{{ bos_token }}|{{ eos_token }}|{{ unk_token }}") == "<|begin_of_text|>|<|im_end|>|"
    assert render("{{ extra }}", extra="<x>") == "<x>"
    assert render("{{ x | e }}", x="<x>") == "&lt;x&gt;"
    assert render("  {% if true %}\nx\n  {% endif %}\n") == "x\n"


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 10 ** 9 }}",
        "{{ [0] * 10 ** 9 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 'x' | center(10 ** 9) }}",
        "{{ 'x'.ljust(10 ** 9) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '{:999999999}'.format(1) }}",
        "{{ '%999999999d' | format(1) }}",
        "{% set ns = namespace(x='xx') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='xx') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ messages[7].content.x.y }}",
        "{{ 1 / 0 }}",
        "{{ undefined_function() }}",
        "{% include 'other' %}",
        "{{ messages | tojson(indent=nothing) | fromjson }}",
    ],
)
def test_a_template_cannot_harm(text: str) -> None:
    with pytest.raises(TokenizerError) as caught:
        render(text)
    assert str(caught.value).startswith("x: the chat template ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["{% if %}", "{{ x", "{% endfor %}", "{% unknown %}", "{{ x | nofilter }}", "{% if a %}" * 300]
)
def test_invalid_templates_are_refused_when_loaded(text: str) -> None:
    with pytest.raises(TokenizerError, match=r"^here: the chat template is invalid"):
        ChatTemplate({"default": text}, TOKENIZER, "here")


def test_a_templates_own_refusal_reaches_the_caller() -> None:
    with pytest.raises(RequestError, match=r"^x: the chat template rejects the messages: no such role$"):
        render("{{ raise_exception('no such\\nrole') }}")
    with pytest.raises(RequestError, match="no user message"):
        ChatTemplate.of_family("qwen3_5", TOKENIZER).render([{"role": "assistant", "content": "a"}])


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "there are no messages"),
        (["hi"], "message 0 is not an object"),
        ([{"role": "robot", "content": "x"}], "message 0 has the role 'robot': choose one of system"),
        ([{"content": "x"}], "the role None"),
        ([{"role": "user", "content": 5}], "message 0: content must be text or a list"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}], "neither text nor a picture"),
        ([{"role": "user", "content": ["x"]}], "neither text nor a picture"),
        ([{"role": "assistant", "content": "x", "tool_calls": [5]}], "tool call that is not an object"),
    ],
)
def test_messages_are_refused_by_number(messages: list[Any], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        ChatTemplate.of_family("llama4", TOKENIZER).render(messages)


@settings(deadline=None)  # the machine may be busy
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["role", "content", "tool_calls", "reasoning_content", "name"]),
            st.recursive(
                st.none() | st.integers() | st.sampled_from(["user", "assistant", "text", "{}"]),
                lambda x: (
                    st.lists(x, max_size=2)
                    | st.dictionaries(st.sampled_from(["type", "text", "function", "name", "arguments"]), x, max_size=3)
                ),
            ),
        ),
        max_size=3,
    )
)
def test_any_messages_render_or_are_refused(messages: list[Any]) -> None:
    for family in FORMATS:
        try:
            ChatTemplate.of_family(family, TOKENIZER).render(messages)
        except ShoestringError as error:
            message = str(error)
            assert "\n" not in message


def test_where_a_folder_keeps_its_template(tmp_path: Path) -> None:
    def load() -> ChatTemplate:
        return ChatTemplate.from_folder(tmp_path, TOKENIZER, "llama4")

    assert load().source == "the documented format of llama4"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "config"}))
    assert load().templates == {"default": "config"}
    both = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": both}))
    messages = [{"role": "user", "content": "x"}]
    assert load().render(messages).text == "plain"
    assert load().render(messages, tools=[{"name": "f"}]).text == "tools"
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": "json"}))
    assert load().templates == {"default": "json"}
    (tmp_path / "chat_template.jinja").write_text("jinja é")
    assert load().templates == {"default": "jinja é"}
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(TokenizerError, match=r"chat_template\.jinja is not UTF-8 text"):
        load()


@pytest.mark.parametrize("value", [5, {"a": 1}, [5], [{"name": "x"}], [{"name": "x", "template": "y"}]])
def test_a_malformed_template_entry_is_refused(tmp_path: Path, value: Any) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": value}))
    with pytest.raises(TokenizerError, match=r"tokenizer_config\.json"):
        ChatTemplate.from_folder(tmp_path, TOKENIZER, "llama4")


def test_gguf_templates() -> None:
    keys = {"tokenizer.chat_template": "a", "tokenizer.chat_template.tool_use": "b"}
    template = ChatTemplate.from_gguf(keys, TOKENIZER, "llama4", "m.gguf")
    assert template.templates == {"default": "a", "tool_use": "b"}
    assert template.source == "m.gguf (tokenizer.chat_template)"
    assert ChatTemplate.from_gguf({}, TOKENIZER, "qwen3_5", "m.gguf").source == "the documented format of qwen3_5"
    with pytest.raises(TokenizerError, match="no chat template and there is no default one for 'other'"):
        ChatTemplate.from_gguf({}, TOKENIZER, "other", "m.gguf")
