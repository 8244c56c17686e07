"""The sandbox of chat templates: jinja2, with every operation that can take time or memory under a budget.

jinja2 compiles a template to Python. Before that, the syntax tree is checked against the list of what templates may
use, and rewritten: loops count their steps; comparisons, slices and concatenations become filters, which pay the budget
(`budget`, `operations`, `filters`). Nothing is computed while a template loads.
"""

import operator
from collections.abc import Callable, Iterable
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError, UndefinedError
from jinja2.ext import Extension, loopcontrols
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace, missing, pass_context
from jinja2.visitor import NodeTransformer

from shoestring.checkpoint.text.marks import Marked
from shoestring.checkpoint.text.sandbox import operations
from shoestring.checkpoint.text.sandbox.budget import CALLS, Counted, current
from shoestring.checkpoint.text.sandbox.filters import FUNCTIONS, PRICED_FILTERS, PRICED_TESTS
from shoestring.checkpoint.text.sandbox.operations import Method, methods_of, text, with_pieces, wrapped

#: Published templates have at most 20,000 characters and 1,400 nodes.
CHARACTERS = 128 << 10
NODES = 10_000
#: Keys of one dictionary that are not text; more could be made to collide.
_COMPUTED_KEYS = 64
#: Steps of a branch that its surroundings pay, taken or not
_SMALL_BRANCH = 12
#: Steps of the next iteration of a loop, with its variable `loop`
_ITERATION = 4
#: Steps of nodes that look something up or create an object of up to 100 bytes; of others: 1
_COSTS: dict[type[nodes.Node], int] = {
    **dict.fromkeys((nodes.Getattr, nodes.Getitem, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.CondExpr), 5),
    **dict.fromkeys((nodes.Macro, nodes.CallBlock), 40),
    nodes.Operand: 0,
}

_ALLOWED = (
    "Template Output TemplateData Name NSRef Const Tuple List Dict Pair Keyword CondExpr Filter Test Call Getitem "
    "Getattr Slice Concat Compare Operand Mul Div FloorDiv Add Sub Mod Pow Not Neg Pos And Or For If Macro CallBlock "
    "FilterBlock With Assign AssignBlock ExprStmt Break Continue"
)
_NODES = tuple(getattr(nodes, name) for name in _ALLOWED.split())
_SCALARS = (str, int, float, bool, type(None))
_FEW = 64
_POSITIONS = ("index", "index0", "revindex", "revindex0", "length", "depth", "depth0")
_ATTRIBUTES: dict[type, frozenset[str]] = {
    LoopContext: frozenset((*_POSITIONS, "first", "last", "previtem", "nextitem", "cycle", "changed")),
    Cycler: frozenset(("next", "reset", "current")),
    Macro: frozenset(("name", "arguments", "catch_kwargs", "catch_varargs", "caller")),
}
_DICT_NAMES = frozenset(dir(dict))
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
    "in": lambda a, b: a in b,
    "notin": lambda a, b: a not in b,
}


class _Generation(Extension):
    """Hugging Face's `{% generation %}` block, which marks text for training; here it renders its body."""

    tags = {"generation"}  # noqa: RUF012, as jinja2 documents

    def parse(self, parser: Any) -> list[nodes.Node]:
        next(parser.stream)
        body: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return body


class _Rewriter(NodeTransformer):
    """Check the nodes of a template, and replace those that would run without a price."""

    def __init__(self) -> None:
        self._count = 0

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        self._count += 1
        if self._count > NODES:
            raise jinja2.TemplateSyntaxError(f"it has more than {NODES:,} parts", node.lineno)
        if not isinstance(node, _NODES):
            name = type(node).__name__.lower()
            raise jinja2.TemplateSyntaxError(f"it uses {name!r}, which chat templates cannot", node.lineno)
        return super().visit(node, *args, **kwargs)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        cost = _ITERATION + _cost(node.body) + (_cost([node.test]) if node.test else 0)
        self.generic_visit(node)
        if node.recursive:
            node.body.insert(0, _charge(cost))
        assert isinstance(node.iter, nodes.Expr)
        node.iter = _filter("each", node.iter, nodes.Const(cost))
        return node

    def visit_If(self, node: nodes.If) -> nodes.Node:
        costs = [_cost(body) for body in (node.body, node.else_)]
        self.generic_visit(node)
        for body, cost in zip((node.body, node.else_), costs, strict=True):
            if cost > _SMALL_BRANCH:
                body.insert(0, _charge(cost))
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        cost = 2 * _cost(node.body)
        self.generic_visit(node)
        node.body.insert(0, _charge(cost))
        return node

    visit_CallBlock = visit_Macro

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filter("concat", nodes.Tuple(node.nodes, "load", lineno=node.lineno))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        left, parts = node.expr, list[nodes.Expr]()
        for operand in node.ops:
            if _is_cheap(operand):
                parts.append(nodes.Compare(left, [operand], lineno=node.lineno))
            else:
                parts.append(_filter("compare", left, nodes.Const(operand.op), operand.expr))
            left = operand.expr
        result = parts[0]
        for part in parts[1:]:
            result = nodes.And(result, part, lineno=node.lineno)
        return result

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        part = node.arg
        if isinstance(part, nodes.Slice):
            ends: list[nodes.Expr] = [end or nodes.Const(None) for end in (part.start, part.stop, part.step)]
            return _filter("cut", node.node, *ends)
        if isinstance(part, nodes.Tuple) and any(isinstance(item, nodes.Slice) for item in part.items):
            raise jinja2.TemplateSyntaxError("it slices in more than one dimension", node.lineno)
        return node

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        computed = sum(not (isinstance(p.key, nodes.Const) and isinstance(p.key.value, str)) for p in node.items)
        if computed > _COMPUTED_KEYS:
            raise jinja2.TemplateSyntaxError(f"a dictionary has more than {_COMPUTED_KEYS} computed keys", node.lineno)
        self.generic_visit(node)
        return node


