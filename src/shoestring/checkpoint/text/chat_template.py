"""Chat templates: convert messages to the ids of a prompt.

Renders the checkpoint's own Jinja template, or the family's format if it has none, in jinja2's sandbox with the
functions that Hugging Face templates expect. Marks all user text (see `marks`), so that only the template's own text
becomes added tokens.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
from jinja2 import nodes
from jinja2.compiler import CodeGenerator
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from shoestring.checkpoint.formats.json_file import read_json
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.checkpoint.text.chat_formats import FORMATS
from shoestring.checkpoint.text.marks import Marks
from shoestring.checkpoint.text.tokenizer import THINKING_TEXTS, Tokenizer, one_line
from shoestring.errors import RequestError, TokenizerError
from shoestring.files import read_text

#: Bytes of chat_template.jinja; published ones have at most 20 kB.
LARGEST_TEMPLATE = 16 << 20
ROLES = ("system", "developer", "user", "assistant", "tool", "ipython", "function")

#: Limits of one rendering: characters joined in total, and steps of range() or the size of any number
_BUDGET = 256 * 2**20
_MAX_RANGE = 1_000_000
#: Filters and methods with arguments that are sizes
_SIZED = ("do_center", "do_indent", "do_batch", "do_slice", "center", "ljust", "rjust", "zfill", "expandtabs")
_spent: ContextVar[list[int] | None] = ContextVar("spent", default=None)


@dataclass(frozen=True)
class Rendered:
    """A prompt. `inside_thinking`: it ends in a thinking block, which the answer continues."""

    text: str
    token_ids: tuple[int, ...]
    inside_thinking: bool


class ChatTemplate:
    """A compiled template bound to a tokenizer.

    source: where the template comes from, for messages.
    """

    def __init__(self, templates: Mapping[str, str], tokenizer: Tokenizer, source: str) -> None:
        """templates: Jinja text by name: "default", optionally "tool_use". Raises TokenizerError if one is invalid."""
        self.templates, self.tokenizer, self.source = dict(templates), tokenizer, source
        if "default" not in self.templates:
            raise TokenizerError(f"{source}: no template is named 'default'")
        self.marks, self._compiled = self._compile("")

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, tokenizer: Tokenizer, family: str) -> "ChatTemplate":
        """The checkpoint's template, or the documented format of `family` ("qwen3_5", "llama4")."""
        if checkpoint.format == "gguf":
            return cls.from_gguf(checkpoint.metadata, tokenizer, family, checkpoint.path.name)
        return cls.from_folder(checkpoint.path, tokenizer, family)

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any], tokenizer: Tokenizer, family: str, file: str) -> "ChatTemplate":
        key = "tokenizer.chat_template"
        templates = {
            name.removeprefix(key).removeprefix(".") or "default": text
            for name, text in metadata.items()
            if (name == key or name.startswith(key + ".")) and isinstance(text, str)
        }
        if "default" not in templates:
            return cls.of_family(family, tokenizer)
        return cls(templates, tokenizer, f"{file} ({key})")

    @classmethod
    def from_folder(cls, folder: Path, tokenizer: Tokenizer, family: str) -> "ChatTemplate":
        alone = folder / "chat_template.jinja"
        with suppress(FileNotFoundError):
            return cls({"default": read_text(alone, LARGEST_TEMPLATE, TokenizerError)}, tokenizer, alone.name)
        for name in ("chat_template.json", "tokenizer_config.json"):
            value = read_json(folder / name, TokenizerError, optional=True).get("chat_template")
            where = f"{name} (chat_template)"
            if isinstance(value, str):
                return cls({"default": value}, tokenizer, where)
            if isinstance(value, list) and value:
                try:
                    return cls({str(v["name"]): str(v["template"]) for v in value}, tokenizer, where)
                except (TypeError, KeyError):
                    raise TokenizerError(f"{where} is a list whose entries lack a name or a template") from None
            if value is not None and value != []:
                raise TokenizerError(f"{where} is neither text nor a list")
        return cls.of_family(family, tokenizer)

    @classmethod
    def of_family(cls, family: str, tokenizer: Tokenizer) -> "ChatTemplate":
        if family not in FORMATS:
            raise TokenizerError(f"the checkpoint has no chat template and there is no default one for {family!r}")
        return cls({"default": FORMATS[family]}, tokenizer, f"the documented format of {family}")

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        enable_thinking: bool | None = None,
        add_generation_prompt: bool = True,
        **kwargs: Any,
    ) -> Rendered:
        """The prompt for `messages` ({"role", "content", …}, OpenAI's shape).

        enable_thinking: None: the template decides. kwargs: variables of the template.
        Raises RequestError for invalid messages or those that the template rejects, TokenizerError if it fails.
        """
        values = {"messages": checked_messages(messages), "tools": list(tools) if tools else None, **kwargs}
        marks, compiled = self.marks, self._compiled
        try:
            written = json.dumps(values, ensure_ascii=False, default=str)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"messages or tools are not valid JSON: {one_line(error)}") from None
        if marks.present_in(written):  # by chance or on purpose: use other marks for this rendering
            marks, compiled = self._compile(written)
        marked = {key: marks.mark(value) for key, value in values.items()}
        if enable_thinking is not None:
            marked["enable_thinking"] = enable_thinking
        template = compiled["tool_use" if tools and "tool_use" in compiled else "default"]
        token = _spent.set([0])
        try:
            marked |= {"add_generation_prompt": add_generation_prompt}
            text = str.__str__(template.render(self.tokenizer.template_tokens | marked))
        except RequestError as error:
            raise RequestError(f"{self.source}: the chat template rejects the messages: {error}") from None
        except Exception as error:  # a template can raise any exception
            is_forbidden = isinstance(error, SecurityError)
            problem = "does something that is not allowed" if is_forbidden else "fails on these messages"
            raise TokenizerError(f"{self.source}: the chat template {problem}: {one_line(error)}") from None
        finally:
            _spent.reset(token)
        ids = tuple(self.tokenizer.encode_marked(text, marks.to_plain))
        return Rendered(marks.plain(text), ids, self._inside_thinking(text, ids))

    def _inside_thinking(self, text: str, ids: Iterable[int]) -> bool:
        """By the thinking tokens; in a vocabulary without them, by the tags that the template wrote as text."""
        if self.tokenizer.thinking is None:
            return text.rfind(THINKING_TEXTS[0]) > text.rfind(THINKING_TEXTS[1])
        inside = False
        for id in ids:
            inside = id == self.tokenizer.thinking[0] or (inside and id != self.tokenizer.thinking[1])
        return inside

    def _compile(self, avoid: str) -> tuple[Marks, dict[str, jinja2.Template]]:
        marks = Marks.for_tokens([*self.tokenizer.added, *THINKING_TEXTS], avoid + "".join(self.templates.values()))
        environment = _Environment(marks)
        compiled = {}
        for name, text in self.templates.items():
            try:
                compiled[name] = environment.from_string(text)
            except jinja2.TemplateSyntaxError as error:
                where = f"{self.source}: the chat template is invalid at line {error.lineno}"
                raise TokenizerError(f"{where}: {one_line(error)}") from None
            except Exception as error:  # Python's limits of nesting and recursion
                raise TokenizerError(f"{self.source}: the chat template is invalid: {one_line(error)}") from None
        return marks, compiled


