"""The filters, tests and functions of chat templates: mostly jinja2's own, each with a price in front.

Only these exist. Left out are filters that write links or HTML attributes, draw at random, or print for debugging: no
published template uses them.
"""

import inspect
import json
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import markupsafe
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.tests import TESTS
from jinja2.utils import Cycler, Joiner, Namespace, _PassArg, pass_context

from shoestring.checkpoint.text.sandbox import operations
from shoestring.checkpoint.text.sandbox.budget import Budget, Lazy, Weight, current
from shoestring.checkpoint.text.sandbox.operations import (
    check_compare,
    check_size,
    items_of,
    text,
    with_pieces,
    wrapped,
)
from shoestring.errors import RequestError
from shoestring.printable import shortened

_MAX_RANGE = 1_000_000
_INDENT = 16
_JINJA_FILTERS: Mapping[str, Any] = FILTERS
_JINJA_TESTS: Mapping[str, Any] = TESTS
_COMPARISONS = "in > gt greaterthan ge >= < lt lessthan <= le"

#: A price: it pays, and returns the arguments for jinja2's filter
Price = Callable[..., tuple[Any, ...]]


def _free(budget: Budget, value: Any, *arguments: Any) -> tuple[Any, ...]:
    return (value, *arguments)


def _texts(growth: int) -> Price:
    """For filters whose result has at most `growth` times the characters of their texts."""

    def price(budget: Budget, value: Any, *arguments: Any) -> tuple[Any, ...]:
        value = text(budget, value)
        operations.read(budget, value)
        for argument in arguments:
            if isinstance(argument, str):
                operations.check_search(budget, value, argument, backwards=True)
        budget.check_room(growth * len(value) * operations.characters(value))
        return (value, *arguments)

    return price


def _padded(budget: Budget, value: Any, width: Any = 80, *arguments: Any) -> tuple[Any, ...]:
    check_size(width)
    value = text(budget, value)
    budget.check_room(4 * (len(value) + (width if isinstance(width, int) else 0)))
    return (value, width, *arguments)


def _indented(budget: Budget, value: Any, width: Any = 4, *arguments: Any) -> tuple[Any, ...]:
    check_size(width)
    value = text(budget, value)
    operations.read(budget, value)
    lines = len(value.splitlines()) + 1
    budget.spend(2 * lines)
    budget.check_room(4 * (len(value) + lines * (len(width) if isinstance(width, str) else max(0, width))))
    return (value, width, *arguments)


def _truncated(budget: Budget, value: Any, length: Any = 255, *arguments: Any) -> tuple[Any, ...]:
    value = text(budget, value)
    operations.read(budget, value)
    budget.check_room(4 * (2 * len(value) + sum(len(a) for a in arguments if isinstance(a, str))))
    return (value, length, *arguments)


def _in_pieces(budget: Budget, value: Any, size: Any, *arguments: Any) -> tuple[Any, ...]:
    check_size(size)
    value = items_of(budget, value)
    if not isinstance(value, list | tuple | dict | range | str):
        value = list(value)
    budget.spend((30 if isinstance(value, str) else 10) * len(value) + (3 * abs(size) if isinstance(size, int) else 0))
    budget.check_room(100 * len(value))
    return (value, size, *arguments)


def _walked(growth: int = 0, *, sorts: bool = False) -> Price:
    """For filters that compare, add or copy all that a value contains. growth: bytes of a result for each value."""

    def price(budget: Budget, value: Any, *arguments: Any) -> tuple[Any, ...]:
        value = items_of(budget, value)
        if isinstance(value, range):
            budget.spend(3 * len(value))
            budget.check_room(40 * len(value))
            weight = Weight(len(value), 8 * len(value), 1)
        elif isinstance(value, str):
            operations.read(budget, value)
            weight = Weight(len(value), len(value), 1)
        else:
            weight = budget.weigh(value)
        attributes = sum(len(a) for a in arguments if isinstance(a, str))
        times = max(1, math.ceil(math.log2(weight.values + 1))) if sorts else 1
        budget.spend((times + 2 + attributes) * weight.values + times * (weight.characters >> 3))
        budget.check_room(growth * weight.values)
        return (value, *arguments)

    return price


def _unique(budget: Budget, value: Any, *arguments: Any) -> tuple[Any, ...]:
    value, *_ = _walked(80)(budget, value, *arguments)
    _hashed(budget, value)
    return (value, *arguments)


