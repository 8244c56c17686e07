"""The tables of a page, each with the figures that its CSV contains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from shoestring.catalogue.age import outdated
from shoestring.catalogue.schema import Catalogue
from shoestring.planning.advice.findings import dollars
from shoestring.planning.advice.machines import pairs
from shoestring.planning.advice.tokens import COPIES, language_lines, price
from shoestring.planning.assess import Assessment
from shoestring.planning.compare import Comparison, Section
from shoestring.planning.find import Machine
from shoestring.planning.plan import Plan, find_row
from shoestring.planning.report.cells import PARTS, WHERE, overview, places, size
from shoestring.planning.report.lines import Series
from shoestring.planning.report.table import Cell, Table

#: heading of the third column of a comparison's table
GAPS = {"Scores": "A − B", "On this machine": "A ÷ B", "Prices": "A ÷ B"}


def verdicts(p: Plan) -> Table:
    """The first three models of each use."""
    rows = []
    for v in p.verdicts:
        ranked = [r.assessment.candidate.name for r in v.ranking if r.group < 3][:3] if v.best is not None else []
        rows.append((Cell(v.use.title), *(Cell(name) for name in [*ranked, "–", "–", "–"][:3])))
    return Table("verdicts", "By use", ("use", "first", "second", "third"), tuple(rows))


def models(p: Plan) -> Table:
    """All models on the machine, those that run first."""
    shown = sorted(p.assessments, key=lambda a: not a.runs)
    columns = ("type", "needs", "placed in", "decode", "prefill", "context", "users", "own $/M", "hosted $/M",
               "difficulty")  # fmt: skip
    rows = []
    for a in shown:
        values: dict[str, float | int | None] = {
            "needs": a.need.total_bytes, "decode": a.speed.decode, "prefill": a.speed.prefill,
            "context": a.longest_context, "users": a.most_users, "own $/M": a.cost.usd_per_million,
            "hosted $/M": a.cost.cheapest.usd_per_million if a.cost.cheapest else None,
        }  # fmt: skip
        cells = overview(a)
        rows.append((Cell(a.candidate.name), *(Cell(cells[name], values.get(name)) for name in columns)))
    dim = tuple(i for i, a in enumerate(shown) if not a.runs)
    return Table("models", "Models", ("model", *columns), tuple(rows), dim=dim)


def machines(plans: Sequence[Plan], named: bool) -> Table:
    """Several machines, each with every named model, else with its leading one."""
    columns = ("type", "needs", "placed in", "decode", "prefill", "context", "$/hour", "own $/M")
    shown, dim = pairs(plans, named), []
    rows: list[tuple[Cell, ...]] = []
    for p in plans:
        mine = [a for q, a in shown if q is p]
        if not mine:
            dim.append(len(rows))
            rows.append((Cell(p.machine.name), Cell("none runs"), *(Cell("–") for _ in columns)))
        for a in mine:
            if not a.runs:
                dim.append(len(rows))
            values: dict[str, float | int | None] = {
                "needs": a.need.total_bytes, "decode": a.speed.decode, "prefill": a.speed.prefill,
                "context": a.longest_context, "$/hour": a.cost.usd_per_hour, "own $/M": a.cost.usd_per_million,
            }  # fmt: skip
            cells = {**overview(a), "$/hour": dollars(a.cost.usd_per_hour)}
            named_cells = (Cell(p.machine.name, rows=a.cost.rows), Cell(a.candidate.name))
            rows.append((*named_cells, *(Cell(cells[name], values.get(name)) for name in columns)))
    return Table("machines", "Machines", ("hardware", "model", *columns), tuple(rows), dim=tuple(dim))


def found_machines(name: str, machines: Sequence[Machine]) -> Table:
    """Machines that --find-hardware found, in the given order."""
    rows = tuple(
        (
            Cell(m.hardware, rows=m.rows),
            Cell(size(m.memory_bytes), m.memory_bytes),
            Cell(m.need.sizes.type),
            Cell(WHERE[m.placement.fit]),
            Cell("–") if m.speed.decode is None else Cell(f"{m.speed.decode:,.1f} t/s", m.speed.decode),
            Cell("–") if m.speed.prefill is None else Cell(f"{m.speed.prefill:,.0f} t/s", m.speed.prefill),
            Cell(f"{m.machine.power:,.0f} W", m.machine.power),
            Cell("–") if m.usd_per_hour is None else Cell(dollars(m.usd_per_hour), m.usd_per_hour),
        )
        for m in machines
    )
    head = ("hardware", "memory", "type", "placed in", "decode", "prefill", "power", "$/hour")
    return Table(name, "Machines", head, rows)


def memory(assessments: Sequence[Assessment]) -> Table:
    """Bytes by model, place and part."""
    rows = [
        (
            Cell(a.candidate.name),
            Cell(a.need.sizes.type),
            Cell(place or WHERE["no"]),
            Cell(PARTS[part]),
            Cell(size(n), n),
        )
        for a in assessments
        for place, sizes in places(a).items()
        for part, n in sorted(sizes.items(), key=lambda item: -item[1])
    ]
    return Table("memory", "Memory by place", ("model", "type", "place", "part", "size"), tuple(rows))


def points(name: str, title: str, x: str, series: Sequence[Series], shown: int, unit: str) -> Table:
    """The points of a chart: a line for each x, a column for each series. shown: digits behind the point."""
    by_x: dict[float, dict[int, float]] = {}
    for i, s in enumerate(series):
        for at, value in s.points:
            by_x.setdefault(at, {})[i] = value
    rows = [
        (Cell(_tokens(at), round(at)), *(_point(values, i, shown, unit) for i in range(len(series))))
        for at, values in sorted(by_x.items())
    ]
    return Table(name, title, (x, *(s.label for s in series)), tuple(rows))


def _point(values: Mapping[int, float], i: int, digits: int, unit: str) -> Cell:
    value = values.get(i)
    return Cell("–") if value is None else Cell(f"{unit}{value:,.{digits}f}", value)


def _tokens(count: float) -> str:
    return f"{count:,.0f}"


def section(s: Section, left: str, right: str) -> Table:
    """A table of a comparison."""
    rows = tuple(
        (Cell(line.label, rows=line.rows), Cell(line.left), Cell(line.right), Cell(line.gap), Cell(line.note))
        for line in s.lines
    )
    head = ("", left, right, GAPS.get(s.title, ""), "")
    return Table(s.title.lower().replace(" ", "-"), s.title, head, rows, notes=(4,))


def languages(c: Comparison) -> Table:
    """Tokens and dollars of one text by language."""
    both = (c.left, c.right)
    names = [a.candidate.name for a in both]
    at = [found[1] if (found := price(a)) is not None else "" for a in both]
    paid = [f"{name}: $ for {COPIES:,} copies at {where}" for name, where in zip(names, at, strict=True)]
    rows = tuple(
        (
            Cell(t.count.name),
            *(Cell(f"{n:,}", n) for n in t.tokens),
            Cell(f"{t.change:+.1f} %", round(t.change, 1)),
            *(Cell("–") if usd is None else Cell(dollars(usd), usd) for usd in t.dollars),
        )
        for t in language_lines(c.left, c.right, c.plan.catalogue)
    )
    head = ("language", *(f"{name}: tokens" for name in names), "A to B", *paid)
    return Table("tokens", "Tokens per language", head, rows)


def sources(catalogue: Catalogue, numbered: Iterable[tuple[str, int]]) -> Table:
    """The cited rows, by the number of their reference."""
    rows = []
    for id, number in numbered:
        row = find_row(catalogue, id)
        assert row is not None
        source = catalogue.sources[row.source]
        old = ", old" if outdated(row, catalogue) else ""
        cells = (Cell(id), Cell(source.title), Cell(source.url), Cell(f"{row.date}{old}"), Cell(row.kind))
        rows.append((Cell(str(number), number), *cells))
    return Table("sources", "Rows and sources", ("", "row", "source", "address", "date", "kind"), tuple(rows),
                 notes=(1, 2, 3, 4, 5))  # fmt: skip
