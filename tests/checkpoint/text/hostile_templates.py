"""Templates that try to use up time, memory or the interpreter's stack, and what becomes of each.

LOAD: refused when loaded. RENDER: loads, then fails while rendering. HARMLESS: renders something small.
`m` stands for the first message's content in all of them: half a million characters with `<` in them.
"""

LOAD, RENDER, HARMLESS = "load", "render", "harmless"


def _repeat(times: str, body: str) -> str:
    return "{% for i in range(" + times + ") %}" + body + "{% endfor %}"


def _grow(start: str, step: str, times: str = "99") -> str:
    """Set ns.x to `start`, then again and again to `step`."""
    return "{% set ns = namespace(x=" + start + ") %}" + _repeat(times, "{% set ns.x = " + step + " %}")


def _keep(items: str) -> str:
    """Keep new objects alive in a list of lists."""
    return _grow("none", "[ns.x, [" + items + "]]", "10 ** 6")


_M = "{% set m = messages[0].content %}"
_LISTS = _grow("[1]", "[ns.x, ns.x]", "60")
_TUPLES = _grow("(1,)", "(ns.x, ns.x)", "60")
_DEEP = _grow("[]", "[ns.x]", "99999")
_NUMBERS = _grow("[]", "ns.x + [i * 2305843009213693951]", "3000")

_OBJECT = "{% set d = dict(range(20000) | map('string') | batch(2)) %}"

