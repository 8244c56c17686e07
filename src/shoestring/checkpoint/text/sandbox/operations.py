"""What templates do with text, lists and objects: operators, methods, formats. Each pays its budget before it runs.

Growth is bounded by the size of the result, which each operation knows beforehand; time by the work that Python's
algorithms do in the worst case.
"""

import re
import string
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.runtime import Undefined
from jinja2.sandbox import SandboxedFormatter
from markupsafe import Markup

from shoestring.checkpoint.text.marks import Marked
from shoestring.checkpoint.text.sandbox.budget import NUMBER_BITS, Budget, Lazy

#: The largest width, indentation or count in an argument
SIZE = 10_000
#: Bytes of an element of a list, and of a short string
_ELEMENT, _PIECE = 8, 80
#: From this length on Python searches forwards in linear time for patterns of 100 characters and more.
_LONG = 30_000
_POWER_BITS = 128
_PERCENT = re.compile(r"%(?:\([^()%]*\))?[#0 +-]*(\*|\d*)(?:\.(\*|\d*))?")
_ESCAPED = 10  # characters of repr for one, \U0001f600; HTML escapes have at most 5


def text(budget: Budget, value: Any) -> str:
    """str(value), as output and `~` write it."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, int | float | Undefined):
        budget.spend(5)
        return str(value)
    weight = budget.weigh(value)
    budget.spend(3 * weight.values)
    budget.check_room(4 * (_ESCAPED * weight.characters + 4 * weight.values))
    return str(value)


def characters(text: str) -> int:
    """Bytes of one character of a text, at most."""
    return 1 if text.isascii() else 4


def check_size(*sizes: Any) -> None:
    """Refuse arguments that are sizes and too large."""
    for size in sizes:
        if isinstance(size, int) and abs(size) > SIZE:
            raise SecurityError(f"it asks for a size of more than {SIZE:,}")


def check_search(budget: Budget, text: str, pattern: Any, *, backwards: bool = False) -> None:
    """Pay for a search. Backwards, and in short texts, Python may compare every character with the whole pattern."""
    length = len(pattern) if isinstance(pattern, str) else 1
    if not backwards and len(text) > _LONG:
        length = min(length, 100)
    budget.spend((len(text) * max(1, length)) >> 6)


def read(budget: Budget, text: str) -> None:
    """Pay for walking through a text. Marked text is converted to plain text on the way."""
    budget.spend(len(text) >> (3 if isinstance(text, Marked) else 6))


def items_of(budget: Budget, value: Any) -> Any:
    """A list for an iterator, whose items are then counted; anything else unchanged."""
    return list(value) if isinstance(value, Iterator) else value


# ---- operators


def _numbers(*values: Any) -> None:
    if any(isinstance(value, int) and value.bit_length() > NUMBER_BITS for value in values):
        raise SecurityError("it computes with larger numbers than a prompt can need")


def check_binary(budget: Budget, operator: str, left: Any, right: Any) -> None:
    """Pay for `left operator right`."""
    budget.spend(10)
    if isinstance(left, str) and operator == "%":
        check_percent(budget, left, right)
    elif isinstance(left, int | float) and isinstance(right, int | float):
        _numbers(left, right)
        is_power = operator == "**" and isinstance(left, int) and isinstance(right, int)
        if is_power and int(left).bit_length() * abs(right) > _POWER_BITS:
            raise SecurityError("it asks for a larger power than a prompt can need")
    elif operator == "*":
        for value, times in ((left, right), (right, left)):
            if isinstance(value, str | list | tuple) and isinstance(times, int):
                size = characters(value) if isinstance(value, str) else _ELEMENT
                budget.check_room(len(value) * max(0, times) * size)
    elif operator == "+":
        if isinstance(left, str) and isinstance(right, str):
            size = max(characters(left), characters(right)) * (
                5 if isinstance(left, Markup) is not isinstance(right, Markup) else 1
            )
            budget.check_room((len(left) + len(right)) * size)
        elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
            budget.check_room((len(left) + len(right)) * _ELEMENT)


def check_compare(budget: Budget, operator: str, left: Any, right: Any) -> None:
    """Pay for `left operator right`, where the operator is a name of jinja2's: "eq", "lt", "in"."""
    budget.spend(3)
    if operator in ("in", "notin"):
        if isinstance(right, str):
            read(budget, right)
            check_search(budget, right, left)
        elif isinstance(right, dict):
            read_key(budget, left)
        else:
            weight = budget.weigh(right)
            times = weight.values if isinstance(left, Marked) else 1
            budget.spend((times * len(left)) >> 4 if isinstance(left, str) else budget.weigh(left).values)
            if isinstance(right, range):
                budget.spend(len(right))
    elif isinstance(left, str) and isinstance(right, str):
        if operator not in ("eq", "ne") or len(left) == len(right):
            read(budget, left)
            read(budget, right)
    elif isinstance(left, list | tuple | dict) and isinstance(right, list | tuple | dict):
        budget.weigh(left)
        budget.weigh(right)