def checked_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Check messages and convert them as templates expect: contents as text, arguments of tool calls as objects."""
    if not messages:
        raise RequestError("there are no messages: give at least one with the role 'user'")
    checked = []
    for number, message in enumerate(messages):
        where = f"message {number}"
        if not isinstance(message, Mapping):
            raise RequestError(f"{where} is not an object with a role and a content")
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise RequestError(f"{where} has the role {role!r}: choose one of {', '.join(ROLES)}")
        if isinstance(content, list):
            for part in content:
                if not (isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)):
                    raise RequestError(f"{where} has a part that is not text: only text is supported")
        elif content is not None and not isinstance(content, str):
            raise RequestError(f"{where}: content must be text or a list of parts")
        entry = {**message, "content": content if content is not None else ""}
        if message.get("tool_calls"):
            entry["tool_calls"] = [_with_object(call, where) for call in message["tool_calls"]]
        checked.append(entry)
    return checked


def _with_object(call: Any, where: str) -> dict[str, Any]:
    """A tool call with its arguments parsed: OpenAI's clients send them as JSON text."""
    if not isinstance(call, Mapping):
        raise RequestError(f"{where} has a tool call that is not an object")
    if isinstance(call.get("function"), Mapping):
        return {**call, "function": _with_object(call["function"], where)}
    arguments = call.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except ValueError:
            raise RequestError(f"{where} has a tool call whose arguments are not JSON") from None
    if arguments is not None and not isinstance(arguments, dict):
        raise RequestError(f"{where} has a tool call whose arguments are not an object")
    return {**call, "arguments": arguments or {}}