RENDERED = {
    # loops
    "range": "{% for i in range(10 ** 9) %}{% endfor %}",
    "nested ranges": "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
    "nested filtered ranges": "{% for i in range(9999) %}{% for j in range(9999) if false %}{% endfor %}{% endfor %}",
    "nested loops over text": _M + "{% for a in m %}{% for b in m %}{% endfor %}{% endfor %}",
    "nested loops that look": _repeat("3000", _repeat("3000", _repeat("3000", "{{ loop.last }}"))),
    "loop with an else": _repeat("10 ** 6", "{% for j in [] %}{% else %}{% set a = [i, i, i, i] %}{% endfor %}"),
    "loop of large displays": "{% for i in range(10 ** 6) %}{% set a = [" + "1," * 5000 + "] %}{% endfor %}",
    "loop of calls": "{% for i in range(10 ** 6) %}{{ namespace(a=i) }}{% endfor %}",
    "loop of outputs": "{% for i in range(10 ** 6) %}" + "x" * 60_000 + "{{ i }}{% endfor %}",
    "recursive loop": "{% for a in [[1]] recursive %}{{ loop([a, a]) }}{% endfor %}",
    "recursive loop that grows": "{% for a in [1, 2] recursive %}{{ loop([a, a]) }}{% endfor %}",
    "large displays": "{% set ns = namespace() %}{% for i in range(10 ** 6) %}{% set ns.x = [ns.x, ["
    + "1," * 5000
    + "]] %}{% endfor %}",
    "small displays": "{% set ns = namespace() %}{% for i in range(10 ** 6) %}{% set ns.x = [ns.x, ["
    + "[]," * 999
    + "]] %}{% endfor %}",
    "displayed objects": "{% set ns = namespace() %}{% for i in range(10 ** 6) %}{% set ns.x = [ns.x, {"
    + "".join(f"'{i}':{{}}," for i in range(999))
    + "}] %}{% endfor %}",
    "what is undefined": "{% set ns = namespace() %}{% for i in range(10 ** 6) %}{% set ns.x = [ns.x, ["
    + "a," * 999
    + "]] %}{% endfor %}",
    "attributes that are undefined": "{% set ns = namespace() %}{% for i in range(10 ** 6) %}{% set ns.x = [ns.x, ["
    + "ns.a," * 999
    + "]] %}{% endfor %}",
    "conditions without else": "{% set ns = namespace() %}{% for i in range(10 ** 6) %}{% set ns.x = [ns.x, ["
    + "(1 if false)," * 999
    + "]] %}{% endfor %}",
    "characters of messages": _M
    + "{% set ns = namespace() %}{% for i in range(10 ** 6) %}{% set ns.x = [ns.x, ["
    + "m[0]," * 999
    + "]] %}{% endfor %}",
    "numbers of loops": "{% set ns = namespace() %}{% for i in range(10 ** 6) %}{% set ns.x = [ns.x, ["
    + "loop.index," * 999
    + "]] %}{% endfor %}",
    "methods": _M
    + "{% set ns = namespace() %}{% for i in range(10 ** 6) %}{% set ns.x = [ns.x, ["
    + "m.split," * 999
    + "]] %}{% endfor %}",
    "outputs of numbers": "{% for i in range(10 ** 6) %}" + "{{ i }}" * 999 + "{% endfor %}",
    "macros": "{% set ns = namespace() %}{% for i in range(10 ** 6) %}"
    + "{% macro f() %}{% endmacro %}{% set ns.x = [ns.x, f] %}" * 99
    + "{% endfor %}",
    "namespaces in each other": _grow("none", "namespace(a=ns.x, b=ns.x)", "10 ** 6"),
    "loop over a lazy list": _repeat("10 ** 6", "")
    + "{% for i in range(10 ** 6) | map('string') %}{{ i | center(60) }}{% endfor %}",
    # macros
    "macro without end": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "two macros without end": "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
    "macro that doubles": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(50) }}",
    "macro that doubles text": "{% macro f(n) %}{% if n %}{{ f(n - 1) ~ f(n - 1) }}{% else %}xx{% endif %}"
    "{% endmacro %}{{ f(40) }}",
    "caller without end": "{% macro f() %}{{ caller() }}{% endmacro %}"
    "{% macro g() %}{% call f() %}{{ g() }}{% endcall %}{% endmacro %}{{ g() }}",
    "macro with large arguments": "{% macro f() %}{{ varargs | length }}{% endmacro %}{% for i in range(99999) %}"
    "{{ f(" + "1," * 999 + "1) }}{% endfor %}",
    # text that grows
    "doubled by ~": _grow("'xx'", "ns.x ~ ns.x"),
    "doubled by +": _grow("'xx'", "ns.x + ns.x"),
    "doubled by *": _grow("'xx'", "ns.x * 2"),
    "doubled by format": _grow("'xx'", "'%s%s' % (ns.x, ns.x)"),
    "doubled by the filter format": _grow("'xx'", "'%s%s' | format(ns.x, ns.x)"),
    "doubled by the method format": _grow("'xx'", "'{0}{0}'.format(ns.x)"),
    "doubled by join": _grow("'xx'", "[ns.x, ns.x] | join(ns.x)"),
    "doubled by the method join": _grow("'xx'", "ns.x.join([ns.x, ns.x])"),
    "doubled by replace": _grow("'xx'", "ns.x | replace('x', 'xx')"),
    "doubled by the method replace": _grow("'xx'", "ns.x.replace('', 'x')"),
    "doubled by a block": "{% set ns = namespace(x='xx') %}"
    + _repeat("99", "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}"),
    "doubled by a filter block": "{% set ns = namespace(x='xx') %}"
    + _repeat("99", "{% set y %}{% filter upper %}{{ ns.x }}{{ ns.x }}{% endfilter %}{% endset %}{% set ns.x = y %}"),
    "doubled by tojson": _grow("'\"'", "ns.x | tojson | tojson"),
    "doubled by escape": _grow("'&'", "ns.x | string | replace('amp', '&&&') | escape"),
    "doubled by indent": _grow("'x\\nx'", "ns.x ~ (ns.x | indent(9999, true))"),
    "joined from one text": _M + "{{ [m] * 9999 | join(m) }}",
    "kept": _grow("[], s='x' * 999999", "ns.x + [ns.s ~ i]", "9999"),
    "kept small": _grow("none", "[ns.x, i ~ 'abc']", "999999"),
    "kept of messages": _M
    + "{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = ns.x + [m ~ i] %}{% endfor %}",
    "kept in objects": _grow("{}", "dict(ns.x, **{i ~ '': i})", "99999"),
    "output of messages": _M + "{% for i in range(9999) %}{{ m }}{% endfor %}",
    "times": "{{ 'x' * 10 ** 9 }}",
    "times a list": "{{ [0] * 10 ** 9 }}",
    "times a tuple": "{{ (10 ** 9) * (1, 2) }}",
    "times a negative size": "{{ ('x' * -5) ~ 'x' * (10 ** 8) }}",
    "center": "{{ 'x' | center(10 ** 9) }}",
    "the method center": "{{ 'x'.center(10 ** 9) }}",
    "ljust": "{{ 'x'.ljust(10 ** 9) }}",
    "zfill": "{{ 'x'.zfill(10 ** 9) }}",
    "expandtabs": "{{ ('\\t' * 999999).expandtabs(9999) }}",
    "indent": "{{ ('x\\n' * 999999) | indent(9999) }}",
    "indent by text": "{{ ('x\\n' * 99999) | indent('y' * 99999) }}",
    "indented JSON": "{{ [[[[range(9) | list]]]] | tojson(indent=10 ** 8) }}",
    "separated JSON": "{{ [1, 2, 3] * 9999 | tojson(separators=('x' * 99999, 'y')) }}",
    "width in %": "{{ '%999999999d' % 1 }}",
    "precision in %": "{{ '%.999999999f' % 1 }}",
    "width of an argument": "{{ '%*d' % (999999999, 1) }}",
    "width in the filter format": "{{ '%999999999d' | format(1) }}",
    "width in format": "{{ '{:999999999}'.format(1) }}",
    "nested width in format": "{{ '{:{}}'.format(1, 999999999) }}",
    "many widths": "{{ ('%9999d' * 99999) % (1,) }}",
    "one value many times in %": _M + "{{ ('%(a)s' * 9999) % {'a': m} }}",
    "one value many times in format": _M + "{{ ('{0}' * 9999).format(m) }}",
    "width in a test": "{{ '%999999999d' is divisibleby(1) }}",
    "width in a test of odd": "{{ '%999999999d' is odd }}",
    # lists that grow
    "doubled list": _grow("[1]", "ns.x + ns.x"),
    "doubled list by list": _grow("[1]", "(ns.x * 2) | list"),
    "list of a range": _grow("[]", "ns.x + [range(10 ** 6) | list]", "99"),
    "batch": "{{ [1] | batch(10 ** 9, 0) | list }}",
    "slice": "{{ [1] | slice(10 ** 9) | list }}",
    "characters": _M
    + "{% set ns = namespace(x=[]) %}{% for i in range(99) %}{% set ns.x = ns.x + [m | list] %}{% endfor %}",
    "split at every character": _M
    + "{% set ns = namespace(x=[]) %}{% for i in range(99) %}{% set ns.x = ns.x + [m.split(' ')] %}{% endfor %}",
    "split into words": _M + "{% for i in range(9999) %}{% set x = m.split() %}{% endfor %}",
    "split into lines": "{{ ('\\n' * 10 ** 7).splitlines() | length }}",
    "sum of lists": "{{ ([[0]] * 99999) | sum(start=[]) | length }}",
    "slices": "{% set x = range(99999) | list %}{% for i in range(99999) %}{% set y = x[i:] %}{% endfor %}",
    "slices of text": _M + "{% for i in range(99999) %}{% set y = m[i:] %}{% endfor %}",
    "batches of text": _M + _grow("none", "[ns.x, m | batch(1) | list]", "99"),
    "views in lists": _OBJECT + _grow("none", "[ns.x, d.items() | list]", "9999"),
    "items in lists": _OBJECT + _grow("none", "[ns.x, d | items | list]", "9999"),
    "arguments with names": _OBJECT
    + "{% macro f() %}{% set ns.x = [ns.x, kwargs] %}{% endmacro %}{% set ns = namespace() %}"
    + _repeat("9999", "{{ f(**d) }}"),
    "arguments without names": "{% macro f() %}{% set ns.x = [ns.x, varargs] %}{% endmacro %}"
    "{% set ns = namespace() %}{% set l = range(9999) | list %}" + _repeat("9999", "{{ f(*l) }}"),
    "groups": "{% for i in range(999) %}{% set x = range(99999) | groupby('real') %}{% endfor %}",
    # values that contain themselves many times
    "output of a tree": _LISTS + "{{ ns.x }}",
    "JSON of a tree": _LISTS + "{{ ns.x | tojson }}",
    "text of a tree": _LISTS + "{{ ns.x | string }}",
    "tree in ~": _LISTS + "{{ 'a' ~ ns.x }}",
    "tree in %": _LISTS + "{{ '%s' % ns.x }}",
    "tree in format": _LISTS + "{{ '{}'.format(ns.x) }}",
    "tree in join": _LISTS + "{{ [ns.x] | join }}",
    "tree in upper": _LISTS + "{{ ns.x | upper }}",
    "tree in a test": _LISTS + "{{ ns.x is upper }}",
    "tree in an exception": _LISTS + "{{ raise_exception(ns.x) }}",
    "tree in a namespace": _LISTS + "{{ ns }}",
    "tree in views": _LISTS + "{{ {'a': ns.x}.values() }}",
    "compared trees": _LISTS + "{% set a = ns.x %}" + _LISTS + "{{ a == ns.x }}",
    "compared trees in a test": _LISTS + "{% set a = ns.x %}" + _LISTS + "{{ a is eq(ns.x) }}",
    "tree in a list": _LISTS + "{% set a = ns.x %}" + _LISTS + "{{ a in [ns.x] }}",
    "index of a tree": _LISTS + "{% set a = ns.x %}" + _LISTS + "{{ [ns.x].index(a) }}",
    "sorted trees": _LISTS + "{% set a = ns.x %}" + _LISTS + "{{ [a, ns.x] | sort | length }}",
    "changed trees": _LISTS
    + "{% set a = ns.x %}"
    + _LISTS
    + "{% for i in [1, 2] %}{{ loop.changed(a if i == 1 else ns.x) }}{% endfor %}",
    "tree as a key": _TUPLES + "{{ {}[ns.x] }}",
    "tree as a key of get": _TUPLES + "{{ {}.get(ns.x) }}",
    "tree as a key of dict": _TUPLES + "{{ dict([[ns.x, 1]]) }}",
    "unique trees": _TUPLES + "{{ [ns.x] | unique | list | length }}",
    "tree that is nothing's item": _TUPLES + "{{ messages[ns.x].x }}",
    "deep list": _DEEP + "{{ ns.x }}",
    "JSON of a deep list": _DEEP + "{{ ns.x | tojson }}",
    "namespace in itself": "{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns }}",
    "JSON of a namespace in itself": "{% set ns = namespace() %}{% set ns.x = {'a': ns} %}{{ ns.x | tojson }}",
    # algorithms that are quadratic
    "find backwards": "{% set a = 'a' * 999999 %}{{ a.rfind('b' ~ a[:499999]) }}",
    "split backwards": "{% set a = 'a' * 999999 %}{{ a.rsplit('b' ~ a[:499999]) | length }}",
    "find in short texts": "{% set a = 'a' * 24999 %}" + _repeat("9999", "{{ a.find(a[:9999] ~ 'b') }}"),
    "in short texts": "{% set a = 'a' * 24999 %}" + _repeat("9999", "{{ (a[:9999] ~ 'b') in a }}"),
    "strip many characters": "{% set a = 'a' * 999999 %}{{ a.strip('bcdefghijk' * 99999 ~ 'a') }}",
    "keys that collide": _NUMBERS + "{% for i in range(99) %}{% set x = ns.x | unique | list %}{% endfor %}",
    "keys that collide in dict": _grow("[]", "ns.x + [(i * 2305843009213693951, 0)]", "9000")
    + "{{ dict(ns.x) | length }}",
    "reads of messages": _M + "{% for i in range(999999) %}{{ m.count('y') }}{% endfor %}",
    "messages as keys": _M + "{% set d = {m: 1} %}{% for i in range(999999) %}{{ d[m] }}{% endfor %}",
    "messages in lists": _M + "{% set x = [m ~ ''] * 99999 %}{{ (m ~ '') in x }}",
    "sorted messages": _M + "{% set x = m | list %}" + _repeat("99", "{{ x | sort | length }}"),
    "sorted JSON": _grow("{}", "dict(ns.x, **{i ~ '': i})", "2000")
    + _repeat("999", "{{ ns.x | tojson(sort_keys=true) | length }}"),
    "long paths": "{% for i in range(9999) %}{{ messages | map(attribute='a.' * 9999 ~ 'a') | list }}{% endfor %}",
    # numbers
    "large power": "{{ 9 ** 9 ** 9 }}",
    "squares": _grow("3", "ns.x * ns.x") + "{{ ns.x }}",
    "rounded far": "{{ 5 | round(-10 ** 9) }}",
    "rounded to many digits": "{{ 5.5 | round(10 ** 9, 'floor') }}",
    "number of a long text": "{{ ('1' * 10 ** 6) | int(base=2) }}",
    # what is not there
    "classes": "{{ ''.__class__.__mro__ }}",
    "classes by name": "{{ ''['__class__'].x }}",
    "classes by attr": "{{ (''|attr('__class__')).x }}",
    "classes in format": "{{ '{0.__class__.__mro__}'.format(1) }}",
    "code of a macro": "{% macro f() %}{% endmacro %}{{ f._func.__globals__ }}",
    "append": "{{ messages.append(1) }}",
    "update": "{{ messages[0].update({}) }}",
    "clear": "{{ messages[0].clear() }}",
    "encode": "{{ 'x'.encode() }}",
    "translate": "{{ 'x'.translate({}) }}",
    "format_map": "{{ 'x'.format_map({}) }}",
    "lipsum": "{{ lipsum(9999) }}",
    "type of dict": "{{ dict['x'].y }}",
    "unknown function": "{{ undefined_function() }}",
    "call of a text": "{{ 'x'() }}",
    "call of messages": "{{ messages() }}",
    "strftime": "{{ strftime_now('%Y' * 9999) }}",
    "unknown filter by name": "{{ [1] | map('urlize') | list }}",
    "unknown test by name": "{{ [1] | select('nothing') | list }}",
    "no message": "{{ messages[7].content.x.y }}",
    "division": "{{ 1 / 0 }}",
    "control characters in an error": "{{ raise_exceptions['\\x1b]52;c;x\\x07'].x }}",
}

