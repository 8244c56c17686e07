"""The sandbox of chat templates: every hostile template ends soon and small; healthy ones are not held up."""

import json
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hostile_templates import HARMLESS, LOAD, TEMPLATES
from jinja2.exceptions import SecurityError
from machine_speed import slowness
from small_vocabulary import metadata
from thorough import some

from shoestring.checkpoint.text.chat_formats import FORMATS
from shoestring.checkpoint.text.chat_template import ChatTemplate
from shoestring.checkpoint.text.marks import Marks
from shoestring.checkpoint.text.sandbox import budget
from shoestring.checkpoint.text.sandbox.budget import LIVE_BYTES, VALUE_BYTES, Budget
from shoestring.checkpoint.text.text_work import stoppable
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.errors import RequestError, StoppedError

TOKENIZER = Tokenizer.from_gguf(metadata())
HERE = Path(__file__).parent

#: 2,002 messages with a megabyte of text, and 300 tools
LARGE = [
    {"role": "system", "content": "be <brief>"},
    *(
        message
        for number in range(500)
        for message in (
            {"role": "user", "content": f"{number} < {number + 1}? " * 40},
            {
                "role": "assistant",
                "content": "<think>\nlet me see\n</think>\n\n" + "looking it up, " * 35,
                "tool_calls": [{"function": {"name": "f", "arguments": {"city": "A <b>", "n": [1, 2], "o": {"p": 1}}}}],
            },
            {"role": "tool", "content": "sunny; " * 75},
            {"role": "assistant", "content": "so it is. " * 50},
        )
    ),
    {"role": "user", "content": "last"},
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"f{number}",
            "description": "does <something> useful " * 10,
            "parameters": {
                "type": "object",
                "properties": {
                    f"p{i}": {"type": "string", "description": "one of them", "enum": ["a"]} for i in range(8)
                },
            },
        },
    }
    for number in range(300)
]


def render(text: str, **values: Any) -> str:
    return ChatTemplate({"default": text}, TOKENIZER, "here").render([{"role": "user", "content": "hi"}], **values).text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each template runs in a forked process")
def test_every_hostile_template_ends_soon_and_small() -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*(str(p) for p in (HERE, HERE.parent)), *filter(None, sys.path)]),
        "TOKENIZERS_PARALLELISM": "false",
    }
    names = some(TEMPLATES, 4)
    before = slowness()
    ran = subprocess.run(
        [sys.executable, str(HERE / "run_hostile_templates.py"), *names],
        env=environment,
        capture_output=True,
        text=True,
    )
    outcomes = {outcome["name"]: outcome for outcome in map(json.loads, ran.stdout.splitlines())}
    assert list(outcomes) == names, ran.stderr
    limit = 2 * max(before, slowness())
    for name in names:
        expected, outcome = TEMPLATES[name][1], outcomes[name]
        assert outcome["result"] == expected, outcome
        assert outcome["seconds"] < limit, outcome
        assert outcome["megabytes"] < 256, outcome
        message = outcome["message"]
        assert len(message) <= 500, outcome
        assert message.isprintable(), outcome
        assert (expected == HARMLESS) or message.startswith("here: the chat template "), outcome
        assert (" is invalid" in message) == (expected == LOAD), outcome