def _filter(name: str, node: nodes.Expr, *arguments: nodes.Expr) -> nodes.Filter:
    """A filter whose name no template can write."""
    return nodes.Filter(node, f"·{name}", list(arguments), [], None, None, lineno=node.lineno)


def _charge(cost: int) -> nodes.ExprStmt:
    return nodes.ExprStmt(_filter("charge", nodes.Const(cost)))


def _is_cheap(operand: nodes.Operand) -> bool:
    """Whether a comparison ends at once: with a constant, or membership in a few of them."""
    value = operand.expr
    if isinstance(value, nodes.Const):
        return operand.op in ("eq", "ne") and isinstance(value.value, _SCALARS)
    if not isinstance(value, nodes.Tuple | nodes.List) or operand.op not in ("in", "notin"):
        return False
    return len(value.items) <= _FEW and all(isinstance(item, nodes.Const) for item in value.items)


def _cost(body: Iterable[nodes.Node]) -> int:
    """Steps of running nodes once, without what pays for itself: loops, macros, larger branches."""
    cost, waiting = 1, list(body)
    while waiting:
        node = waiting.pop()
        cost += _COSTS.get(type(node), 1)
        if isinstance(node, nodes.For):
            waiting += [node.iter, *node.else_]
        elif isinstance(node, nodes.If):
            waiting += [node.test, *node.elif_]
            for branch in (node.body, node.else_):
                branch_cost = _cost(branch)
                cost += branch_cost if branch_cost <= _SMALL_BRANCH else 0
        elif not isinstance(node, nodes.Macro | nodes.CallBlock):
            waiting += node.iter_child_nodes()
    return cost


# ---- what the rewritten nodes call


@pass_context
def _each(context: Context, value: Any, cost: int) -> Counted:
    return Counted(current.get(), value, cost + 10 if isinstance(value, Marked) else cost)


@pass_context
def _charged(context: Context, cost: int) -> None:
    current.get().spend(cost)


@pass_context
def _concatenated(context: Context, parts: tuple[Any, ...]) -> Any:
    budget = current.get()
    return _joined([text(budget, part) for part in parts])


@pass_context
def _compared(context: Context, left: Any, name: str, right: Any) -> Any:
    operations.check_compare(current.get(), name, left, right)
    return _COMPARE[name](left, right)


@pass_context
def _cut(context: Context, value: Any, start: Any, stop: Any, step: Any) -> Any:
    budget = current.get()
    budget.spend(10)
    if isinstance(value, str | list | tuple):
        size = operations.characters(value) if isinstance(value, str) else 8
        budget.check_room(len(range(*slice(start, stop, step).indices(len(value)))) * size)
    elif not isinstance(value, range | Undefined):
        raise TypeError(f"a {type(value).__name__} has no slices")
    return wrapped(budget, value[start:stop:step])


@pass_context
def _written(context: Context, value: Any) -> str:
    return text(current.get(), value)


def _joined(parts: Iterable[str]) -> Any:
    """The parts of an output in one text."""
    budget = current.get()
    parts = list(parts)
    size = sum(map(len, parts))
    budget.spend(15 + (len(parts) >> 1))
    budget.check_room(size if all(map(str.isascii, parts)) else 4 * size)
    joined = "".join(parts)
    return wrapped(budget, Marked(joined, budget.marks) if any(isinstance(p, Marked) for p in parts) else joined)


