"""Chat templates: convert messages to the ids of a prompt.

Renders the checkpoint's own Jinja template, or the family's format if it has none, in a sandbox (`sandbox`) with the
functions that Hugging Face templates expect. Marks all user text (see `marks`), so that only the template's own text
becomes added tokens.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError

from shoestring.checkpoint.formats.json_file import read_json
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.checkpoint.text.chat_formats import FORMATS
from shoestring.checkpoint.text.marks import Marks
from shoestring.checkpoint.text.messages import checked_messages, json_copy, private_characters
from shoestring.checkpoint.text.sandbox import budget
from shoestring.checkpoint.text.sandbox.environment import Sandbox
from shoestring.checkpoint.text.sandbox.filters import FUNCTIONS
from shoestring.checkpoint.text.tokenizer import THINKING_TEXTS, Tokenizer
from shoestring.errors import RequestError, StoppedError, TokenizerError
from shoestring.files import read_text
from shoestring.printable import shortened

#: Bytes of chat_template.jinja; the sandbox has a limit of its own.
LARGEST_TEMPLATE = 16 << 20
_MAX_TEMPLATES = 16
#: Names that mean something inside a template already
_RESERVED = frozenset((*FUNCTIONS, "caller", "kwargs", "loop", "self", "super", "varargs"))


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
        if len(self.templates) > _MAX_TEMPLATES:
            raise TokenizerError(f"{source}: it has more than {_MAX_TEMPLATES} chat templates")
        self._compiled = self._compile()
        self._private = frozenset().union(*map(private_characters, self.templates.values()))
        self.marks = self._marks_without(self._private)

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
        /,  # templates may have a variable `self`
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        enable_thinking: bool | None = None,
        add_generation_prompt: bool = True,
        **kwargs: Any,
    ) -> Rendered:
        """The prompt for `messages` ({"role", "content", …}, OpenAI's shape).

        enable_thinking: None: the template decides. kwargs: variables of the template.
        Raises RequestError for invalid messages or those that the template rejects, TokenizerError if it fails,
        StoppedError if nobody waits for it any more.
        """
        private: set[str] = set()
        values = {"messages": json_copy(checked_messages(messages), "messages", private)}
        values["tools"] = json_copy(list(tools), "tools", private) if tools else None
        for name, value in kwargs.items():
            if name in _RESERVED or not name.isidentifier() or name.startswith("_"):
                raise RequestError(
                    f"{shortened(name, 100)!r} cannot be a variable of a chat template: use another name"
                )
            values[name] = json_copy(value, shortened(name, 100), private)
        marks = self.marks
        if not private.isdisjoint(map(chr, marks.to_plain)):  # by chance or on purpose: other marks for this rendering
            marks = self._marks_without(self._private | private)
        variables = self.tokenizer.template_tokens | marks.mark(values)
        if enable_thinking is not None:
            variables["enable_thinking"] = enable_thinking
        variables["add_generation_prompt"] = add_generation_prompt
        template = self._compiled["tool_use" if tools and "tool_use" in self._compiled else "default"]
        text = self._text(template, variables, marks)
        ids = tuple(self.tokenizer.encode_marked(text, marks.to_plain))
        return Rendered(marks.plain(text), ids, self._inside_thinking(text, ids))

    def _text(self, template: jinja2.Template, variables: dict[str, Any], marks: Marks) -> str:
        token = budget.current.set(budget.Budget(marks))
        try:
            return str.__str__(template.render(variables))
        except StoppedError:
            raise
        except RequestError as error:
            failure: Exception = RequestError(f"{self.source}: the chat template rejects the messages: {error}")
        except Exception as error:  # a template can raise any exception
            is_forbidden = isinstance(error, SecurityError)
            problem = "does something that is not allowed" if is_forbidden else "fails on these messages"
            failure = TokenizerError(f"{self.source}: the chat template {problem}: {_line(error)}")
        finally:
            budget.current.reset(token)
        raise failure  # outside of `except`: the first error refers to all that the template has built

    def _inside_thinking(self, text: str, ids: Iterable[int]) -> bool:
        """By the thinking tokens; in a vocabulary without them, by the tags that the template wrote as text."""
        if self.tokenizer.thinking is None:
            return text.rfind(THINKING_TEXTS[0]) > text.rfind(THINKING_TEXTS[1])
        inside = False
        for id in ids:
            inside = id == self.tokenizer.thinking[0] or (inside and id != self.tokenizer.thinking[1])
        return inside

    def _marks_without(self, avoid: Iterable[str]) -> Marks:
        return Marks.for_tokens([*self.tokenizer.added, *THINKING_TEXTS], avoid)

    def _compile(self) -> dict[str, jinja2.Template]:
        compiled = {}
        for name, text in self.templates.items():
            try:
                compiled[name] = Sandbox().load(text)
            except jinja2.TemplateSyntaxError as error:
                where = f"{self.source}: the chat template is invalid at line {error.lineno}"
                raise TokenizerError(f"{where}: {_line(error)}") from None
            except RecursionError:
                raise TokenizerError(f"{self.source}: the chat template is invalid: it nests too deep") from None
            except Exception as error:  # limits of Python's compiler
                raise TokenizerError(f"{self.source}: the chat template is invalid: {_line(error)}") from None
        return compiled


def _line(error: Exception) -> str:
    """The message of an error that a template caused, on one line that is safe to print."""
    if isinstance(error, RecursionError):
        return "it nests too deep"
    return shortened(" ".join(str(error)[:2000].split()), 300) or type(error).__name__