LOADED = {
    "power while loading": "{{ 'a' * 10 ** 9 if false }}{% include 'x' %}",
    "include": "{% include 'other' %}",
    "import": "{% import 'other' as x %}",
    "from": "{% from 'other' import x %}",
    "extends": "{% extends 'other' %}",
    "block": "{% block x %}{{ self.x() }}{% endblock %}",
    "autoescape": "{% autoescape true %}{{ messages }}{% endautoescape %}",
    "unknown filter": "{{ 'x' | urlize }}",
    "pprint": "{{ messages | pprint }}",
    "random": "{{ messages | random }}",
    "unknown tag": "{% unknown %}",
    "no end": "{% for a in messages %}",
    "no end of a comment": "{#" * 9999,
    "no end of a text": "{{ '" + "\\a" * 9999,
    "nested parentheses": "{{ " + "(" * 9999 + "1" + ")" * 9999 + " }}",
    "nested lists": "{{ " + "[" * 9999 + "]" * 9999 + " }}",
    "nested not": "{{ " + "not " * 9999 + "1 }}",
    "nested minus": "{{ " + "-" * 9999 + "1 }}",
    "nested if": "{% if a %}" * 999 + "{% endif %}" * 999,
    "nested for": "{% for a in b %}" * 99 + "{% endfor %}" * 99,
    "long sum": "{{ " + "1 + " * 9999 + "1 }}",
    "long chain of filters": "{{ 1 " + "| string " * 9999 + "}}",
    "long chain of attributes": "{{ a" + ".a" * 9999 + " }}",
    "long chain of elif": "{% if a %}" + "{% elif a %}" * 4999 + "{% endif %}",
    "long conditional": "{{ " + "1 if a else " * 4999 + "1 }}",
    "long comparison": "{{ " + "a < " * 9999 + "a }}",
    "large template": "x" * 10**6,
    "many parts": "{{ a }}" * 18_000,
    "many names": "{% set a = b %}" * 9000,
    "large list": "{{ [" + "1," * 60_000 + "1] }}",
    "large number": "{{ " + "9" * 9999 + " }}",
    "large number in hexadecimal": "{{ 0x" + "f" * 99_999 + " }}",
    "keys that collide in a template": "{% for i in range(9999) %}{% set x = {"
    + "".join(f"{i * (2**61 - 1)}:0," for i in range(5000))
    + "} %}{% endfor %}",
    "slices in two dimensions": "{{ messages[1:2, 3] }}",
    "null byte in a name": "{{ a\0b }}",
    "assignment to loop": "{% for loop in messages %}{{ loop }}{% endfor %}",
}

