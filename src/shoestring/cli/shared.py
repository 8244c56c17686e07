"""Let a command take shared options as one dataclass, while users see single options.

    @dataclass(frozen=True)
    class Generation:
        max_tokens: int | None = option("N", "Maximum tokens to generate.")

    @spread
    def run(model: ModelName, generation: Generation, json: Json = False) -> None: ...

typer reads a function's signature; `spread` gives it one in which each dataclass is replaced by its fields.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Annotated, Any, get_type_hints

import typer

from shoestring.sizes import bytes_of, count_of, tokens_of

#: Kinds of the files that the command line shows, in its order.
_shown: ContextVar[tuple[str, ...]] = ContextVar("shown", default=())


def note_shown(arguments: Sequence[str]) -> None:
    """Remember the order of --image and --video, which a parser loses."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    words = (word.partition("=")[0] for word in own)
    _shown.set(tuple(word[2:] for word in words if word in ("--image", "--video")))


def shown_order() -> list[str]:
    """Kinds of the files of --image and --video, as the command line has them."""
    return [*_shown.get()]


def option(
    metavar: str | None, help: str, *names: str, default: Any = None, parser: Callable[[str], Any] | None = None
) -> Any:
    """A field of a dataclass that is an option. Without `names`, it is called as the field: --max-tokens.

    parser: reads the option's value.
    """
    made = typer.Option(*names, metavar=metavar, help=help, parser=parser)
    return dataclasses.field(default=default, metadata={"option": made})


def tokens(name: str) -> Callable[[str], int]:
    """The parser of a number of tokens, which may be written as 32k. name: of the option, for errors."""

    def read(text: str) -> int:
        return tokens_of(text, name)

    return read


def sizes(name: str) -> Callable[[str], int]:
    """The parser of a number of bytes, which may be written as 12GiB. name: of the option, for errors."""

    def read(text: str) -> int:
        return bytes_of(text, name)

    return read


def count(name: str) -> Callable[[str], int]:
    """The parser of a whole number, which may be written as 2k. name: of the option, for errors."""

    def read(text: str) -> int:
        return count_of(text, name)

    return read


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Replace every parameter of `command` whose annotation is a dataclass by the fields of that dataclass.

    The fields and all parameters after the dataclass need defaults.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for name in inspect.signature(command).parameters:
        if dataclasses.is_dataclass(hints[name]):
            groups[name] = hints[name]
            parameters += _fields(hints[name])
        else:
            parameters.append(_keyword(name, inspect.signature(command).parameters[name].default, hints[name]))

    @functools.wraps(command)
    def spread_out(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})
        command(**values)

    spread_out.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    spread_out.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del spread_out.__wrapped__
    return spread_out


def _fields(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    parameters = []
    for field in dataclasses.fields(group):
        annotation = hints[field.name]
        if "option" in field.metadata:
            annotation = Annotated[annotation, field.metadata["option"]]
        parameters.append(_keyword(field.name, field.default, annotation))
    return parameters


def _keyword(name: str, default: object, annotation: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)