def _hashed(budget: Budget, keys: Any) -> None:
    """Pay for hashes of keys. Those of numbers, unlike those of text, collide where a template wants it."""
    numbers = len(keys) if isinstance(keys, range) else sum(not isinstance(key, str) for key in keys)
    budget.spend(numbers * numbers // 8)


def _summed(budget: Budget, value: Any, attribute: Any = None, start: Any = 0) -> tuple[Any, ...]:
    if not isinstance(start, int | float):
        raise SecurityError("sum adds numbers only")
    value, *_ = _walked()(budget, value, attribute)
    return (value, attribute, start)


def _each(budget: Budget, value: Any, *arguments: Any) -> tuple[Any, ...]:
    """For filters whose result is an iterator over the items of a value."""
    attributes = sum(len(a) for a in arguments if isinstance(a, str))
    return (Lazy(budget, items_of(budget, value), 12 + attributes) if value else value, *arguments)


def _joined(budget: Budget, value: Any, separator: Any = "", *arguments: Any) -> tuple[Any, ...]:
    value, separator = items_of(budget, value), text(budget, separator)
    weight = budget.weigh(list(value) if isinstance(value, str | range) else value)
    is_flat = weight.levels <= 2 and not arguments
    size = weight.characters * (1 if is_flat else 10) + weight.values * (4 + len(separator))
    budget.spend((4 + sum(len(a) for a in arguments if isinstance(a, str))) * weight.values)
    budget.check_room(4 * size)
    return (value, separator, *arguments)


def _number(budget: Budget, value: Any, *arguments: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        operations.read(budget, value)
        if len(value) > operations.SIZE:
            raise SecurityError("it converts a text of more than 10,000 characters to a number")
    return (value, *arguments)


def _rounded(budget: Budget, value: Any, precision: Any = 0, *arguments: Any) -> tuple[Any, ...]:
    if isinstance(precision, int) and abs(precision) > 300:
        raise SecurityError("it rounds to more than 300 digits")
    operations.check_binary(budget, "+", value, precision)
    return (value, precision, *arguments)


def _copied(budget: Budget, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        operations.read(budget, value)
        budget.spend(5 * len(value))
        budget.check_room(len(value) * (8 if value.isascii() else 88))
    elif isinstance(value, range):
        budget.spend(5 * len(value))
        budget.check_room(40 * len(value))
    elif hasattr(value, "__len__"):
        has_items = isinstance(value, list | tuple | dict)  # a view of an object makes them
        budget.spend((1 if has_items else 10) * len(value))
        budget.check_room((8 if has_items else 80) * len(value))
    return (value,)


#: jinja2's filters and their prices
_PRICES: dict[str, Price] = {
    **dict.fromkeys(("attr", "count", "d", "default", "first", "items", "last", "length"), _free),
    **dict.fromkeys(("capitalize", "lower", "title", "trim", "upper"), _texts(3)),
    **dict.fromkeys(("map", "reject", "rejectattr", "select", "selectattr"), _each),
    **dict.fromkeys(("max", "min"), _walked()),
    **dict.fromkeys(("dictsort", "groupby", "sort"), _walked(120, sorts=True)),
    **dict.fromkeys(("batch", "slice"), _in_pieces),
    "abs": _free,
    "center": _padded,
    "float": _number,
    "indent": _indented,
    "int": _number,
    "join": _joined,
    "reverse": _copied,
    "round": _rounded,
    "sum": _summed,
    "truncate": _truncated,
    "unique": _unique,
}
_FINDING = ("attr", "d", "default", "first", "last", "max", "min")


def _priced(function: Callable[..., Any], price: Price, *, finds: bool) -> Callable[..., Any]:
    """A filter of jinja2 that pays before it runs. Its first argument is the context, so it never runs at load.

    finds: the result exists already, so its bytes are not counted.
    """
    function = getattr(function, "__wrapped__", function)  # without the variant for async environments
    passed = _PassArg.from_obj(function)
    parameters = inspect.signature(function).parameters.values()
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    names = [parameter.name for parameter in parameters][1 if passed else 0 :]
    defaults = {parameter.name: parameter.default for parameter in parameters}

    @pass_context
    def run(context: Context, *arguments: Any, **named: Any) -> Any:
        budget = current.get()
        budget.spend(10)
        if named and not takes_any:  # in the order of the parameters, for the price
            last = max(names.index(name) if name in names else -1 for name in named)
            unknown = set(named) - set(names[len(arguments) :])
            if unknown:
                raise TypeError(f"the filter has no argument {min(unknown)!r}")
            arguments = (*arguments, *(named.get(name, defaults[name]) for name in names[len(arguments) : last + 1]))
            named = {}
        arguments = price(budget, *arguments)
        if passed is _PassArg.context:
            arguments = (context, *arguments)
        elif passed is _PassArg.eval_context:
            arguments = (context.eval_ctx, *arguments)
        elif passed is _PassArg.environment:
            arguments = (context.environment, *arguments)
        result = function(*arguments, **named)
        return result if finds else wrapped(budget, result)

    return run


@pass_context
def _replace(context: Context, value: Any, old: Any, new: Any, count: int | None = None) -> Any:
    budget = current.get()
    old, new = text(budget, old), text(budget, new)
    replaced = operations.replace(budget, str(text(budget, value)), old, new, -1 if count is None else count)
    return wrapped(budget, replaced)


@pass_context
def _percent(context: Context, value: Any, *arguments: Any, **named: Any) -> Any:
    """The filter `format`."""
    if arguments and named:
        raise TypeError("the filter format takes arguments with names or without, not both")
    budget, values = current.get(), named or arguments
    format = text(budget, value)
    operations.check_percent(budget, format, values)
    return wrapped(budget, format % values)


@pass_context
def _list(context: Context, value: Any) -> Any:
    budget = current.get()
    budget.spend(10)
    (value,) = _copied(budget, items_of(budget, value))
    return (with_pieces if isinstance(value, str) else wrapped)(budget, list(value))


@pass_context
def _string(context: Context, value: Any) -> Any:
    budget = current.get()
    return wrapped(budget, text(budget, value))


@pass_context
def _escape(context: Context, value: Any) -> Any:
    budget = current.get()
    (value,) = _texts(6)(budget, value)
    return wrapped(budget, markupsafe.escape(budget.marks.plain(value)))


@pass_context
def _safe(context: Context, value: Any) -> Any:
    budget = current.get()
    (value,) = _texts(1)(budget, value)
    return wrapped(budget, markupsafe.Markup(value))


@pass_context
def _tojson(
    context: Context,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> Any:
    """json.dumps like Hugging Face's, without the HTML escapes of jinja2's own filter."""
    budget = current.get()
    weight = budget.weigh(value)
    step = len(indent) if isinstance(indent, str) else indent or 0
    if step > _INDENT:
        raise SecurityError(f"it indents JSON by more than {_INDENT} characters")
    around = sum(map(len, separators)) if separators else 4
    budget.spend(weight.values * (4 if indent is None else 15) + weight.characters * (3 if ensure_ascii else 0))
    budget.check_room(
        4 * (6 * weight.characters * (4 if ensure_ascii else 1) + weight.values * (around + 4 + step * weight.levels))
    )
    written = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys)
    if ensure_ascii:
        marks = budget.marks.to_plain
        written = "".join(c if c.isascii() or ord(c) in marks else json.dumps(c)[1:-1] for c in written)
    return wrapped(budget, written)


PRICED_FILTERS: dict[str, Callable[..., Any]] = {
    **{name: _priced(_JINJA_FILTERS[name], price, finds=name in _FINDING) for name, price in _PRICES.items()},
    **dict.fromkeys(("e", "escape", "forceescape"), _escape),
    "format": _percent,
    "list": _list,
    "replace": _replace,
    "safe": _safe,
    "string": _string,
    "tojson": _tojson,
}


# ---- tests


def _compared(function: Callable[[Any, Any], bool], operator: str) -> Callable[..., bool]:
    @pass_context
    def run(context: Context, left: Any, right: Any) -> bool:
        check_compare(current.get(), operator, left, right)
        return function(left, right)

    return run


def _of_numbers(function: Callable[..., bool]) -> Callable[..., bool]:
    """A test that computes a remainder, which for text is a format."""

    def run(*values: Any) -> bool:
        if not all(isinstance(value, int | float) for value in values):
            raise TypeError("only a number can be divided")
        return function(*values)

    return run


def _of_text(function: Callable[[str], bool]) -> Callable[..., bool]:
    @pass_context
    def run(context: Context, value: Any) -> bool:
        budget = current.get()
        value = text(budget, value)
        operations.read(budget, value)
        return function(value)

    return run


PRICED_TESTS: dict[str, Callable[..., Any]] = {
    **_JINJA_TESTS,
    **{name: _of_numbers(_JINJA_TESTS[name]) for name in ("odd", "even", "divisibleby")},
    **{name: _of_text(_JINJA_TESTS[name]) for name in ("lower", "upper")},
    **{name: _compared(_JINJA_TESTS[name], "in" if name == "in" else "lt") for name in _COMPARISONS.split()},
    **{name: _compared(_JINJA_TESTS[name], "eq") for name in ("==", "eq", "equalto", "!=", "ne")},
}


# ---- functions


def _range(*arguments: int) -> range:
    steps = range(*arguments)
    if len(steps) > _MAX_RANGE:
        raise SecurityError(f"it asks for a range of more than {_MAX_RANGE:,} steps")
    return steps


def _dict(*arguments: Any, **named: Any) -> dict[Any, Any]:
    budget = current.get()
    values = items_of(budget, arguments[0]) if len(arguments) == 1 else arguments
    if len(arguments) > 1:
        raise TypeError("dict() takes one value")
    if arguments and not isinstance(values, dict):
        values = [tuple(pair) for pair in values]
        budget.weigh(values)
        _hashed(budget, [key for key, _ in values])
    budget.spend(3 * (len(values) + len(named)))
    budget.check_room(100 * (len(values) + len(named)))
    result = dict(values, **named)
    budget.hold(result)
    return result


def _raise_exception(message: Any) -> None:
    raise RequestError(shortened(" ".join(text(current.get(), message)[:1000].split())))


def _strftime_now(format: str) -> str:
    if len(format) > 200:
        raise SecurityError("it formats the time with more than 200 characters")
    return datetime.now().strftime(format)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "range": _range,
    "dict": _dict,
    "namespace": lambda *arguments, **named: Namespace(_dict(*arguments, **named)),
    "cycler": lambda *items: Cycler(*items),
    "joiner": lambda separator=", ": Joiner(text(current.get(), separator)),
    "raise_exception": _raise_exception,
    "strftime_now": _strftime_now,
}