_INTERNAL = {"each": _each, "charge": _charged, "concat": _concatenated, "compare": _compared, "cut": _cut}


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of chat templates, as Hugging Face sets it up. A rendering needs a budget in `budget.current`."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)
    intercepted_unops = frozenset(ImmutableSandboxedEnvironment.default_unop_table)

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, loopcontrols],
            optimized=False,
            finalize=_written,
            cache_size=0,
        )
        self.filters = {**PRICED_FILTERS, **{f"·{name}": function for name, function in _INTERNAL.items()}}
        self.tests = dict(PRICED_TESTS)
        self.globals = dict(FUNCTIONS)
        self.concat = _joined  # type: ignore[method-assign]
        self.undefined = self._undefined  # type: ignore[assignment]
        self._undefined_names: dict[str, Undefined] = {}

    def load(self, source: str) -> jinja2.Template:
        """Compile a template. Raises jinja2.TemplateSyntaxError, or an error of Python's compiler."""
        if len(source) > CHARACTERS:
            raise jinja2.TemplateSyntaxError(f"it has more than {CHARACTERS:,} characters", 1)
        return self.from_string(_Rewriter().visit(self.parse(source)))

    def _undefined(
        self, hint: Any = None, obj: Any = missing, name: Any = None, exc: Any = UndefinedError
    ) -> Undefined:
        """A value for what is not defined: for a variable of the template always the same, which costs no memory."""
        if hint is not None or obj is not missing or not isinstance(name, str):
            current.get().spend(20)
            return Undefined(hint, obj, name, exc)
        if name not in self._undefined_names:
            if len(self._undefined_names) >= NODES:
                self._undefined_names.clear()
            self._undefined_names[name] = Undefined(name=name)
        return self._undefined_names[name]

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute`: a method, or else an item, as in jinja2."""
        method = methods_of(obj).get(attribute)
        if method is not None:
            current.get().spend(5)
            return Method(obj, attribute, method)
        if isinstance(obj, dict):
            if attribute in obj and attribute not in _DICT_NAMES:
                return obj[attribute]
        elif isinstance(obj, Namespace):
            attributes = object.__getattribute__(obj, "_Namespace__attrs")
            return attributes[attribute] if attribute in attributes else self.undefined(obj=obj, name=attribute)
        elif isinstance(obj, Undefined):
            return super().getattr(obj, attribute)
        elif attribute in _ATTRIBUTES.get(type(obj), ()):
            return getattr(obj, attribute)
        if hasattr(type(obj), attribute):
            return self.unsafe_undefined(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`: an item, or else a method, as in jinja2."""
        if type(argument) is not str:  # whose hash is computed once
            operations.read_key(current.get(), argument)
        if isinstance(obj, str | list | tuple | dict | range):
            try:
                item = obj[argument]
            except (TypeError, LookupError):
                pass
            else:
                if isinstance(obj, str):
                    budget = current.get()
                    budget.spend(15)
                    budget.hold(item)
                return item
        elif isinstance(obj, Undefined):
            return obj[argument]
        if isinstance(argument, str):
            return self.getattr(obj, str.__str__(argument))
        return self.undefined(obj=obj, name=argument)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a method, a macro, or one of the functions."""
        budget = current.get()
        budget.spend(12 + len(args) + 10 * len(kwargs))
        for name in ("_loop_vars", "_block_vars"):  # for functions that see the context
            kwargs.pop(name, None)
        if isinstance(__obj, Method):
            if __obj.name == "format":
                kwargs["environment"] = __self
            result = __obj.function(budget, __obj.value, *args, **kwargs)
            return with_pieces(budget, result) if isinstance(__obj.value, str) else result
        if isinstance(__obj, Macro | LoopContext):
            budget.spend(20)
            budget.calls += 1
            if budget.calls > CALLS:
                raise SecurityError(f"its macros call each other more than {CALLS} levels deep")
            try:
                return __context.call(__obj, *args, **kwargs)
            finally:
                budget.calls -= 1
        if isinstance(__obj, Undefined):
            return __obj(*args, **kwargs)
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, LoopContext | Cycler):
            budget.weigh(args)
            return __obj(*args, **kwargs)
        if isinstance(__obj, Joiner) or any(__obj is function for function in FUNCTIONS.values()):
            budget.spend(15 + 2 * len(kwargs))
            return __obj(*args, **kwargs)
        raise TypeError(f"a {type(__obj).__name__} cannot be called")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        budget = current.get()
        operations.check_binary(budget, operator, left, right)
        return wrapped(budget, self.binop_table[operator](left, right))

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        operations.check_binary(current.get(), "+", arg, 0)
        return self.unop_table[operator](arg)