def read_key(budget: Budget, key: Any) -> None:
    """Pay for the hash of a key."""
    if isinstance(key, str):
        read(budget, key)
    elif isinstance(key, tuple):
        budget.weigh(key)


# ---- formats


def check_percent(budget: Budget, format: str, values: Any) -> None:
    """Pay for `format % values`."""
    conversions = width = 0
    for match in _PERCENT.finditer(format):
        conversions += 1
        for size in match.groups():
            if size == "*" or len(size or "") > 4:
                raise SecurityError("it asks for a very wide field")
            width += int(size or 0)
    weight = budget.weigh(values)
    budget.spend(conversions + 3 * weight.values)
    is_flat = weight.levels <= 2 and "r" not in format and "a" not in format
    size = conversions * (weight.characters * (1 if is_flat else _ESCAPED) + 4 * weight.values + 400)
    if is_flat and not isinstance(values, dict):  # each value is written once
        size = weight.characters + conversions * 400
    budget.check_room((len(format) + size + width) * (5 if isinstance(format, Markup) else 1) * 4)


def _format(budget: Budget, format: str, *values: Any, environment: Any, **named: Any) -> str:
    """str.format, whose fields read attributes as the template does."""
    fields = width = 0
    for _, field, spec, conversion in string.Formatter().parse(str.__str__(format)):
        if field is None:
            continue
        fields += 1
        sizes = re.findall(r"\d+", spec or "")
        if "{" in (spec or "") or conversion == "a" or any(len(size) > 4 for size in sizes):
            raise SecurityError("it asks for a very wide field")
        width += sum(map(int, sizes))
        budget.spend(10 + len(field))
    weight = budget.weigh([*values, *named.values()])
    escaped = 1 if weight.levels <= 2 and "!r" not in format else _ESCAPED
    budget.check_room(4 * (len(format) + width + fields * (escaped * weight.characters + 4 * weight.values)))
    return type(format)(SandboxedFormatter(environment).vformat(format, values, named))


# ---- methods of text


def _same_size(name: str) -> Callable[..., Any]:
    """A method whose result is at most three times as long: full case mappings of Unicode."""

    def run(budget: Budget, value: str, *arguments: Any) -> Any:
        read(budget, value)
        budget.weigh(arguments)
        budget.check_room(3 * len(value) * characters(value))
        return getattr(value, name)(*arguments)

    return run


def _search(name: str) -> Callable[..., Any]:
    def run(budget: Budget, value: str, sub: str, *bounds: Any) -> Any:
        read(budget, value)
        check_search(budget, value, sub, backwards=name.startswith("r"))
        return getattr(value, name)(sub, *bounds)

    return run


def _strip(name: str) -> Callable[..., Any]:
    def run(budget: Budget, value: str, chars: str | None = None) -> str:
        read(budget, value)
        check_search(budget, value, chars, backwards=True)
        budget.check_room(len(value) * characters(value))
        return getattr(value, name)(chars)  # type: ignore[no-any-return]

    return run


def _pad(name: str) -> Callable[..., Any]:
    def run(budget: Budget, value: str, width: int = 8, *fill: str) -> str:
        check_size(width)
        times = value.count("\t") if name == "expandtabs" else 1
        budget.check_room(4 * (len(value) + times * abs(width)))
        return getattr(value, name)(width, *fill)  # type: ignore[no-any-return]

    return run


