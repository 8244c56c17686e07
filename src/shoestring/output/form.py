"""Form: what the answers to one request must look like, validated and compiled before any work."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shoestring.errors import RequestError
from shoestring.output.grammars import answer_grammar, calls_rules, content_grammars, rest_of_call, with_definitions
from shoestring.output.masks import Mask, Matcher, compile_grammar, mask_without
from shoestring.output.request import Constraint, ToolChoice
from shoestring.output.schemas.keywords import not_enforced, tidied
from shoestring.output.schemas.types import Tool, read_tools
from shoestring.output.syntax import Syntax, Vocabulary, syntax_of
from shoestring.output.trials.plain import plain
from shoestring.packages import install_command
from shoestring.printable import quoted, shortened

_MOST_TOOLS = 1024
_AUTO = ToolChoice()
#: Time for trying all grammars of a form. Compiling the last one follows, which takes as long as trying it.
_SECONDS = 3.0


@dataclass(frozen=True)
class Form:
    """The result of `form_of`; all machines of a request share it and copy its matchers.

    chat: parse thinking marks and hide special tokens; else everything is content, unchanged.
    most_calls: maximum calls per answer, None: no limit. thinking_budget: maximum thinking tokens, None: no limit.
    hidden_ids: tokens that end the answer.
    answer: matcher for everything after thinking, if a constraint or tool_choice restricts it.
    strict: by (tool, call format), matcher for what follows the name in a call that the model started by itself.
    banned: mask of all tokens except those that are never allowed. force: take tokens without a model step if the
    grammar allows only one; the answer is the same without.
    """

    tokenizer: Vocabulary
    syntax: Syntax
    chat: bool = True
    tools: Mapping[str, Tool] = field(default_factory=dict)
    most_calls: int | None = None
    thinking_budget: int | None = None
    stops: tuple[str, ...] = ()
    hidden_ids: frozenset[int] = frozenset()
    answer: Matcher | None = None
    strict: Mapping[tuple[str, str], Matcher] = field(default_factory=dict)
    banned: Mask | None = None
    force: bool = True


def form_of(
    tokenizer: Vocabulary,
    family: str,
    *,
    chat: bool = True,
    tools: Sequence[Mapping[str, Any]] = (),
    tool_choice: ToolChoice = _AUTO,
    parallel_tool_calls: bool = True,
    thinking_budget: int | None = None,
    constraint: Constraint | None = None,
    stops: Sequence[str] = (),
    hidden_ids: Collection[int] | None = None,
    force: bool = True,
) -> Form:
    """Build the form that a client asks for. Any thread may call this; grammars compile outside Python's lock.

    family: "qwen3_5" or "llama4". tools: in OpenAI's shape. hidden_ids: tokens that end the answer and are not
    shown; None: the tokenizer's. force: False if the request wants each token's log-probability.
    Raises RequestError for tools, a choice, a schema or a grammar that cannot be enforced.
    """
    if len(tools) > _MOST_TOOLS:
        raise RequestError(f"{len(tools)} tools are too many: the limit is {_MOST_TOOLS}")
    by_name = read_tools(tools)
    if tool_choice.name is not None and tool_choice.name not in by_name:
        raise RequestError(f"tool_choice names {quoted(tool_choice.name)}, which is not among the tools")
    if tool_choice.mode == "required" and not by_name:
        raise RequestError("tool_choice requires a call but there are no tools: send some")
    if thinking_budget is not None and thinking_budget < 0:
        raise RequestError(f"the thinking budget is {thinking_budget}: give 0 or more tokens")
    if constraint is not None and hidden_ids is not None and not hidden_ids:
        raise RequestError("a constrained answer needs an end token: do not combine it with ignore_eos")
    form = Form(
        tokenizer,
        syntax_of(tokenizer, family),
        chat=chat,
        tools={} if tool_choice.mode == "none" else by_name,
        most_calls=None if parallel_tool_calls else 1,
        thinking_budget=thinking_budget,
        stops=tuple(stops),
        hidden_ids=frozenset(tokenizer.eos_ids if hidden_ids is None else hidden_ids),
        force=force,
    )
    return _with_masks(form, by_name, tool_choice, constraint)


def _with_masks(form: Form, tools: Mapping[str, Tool], choice: ToolChoice, constraint: Constraint | None) -> Form:
    must_call = choice.mode == "required" or choice.name is not None
    strict = any(tool.strict for tool in form.tools.values())
    if (must_call or strict or constraint is not None) and importlib.util.find_spec("llguidance") is None:
        raise RequestError(
            f"a schema, a grammar or a forced call needs llguidance: run `{install_command(['llguidance'])}`"
        )
    openers = [id for mark in form.syntax.openers if (id := form.syntax.id_of(mark)) is not None]
    if tools and not form.tools and openers:
        form = dataclasses.replace(form, banned=mask_without(form.tokenizer, openers))
    constraint = None if must_call else constraint
    cost = _Cost(time.monotonic() + _SECONDS, plain(constraint, (tool.parameters for tool in form.tools.values())))
    if must_call or constraint is not None:
        form = dataclasses.replace(form, answer=_answer(form, choice, constraint, cost))
    elif strict:
        form = dataclasses.replace(form, strict=_strict(form, cost))
    return form


class _Cost(NamedTuple):
    """When to give up compiling, and whether all grammars of the form are known to compile fast."""

    until: float
    plain: bool

    def compile(self, tokenizer: Vocabulary, grammar: str, what: str) -> Matcher:
        return compile_grammar(tokenizer, grammar, what, until=self.until, plain=self.plain)


def _answer(form: Form, choice: ToolChoice, constraint: Constraint | None, cost: _Cost) -> Matcher:
    """The matcher of the answer. A required call allows no content."""
    content, what = None, "tools"
    if constraint is not None:
        field = f"{constraint.where}: " if constraint.where else ""
        what = field + _NAMES[constraint.kind]
        try:
            content = content_grammars(constraint)
        except RequestError as error:
            raise RequestError(f"{field}{error}") from None
    if not form.tools:
        return cost.compile(form.tokenizer, answer_grammar(content, None), what)
    tools = {n: tool for n, tool in form.tools.items() if choice.name in (None, n)}
    many = form.most_calls != 1 and choice.name is None

    def compiled(tools: Mapping[str, Tool], content: list[dict[str, Any]] | None) -> Matcher:
        rules = calls_rules(form.syntax, tools, many)
        return cost.compile(form.tokenizer, answer_grammar(content, rules), what)

    for tool in tools.values():
        if tool.strict:
            _refuse_not_enforced(tool)
    try:
        return compiled(tools, content)
    except RequestError:
        # A schema without a grammar is an error only for a strict tool; other tools then accept any arguments.
        loose = {}
        for name, tool in tools.items():
            try:
                compiled({name: tool}, None)
                loose[name] = tool
            except RequestError as error:
                if tool.strict:
                    raise _refusal(form, tool, error, cost) from None
                loose[name] = Tool(name)
        return compiled(loose, content)


def _strict(form: Form, cost: _Cost) -> dict[tuple[str, str], Matcher]:
    kinds = ("xml",) if form.syntax.call else ("json", "python")
    matchers: dict[tuple[str, str], Matcher] = {}
    for name, tool in form.tools.items():
        if not tool.strict:
            continue
        _refuse_not_enforced(tool)
        try:
            for kind in kinds:
                grammar = rest_of_call(form.syntax, tool, kind)
                matchers[name, kind] = cost.compile(form.tokenizer, grammar, f"the strict tool {name}")
        except RequestError as error:
            raise _refusal(form, tool, error, cost) from None
    return matchers


def _refuse_not_enforced(tool: Tool) -> None:
    """Raise RequestError that names tool, parameter and keyword."""
    for key, schema in tool.properties.items():
        problem = not_enforced(tidied({"properties": {key: schema}}))
        if problem is not None:
            raise RequestError(f"the strict tool {tool.name}: parameter {problem}")
    problem = not_enforced(tool.parameters)
    if problem is not None:
        raise RequestError(f"the strict tool {tool.name}: {problem}")


def _refusal(form: Form, tool: Tool, error: RequestError, cost: _Cost) -> RequestError:
    """The error of a strict tool whose grammar does not compile: about its parameter, not about our grammar."""
    for key, schema in tool.properties.items():
        try:
            grammar = answer_grammar(content_grammars(Constraint("json_schema", with_definitions(schema, tool))), None)
            cost.compile(form.tokenizer, grammar, "the JSON schema")
        except RequestError as problem:
            what = str(problem).removeprefix("the JSON schema: ")
            return RequestError(f"the strict tool {tool.name}: parameter {shortened(key, 100)}: {what}")
    reason = _POSITION.sub("", str(error).removeprefix("tools: ").removeprefix(f"the strict tool {tool.name}: "))
    return RequestError(f"the strict tool {tool.name}: {reason}")


#: Where something stands in a grammar that the client does not know.
_POSITION = re.compile(r"^at \d+\(\d+\): (failed to compile JSON schema: )?")


_NAMES = {
    "json_schema": "the JSON schema",
    "json_object": "the JSON object",
    "regex": "the pattern",
    "lark": "the Lark grammar",
    "gbnf": "the GBNF grammar",
    "choice": "the choices",
}