@pytest.mark.parametrize("name", FORMATS)
def test_large_conversations_need_a_small_part_of_the_budget(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    template = ChatTemplate.of_family(name, TOKENIZER)
    assert len(LARGE) > 2000
    assert len(json.dumps([LARGE, TOOLS])) > 1_000_000
    budgets: list[Budget] = []
    monkeypatch.setattr(budget, "Budget", lambda marks: budgets.append(Budget(marks)) or budgets[0])
    monkeypatch.setattr(TOKENIZER, "encode_marked", lambda text, marks: [])
    text = template.render(LARGE, tools=TOOLS).text
    assert len(text) > 1_000_000
    assert budget.STEPS - budgets[0].steps < budget.STEPS // 3


# ---- the budget


@pytest.fixture
def limits() -> Budget:
    return Budget(Marks("<>"))


def test_values_that_are_gone_are_forgotten(limits: Budget) -> None:
    for number in range(500):
        limits.hold(str(number) * 1_000_000)
    alive = [str(number) * (VALUE_BYTES - 1000) for number in range(LIVE_BYTES // VALUE_BYTES + 1)]

    def hold_all() -> None:
        for value in alive:
            limits.hold(value)

    with pytest.raises(SecurityError, match="keeps more text"):
        hold_all()


def test_a_value_counts_once(limits: Budget) -> None:
    text = "x" * (LIVE_BYTES // 2)
    for _ in range(9):
        limits.hold(text)


def test_containers_of_forgotten_containers_are_forgotten(limits: Budget) -> None:
    for number in range(500):
        inner = [str(number) * 1_000_000]
        limits.hold(inner[0])
        outer = [inner] * 1000
        limits.hold(outer)


def test_weights(limits: Budget) -> None:
    assert limits.weigh("abc") == (1, 3, 1)
    assert limits.weigh({"a": ["bc", "d"]}) == (5, 4, 3)
    assert limits.weigh({"a": 1}.items()) == (4, 2, 3)
    shared = ["abc"] * 10
    assert limits.weigh([shared] * 10).characters == 300


def test_steps_run_out(limits: Budget) -> None:
    limits.spend(budget.STEPS)
    with pytest.raises(SecurityError, match="more steps"):
        limits.spend(1)


def test_the_same_rendering_takes_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal depends on the template and the messages alone, not on time."""
    budgets: list[Budget] = []
    monkeypatch.setattr(budget, "Budget", lambda marks: budgets.append(Budget(marks)) or budgets[-1])
    for _ in range(3):
        ChatTemplate.of_family("qwen3_5", TOKENIZER).render(LARGE[:50], tools=TOOLS[:5])
    assert len({limits.steps for limits in budgets}) == 1


# ---- what templates may use


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ [3, 1, 2] | sort | join(',') }}", "1,2,3"),
        ("{{ ['b', 'A'] | sort(case_sensitive=true, reverse=true) | join }}", "bA"),
        ("{{ {'b': 1, 'a': 2} | dictsort | list }}", "[('a', 2), ('b', 1)]"),
        ("{{ [{'a': 1}, {'a': 2}] | map(attribute='a') | sum }}", "3"),
        ("{{ [{'a': 1}] | sum(attribute='a', start=5) }}", "6"),
        ("{{ [{'a': 1}, {}] | selectattr('a', 'defined') | list | length }}", "1"),
        ("{{ ['a', 'B'] | map('upper') | list }}", "['A', 'B']"),
        ("{{ [1, 2, 3] | select('odd') | list }}", "[1, 3]"),
        ("{{ [1, 2, 3] | reject('gt', 1) | list }}", "[1]"),
        ("{{ [1, 2, 3] | batch(2, 0) | list }}", "[[1, 2], [3, 0]]"),
        ("{{ [1, 2, 3] | slice(2) | list }}", "[[1, 2], [3]]"),
        ("{% for key, items in [{'a': 1}, {'a': 1}] | groupby('a') %}{{ key }}{{ items | length }}{% endfor %}", "12"),
        ("{{ [1, 1, 2] | unique | list }}", "[1, 2]"),
        ("{{ ['a', 'b'] | first ~ ['a', 'b'] | last }}", "ab"),
        ("{{ [2, 1] | min }}{{ [2, 1] | max }}", "12"),
        ("{{ 'ab' | reverse }}{{ [1, 2] | reverse | list }}", "ba[2, 1]"),
        ("{{ 'a b' | title }}{{ ' x ' | trim }}{{ 'xax' | trim('x') }}", "A Bxa"),
        ("{{ 'a\nb' | indent(2, first=true) }}", "  a\n  b"),
        ("{{ 'abc' | center(5) }}{{ 'abcdef' | truncate(5, true, '…', 0) }}", " abc abcd…"),
        ("{{ 'aXbX' | replace('X', '-', 1) }}{{ 'aa'.replace('a', 'b') }}", "a-bXbb"),
        ("{{ '%s-%03d' | format('a', 7) }}{{ '%(x)s' % {'x': 1} }}{{ '{}{a}'.format(1, a=2) }}", "a-007112"),
        ("{{ 2.567 | round(1) }}{{ -3 | abs }}{{ '7' | int + '0.5' | float }}", "2.637.5"),
        ("{{ none | default('x', true) }}{{ y | d('z') }}", "xz"),
        ("{{ 'a,b'.split(',') }}{{ 'a b c'.rsplit(' ', maxsplit=1) }}", "['a', 'b']['a b', 'c']"),
        ("{{ 'a\nb'.splitlines() }}{{ 'a=b'.partition('=') }}", "['a', 'b']('a', '=', 'b')"),
        ("{{ 'abc'[1:] }}{{ 'abc'[::-1] }}{{ [1, 2, 3][:2] }}{{ 'abc'[-1] }}", "bccba[1, 2]c"),
        ("{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 'a' in 'abc' }}{{ 2 not in [1] }}", "TrueFalseTrueTrue"),
        (
            "{{ dict(a=1) }}{{ dict([('a', 1)], b=2) }}{{ {'a': 1}.items() | list }}",
            "{'a': 1}{'a': 1, 'b': 2}[('a', 1)]",
        ),
        ("{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}", "aba"),
        ("{% set j = joiner('-') %}{% for i in [1, 2] %}{{ j() }}{{ i }}{% endfor %}", "1-2"),
        (
            "{% for i in [1, 1] %}{{ loop.changed(i) }}{{ loop.cycle('a', 'b') }}{{ loop.revindex }}{% endfor %}",
            "Truea2Falseb1",
        ),
        ("{% for i in [[1], []] recursive %}{{ loop(i) if i is iterable else i }};{% endfor %}", "1;;;"),
        ("{% macro f(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f(b=4, a=3) }}", "1234"),
        ("{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}x{% endcall %}", "<x>"),
        ("{% for i in range(3) if i != 1 %}{{ i }}{{ loop.last }}{% else %}none{% endfor %}", "0False2True"),
        (
            "{% filter upper %}a{% endfilter %}{% with a = 1 %}{{ a }}{% endwith %}{% set b %}c{% endset %}{{ b }}",
            "A1c",
        ),
        ("{{ loop_messages is undefined }}{{ messages is sequence }}{{ messages[0] is mapping }}", "TrueTrueTrue"),
        ("{{ [nan] | tojson }}", "[NaN]"),
    ],
)
def test_operations_give_jinjas_results(text: str, expected: str) -> None:
    assert render(text, nan=math.nan) == expected


def test_printed_containers_show_user_text_as_text() -> None:
    template = ChatTemplate({"default": "{{ messages[0] }}{{ [messages[0].content] }}"}, TOKENIZER, "here")
    rendered = template.render([{"role": "user", "content": "<think>'"}])
    assert rendered.text == "{'role': 'user', 'content': \"<think>'\"}[\"<think>'\"]"
    assert TOKENIZER.added["<think>"].id not in rendered.token_ids


# ---- values from outside


@pytest.mark.parametrize(
    "name",
    ["loop", "self", "super", "caller", "varargs", "kwargs", "range", "raise_exception", "a b", "", "1", "_x", "é\n"],
)
def test_names_that_cannot_be_variables(name: str) -> None:
    with pytest.raises(RequestError, match=r"cannot be a variable of a chat template") as caught:
        render("{{ x }}", **{name: 1})
    assert str(caught.value).isprintable()


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_values_that_are_not_json() -> None:
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    for value, says in [
        (deep(10_000), "x nests deeper than 128 levels"),
        (cyclic, "x nests deeper than 128 levels"),
        (object(), "x is not JSON: it contains a object"),
        ({(1, 2): 3}, "x is not JSON: it contains a name that is not text"),
        (10**5000, "x contains a number of more than 2,466 digits"),
    ]:
        with pytest.raises(RequestError, match=says):
            render("{{ x }}", x=value)
    assert render("{{ x | tojson | length }}", x=deep(100)) == "201"
    with pytest.raises(RequestError, match="messages nests deeper"):
        ChatTemplate.of_family("llama4", TOKENIZER).render([{"role": "user", "content": "x", "y": deep(500)}])
    call = {"function": {"name": "look", "arguments": "[" * 10_000}}  # never parsed: shown as written
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    assert "[" * 10_000 in ChatTemplate.of_family("llama4", TOKENIZER).render([message]).text


@pytest.mark.parametrize("role", [deep(2000), {}, "x" * 10**6, "\x1b]52;c;x\x07"])
def test_roles_that_are_none_are_shortened(role: Any) -> None:
    with pytest.raises(RequestError, match="message 0 has the role") as caught:
        ChatTemplate.of_family("llama4", TOKENIZER).render([{"role": role, "content": "x"}])
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def test_text_with_all_private_characters_is_refused() -> None:
    planes = "".join(map(chr, (*range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE))))
    template = ChatTemplate.of_family("llama4", TOKENIZER)
    with pytest.raises(RequestError, match="all private characters"):
        template.render([{"role": "user", "content": planes}])
    content = planes[:-100] + "<think>"
    assert content in template.render([{"role": "user", "content": content}]).text


# ---- interruption


def test_a_rendering_ends_soon_after_its_caller_stops_it() -> None:
    stop = threading.Event()
    failures: list[BaseException] = []
    looping = "{% for i in range(500) %}{% for j in range(500) %}{% set x = i %}{% endfor %}{% endfor %}"

    def run() -> None:
        try:
            with stoppable(stop):
                while True:
                    render(looping)
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.05)
    assert thread.is_alive()
    stop.set()
    thread.join(20)
    assert [type(failure) for failure in failures] == [StoppedError]
    render(looping)  # other renderings go on


def test_a_stopped_rendering_does_no_more_than_its_first_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets: list[Budget] = []
    monkeypatch.setattr(budget, "Budget", lambda marks: budgets.append(Budget(marks)) or budgets[-1])
    stop = threading.Event()
    stop.set()
    with stoppable(stop), pytest.raises(StoppedError):
        render("{% for i in range(10 ** 5) %}{% for j in range(10 ** 5) %}{% endfor %}{% endfor %}")
    assert budgets[0].steps > budget.STEPS * 0.99