def _split(name: str) -> Callable[..., Any]:
    def run(budget: Budget, value: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
        read(budget, value)
        check_search(budget, value, sep, backwards=name == "rsplit")
        if sep:
            pieces = value.count(sep)
        else:  # at most every second character is a space
            pieces = len(value) // 2
        if 0 <= maxsplit < pieces:
            pieces = maxsplit
        budget.check_room(len(value) * characters(value) + (pieces if sep else 0) * _PIECE)
        most = 300_000
        parts: list[str] = getattr(value, name)(sep, min(pieces, most))
        if len(parts) > most:
            raise SecurityError("it splits a text into more pieces than a prompt can need")
        return parts

    return run


def _splitlines(budget: Budget, value: str, keepends: bool = False) -> list[str]:
    read(budget, value)
    lines = sum(value.count(end) for end in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
    budget.check_room(len(value) * characters(value) + lines * _PIECE)
    return value.splitlines(keepends)


def replace(budget: Budget, value: str, old: str, new: str, count: int = -1) -> str:
    """str.replace."""
    if not isinstance(old, str) or not isinstance(new, str):
        raise TypeError("replace() needs two texts")
    read(budget, value)
    check_search(budget, value, old)
    times = value.count(old) if old else len(value) + 1
    if isinstance(count, int) and 0 <= count < times:
        times = count
    budget.spend(times)
    size = max(characters(value), characters(new))
    budget.check_room((len(value) + times * len(new)) * size + (times * _PIECE if isinstance(value, Marked) else 0))
    return value.replace(old, new, count)


def join(budget: Budget, separator: str, items: Iterable[str]) -> str:
    """str.join."""
    items = items if isinstance(items, str | list | tuple) else list(items)
    weight = budget.weigh(list(items) if isinstance(items, str) else items)
    budget.check_room(4 * (weight.characters + len(items) * len(separator)))
    return separator.join(items)


def partition(name: str) -> Callable[..., Any]:
    def run(budget: Budget, value: str, sep: str) -> tuple[str, ...]:
        read(budget, value)
        check_search(budget, value, sep, backwards=name == "rpartition")
        budget.check_room(len(value) * characters(value))
        return getattr(value, name)(sep)  # type: ignore[no-any-return]

    return run


_TESTS = "isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper"
_CASES = "capitalize casefold lower swapcase title upper startswith endswith removeprefix removesuffix"
TEXT_METHODS: dict[str, Callable[..., Any]] = {
    **{name: _same_size(name) for name in (*_TESTS.split(), *_CASES.split())},
    **{name: _search(name) for name in ("count", "find", "index", "rfind", "rindex")},
    **{name: _strip(name) for name in ("strip", "lstrip", "rstrip")},
    **{name: _pad(name) for name in ("center", "expandtabs", "ljust", "rjust", "zfill")},
    **{name: _split(name) for name in ("split", "rsplit")},
    **{name: partition(name) for name in ("partition", "rpartition")},
    "splitlines": _splitlines,
    "replace": replace,
    "join": join,
    "format": _format,
}


# ---- methods of lists and objects


def _find_in_list(name: str) -> Callable[..., Any]:
    def run(budget: Budget, values: Any, value: Any, *bounds: Any) -> int:
        check_compare(budget, "in", value, values)
        return getattr(values, name)(value, *bounds)  # type: ignore[no-any-return]

    return run


def _get(budget: Budget, values: dict[Any, Any], key: Any, default: Any = None) -> Any:
    read_key(budget, key)
    return values.get(key, default)


LIST_METHODS = {name: _find_in_list(name) for name in ("count", "index")}
DICT_METHODS: dict[str, Callable[..., Any]] = {
    "get": _get,
    "items": lambda budget, values: values.items(),
    "keys": lambda budget, values: values.keys(),
    "values": lambda budget, values: values.values(),
}


class Method:
    """A method of a value, before its call."""

    __slots__ = ("function", "name", "value")

    def __init__(self, value: Any, name: str, function: Callable[..., Any]) -> None:
        self.value, self.name, self.function = value, name, function


def methods_of(value: Any) -> dict[str, Callable[..., Any]]:
    """The methods that templates may call on a value."""
    if isinstance(value, dict):
        return DICT_METHODS
    if isinstance(value, str):
        return TEXT_METHODS
    return LIST_METHODS if isinstance(value, list | tuple | range) else {}


def wrapped(budget: Budget, result: Any) -> Any:
    """Count a new text or container, and wrap a text that has marks. Items of an iterator are counted as they come."""
    if isinstance(result, str):
        if type(result) is str and not result.isascii():
            budget.spend(len(result) >> 8)
            result = budget.marks.wrap(result)
        budget.hold(result)
    elif isinstance(result, list | tuple | dict):
        budget.hold(result)
    elif isinstance(result, Iterator):
        return Lazy(budget, result, 8)  # an item may be a new tuple
    return result


def with_pieces(budget: Budget, result: Any) -> Any:
    """As `wrapped`, for containers of new texts."""
    if isinstance(result, list | tuple):
        budget.spend(2 * len(result))
        for piece in result:
            budget.hold(piece)
    return wrapped(budget, result)