HARMLESS_ONES = {
    "power of a text of digits": "{{ ('9' * 9999) | int }}",
    "chain of lazy lists": _grow("[1]", "ns.x | map('string')", "9999") + "{{ ns.x | list }}",
    "folded while loading": "{% if false %}{{ 'a' * 10 ** 9 }}{{ 'a' | center(10 ** 9) }}{{ 'a' ~ 'b' }}{% endif %}",
    "empty loop": "{% for i in range(10 ** 5) %}{% endfor %}",
    "unused macro without end": "{% macro f() %}{{ f() }}{% endmacro %}",
    "spaces": "{{ 1 }}" + " " * 99_999 + "{%- set a = 1 %}",
    "digits": "{{ 1_1_1_1 }}" + "1" * 9999,
    "braces": "{ " * 9999 + "% " * 9999,
    "percent signs": "%( " * 9999,
    "lambda": "{% set f = messages[0].get %}",
    "colons in %": "{{ (':' * 99999) % () }}",
    "many small loops": "{% for i in range(99) %}{% for j in range(99) %}{% set x = i * j %}{% endfor %}{% endfor %}",
}

TEMPLATES = {
    **{name: (text, RENDER) for name, text in RENDERED.items()},
    **{name: (text, LOAD) for name, text in LOADED.items()},
    **{name: (text, HARMLESS) for name, text in HARMLESS_ONES.items()},
}