# ---- the sandbox


def _spend(amount: int) -> None:
    spent = _spent.get()
    if spent is not None:
        spent[0] += amount
        if spent[0] > _BUDGET:
            raise SecurityError("it builds more text than a prompt can need")


def _bounded(arguments: Iterable[Any]) -> None:
    for argument in arguments:
        if isinstance(argument, int) and abs(argument) > _MAX_RANGE:
            raise SecurityError(f"it asks for a size of {argument}")


def _narrow(format: Any) -> None:
    """Refuse a format string with a large field width, or a width taken from an argument."""
    if isinstance(format, str) and re.search(r"[%:{][^%{}]*(\d{6}|\*|\{)", format):
        raise SecurityError("it asks for a very wide field")


def _range(*arguments: int) -> range:
    steps = range(*arguments)
    _bounded((len(steps),))
    _spend(len(steps) * (_BUDGET // _MAX_RANGE))  # at most _MAX_RANGE steps over all loops
    return steps


def _raise_exception(message: str) -> None:
    raise RequestError(one_line(Exception(message)))


class _Generation(Extension):
    """Hugging Face's `{% generation %}` block, which marks text for training; here it renders its body."""

    tags = {"generation"}  # noqa: RUF012, as jinja2 documents

    def parse(self, parser: Any) -> list[nodes.Node]:
        next(parser.stream)
        body: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return body


class _Generator(CodeGenerator):
    def visit_Concat(self, node: nodes.Concat, frame: Any) -> None:
        """Compile `a ~ b` to the environment's concat, which handles marks and the budget."""
        self.write("concat(map(str, (")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write(")))")


class _Environment(ImmutableSandboxedEnvironment):
    """The templates' sandbox: wraps every new string, so that its marks keep working."""

    code_generator_class = _Generator
    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, marks: Marks) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
        self.marks = marks
        self.concat = self._concat  # type: ignore[method-assign]
        self.filters["tojson"] = self._tojson
        self.filters = {name: self._wrapping(function) for name, function in self.filters.items()}
        for name in ("e", "escape", "forceescape"):
            self.filters[name] = lambda value: markupsafe.escape(self.marks.plain(value))
        self.globals.update(range=_range, raise_exception=_raise_exception)
        self.globals["strftime_now"] = lambda format: datetime.now().strftime(format)

    def _concat(self, parts: Iterable[str]) -> str:
        return self._wrapped("".join(parts))  # type: ignore[no-any-return]

    def _wrapped(self, result: Any) -> Any:
        """Count a string against the budget and wrap it."""
        if isinstance(result, str):
            _spend(len(result))
        return self.marks.wrap(result)

    def _wrapping(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)  # copies the attributes of pass_context and similar decorators
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if function.__name__ in _SIZED:
                _bounded((*args, *kwargs.values()))
            elif function.__name__ == "do_format":
                _narrow(args[0])
            return self.marks.wrap(function(*args, **kwargs))

        return wrapped

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        name = getattr(obj, "__name__", "")
        if name in _SIZED:
            _bounded((*args, *kwargs.values()))
        elif name in ("format", "format_map"):
            _narrow(getattr(obj, "__self__", ""))
        return self._wrapped(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            sizes = [len(x) if isinstance(x, str | list | tuple) else x for x in (left, right)]
            if all(isinstance(size, int) for size in sizes):
                _bounded((sizes[0] * sizes[1],))
        elif operator == "**":
            _bounded((left, right))
            if isinstance(left, int) and isinstance(right, int) and right > 64:
                raise SecurityError(f"it asks for a power of {right}")
        elif operator == "%":
            _narrow(left)
        return self._wrapped(super().call_binop(context, operator, left, right))

    def _tojson(
        self,
        value: Any,
        ensure_ascii: bool = False,
        indent: int | str | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        """json.dumps like Hugging Face's, without the HTML escapes of jinja2's own filter."""
        text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys)
        if not ensure_ascii:
            return text
        marks = self.marks.to_plain
        return "".join(c if c.isascii() or ord(c) in marks else json.dumps(c)[1:-1] for c in text)
