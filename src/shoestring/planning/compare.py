"""Compare two models for a use case: tables with the rows behind them, and when to choose which model."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shoestring.catalogue.age import outdated
from shoestring.catalogue.schema import Catalogue, Score
from shoestring.checkpoint.config.types import Llama4Config, Qwen3_5Config
from shoestring.errors import RequestError
from shoestring.planning.advice import findings
from shoestring.planning.advice.break_even import Turn, turns
from shoestring.planning.advice.choose import Instead, choose, instead_of
from shoestring.planning.advice.findings import dollars
from shoestring.planning.advice.sentences import Sentence
from shoestring.planning.advice.tokens import language_lines
from shoestring.planning.article.check import Checked, check_claims
from shoestring.planning.assess import Assessment
from shoestring.planning.licence import Terms
from shoestring.planning.memory import context_limit
from shoestring.planning.plan import Plan
from shoestring.planning.streamed.speed import tokens_per_second

#: behind a figure that does not compare; the line's reasons say why
MARK = "†"


@dataclass(frozen=True)
class Line:
    """One line of a table: label, a cell per model, their difference or ratio, and the rows behind it."""

    label: str
    left: str
    right: str
    gap: str = ""
    kind: str = ""
    rows: tuple[str, ...] = ()
    old: bool = False
    #: why the cells marked with MARK do not compare with others, one reason a model
    reasons: tuple[str, ...] = ()
    #: scores for the chart; None: not published
    values: tuple[float | None, float | None] | None = None

    @property
    def note(self) -> str:
        """The kind of the figures, whether a newer source is known, and why they do not compare."""
        return "; ".join((self.kind + (", old" if self.old else ""), *self.reasons)).removeprefix("; ")


@dataclass(frozen=True)
class Section:
    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Comparison:
    plan: Plan
    left: Assessment
    right: Assessment
    sections: tuple[Section, ...]
    #: when to choose the left model, and when the right one
    choose_left: tuple[Sentence, ...]
    choose_right: tuple[Sentence, ...]
    claims: tuple[Checked, ...]
    instead: Instead | None

    def __repr__(self) -> str:
        return f"Comparison({self.left.candidate.name} and {self.right.candidate.name} on {self.plan.machine.name})"


def compare(planned: Plan, first: str, second: str) -> Comparison:
    """Compare the two models of a plan; `first` is on the left, whatever the ranking.

    Raises RequestError if both are the same model.
    """
    by_id = {a.candidate.id: a for a in planned.assessments}
    if len(by_id) != 2:
        name = planned.assessments[0].candidate.name
        raise RequestError(f"compare needs two different models: both names mean {name}")
    left, right = by_id[first], by_id[second]
    catalogue = planned.catalogue
    sections = (
        _specification(left, right),
        _scores(left, right, catalogue),
        _here(left, right),
        _prices(planned, left, right),
        _licences(left, right),
        _tooling(left, right, catalogue),
        *_languages(left, right, catalogue),
    )
    flagships = {m.id for m in catalogue.models.values() if m.flagship}
    claims = check_claims(catalogue) if {left.candidate.id, right.candidate.id} & flagships else ()
    choose_left, choose_right = choose(planned, left, right), choose(planned, right, left)
    instead = instead_of(planned, left, right)
    return Comparison(planned, left, right, sections, choose_left, choose_right, claims, instead)


def _ids(*assessments: Assessment) -> tuple[str, ...]:
    return tuple(a.candidate.row.id for a in assessments if a.candidate.row is not None)


def _specification(left: Assessment, right: Assessment) -> Section:
    a, b, rows = _specified(left), _specified(right), _ids(left, right)
    lines = {label: Line(label, a.get(label, "–"), b.get(label, "–"), rows=rows) for label in {**a, **b}}
    total = left.candidate.total / right.candidate.total
    lines["parameters"] = replace(lines["parameters"], gap=f"{total:.2f}×", kind="computed")
    return Section("Specification", tuple(lines.values()))


def _specified(a: Assessment) -> dict[str, str]:
    c, config, row = a.candidate, a.candidate.config, a.candidate.row
    layout = a.need.layout
    recurrent, chunked = len(layout.recurrent_layers), len(layout.chunk_layers)
    kinds = [f"{len(layout.global_layers)} global"]
    kinds += [f"{recurrent} delta-net"] if recurrent else []
    kinds += [f"{chunked} chunked"] if chunked else []
    experts = "dense"
    if isinstance(config, Qwen3_5Config) and config.num_experts:
        experts = f"{config.num_experts}, {config.num_experts_per_tok} + 1 active"
    elif isinstance(config, Llama4Config):
        experts = f"{config.num_local_experts}, {config.num_experts_per_tok} + 1 active"
    native, limit = config.max_position_embeddings, context_limit(c)
    facts = {
        "released": row.released if row else "–",
        "parameters": f"{c.total / 1e9:.1f}B",
        "active per token": f"{c.text.active / 1e9:.1f}B",
        "experts": experts,
        "layers": f"{len(layout.layers)}: {', '.join(kinds)}",
        "context": f"{native:,}" + (f", {limit:,} with YaRN" if limit > native else ""),
        "KV per token": f"{a.need.kv_bytes_per_token:,} B ({a.need.kv_type})",
        "fixed per sequence": f"{(a.need.state_bytes_per_sequence + a.need.chunked_kv_bytes) / 2**20:,.1f} MiB",
    }
    if row is not None:
        facts |= {
            "reads": ", ".join(row.modalities),
            "languages": str(row.languages),
            "trained in": row.training or "–",
            "licence": row.licence,
        }
    return facts


def _scores(left: Assessment, right: Assessment, catalogue: Catalogue) -> Section:
    lines = []
    for benchmark in catalogue.benchmarks.values():
        a, b = (catalogue.score(x.candidate.row.id, benchmark.id) if x.candidate.row else None for x in (left, right))
        scores = [s for s in (a, b) if s is not None]
        if not scores:
            continue
        reasons = tuple(f"{MARK} {s.value:g}: {s.incomparable}" for s in scores if s.incomparable)
        lines.append(
            Line(
                benchmark.title,
                _score(a),
                _score(b),
                f"{a.value - b.value:+.1f}" if a and b and not reasons else "",
                ", ".join(dict.fromkeys(s.kind for s in scores)),
                tuple(s.id for s in scores),
                any(outdated(s, catalogue) for s in scores),
                reasons,
                (a.value if a else None, b.value if b else None),
            )
        )
    return Section("Scores", tuple(lines))


def _score(score: Score | None) -> str:
    if score is None:
        return "–"
    return f"{score.value:g}" + (f" {MARK}" if score.incomparable else "")


def _gb(size: float) -> str:
    return f"{size / 1e9:,.1f} GB"


def _rate(value: float | None) -> str:
    return tokens_per_second(value) if value else "–"


def _count(value: int) -> str:
    return f"{value:,}" if value else "–"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f} s" if value >= 1 else f"{1000 * value:.0f} ms"


def _here(left: Assessment, right: Assessment) -> Section:
    place = {"gpu": "GPU", "ram": "RAM", "gpu+ram": "GPU and RAM", "disk": "experts on disk", "no": "does not fit"}

    def line(label: str, cells: tuple[str, str], gap: str = "", kind: str = "computed") -> Line:
        return Line(label, *cells, gap, kind, _ids(left, right))

    a, b = left, right
    ratio = a.need.total_bytes / b.need.total_bytes
    label = "measured here" if "measured here" in (a.speed.label, b.speed.label) else "estimated"
    rates = (("decode", a.speed.decode, b.speed.decode), ("prefill", a.speed.prefill, b.speed.prefill))
    lines = [
        line("file type", (a.need.sizes.type, b.need.sizes.type)),
        line("memory needed", (_gb(a.need.total_bytes), _gb(b.need.total_bytes)), f"{ratio:.2f}×"),
        line("placed in", (place[a.placement.fit], place[b.placement.fit])),
        *(
            line(label, (first, second))
            for label, first, second in zip(STREAMED, _streamed(a), _streamed(b), strict=True)
            if (first, second) != ("–", "–")
        ),
        line("maximum context", (_count(a.longest_context), _count(b.longest_context))),
        line("maximum users", (_count(a.most_users), _count(b.most_users))),
        *(line(name, (_rate(x), _rate(y)), _times(x, y), label) for name, x, y in rates),
        line("first token, half a context", (_seconds(a.speed.first_token), _seconds(b.speed.first_token))),
        line("difficulty", (a.difficulty, b.difficulty)),
    ]
    return Section("On this machine", tuple(lines))


#: labels of what `findings.streamed` states
STREAMED = ("other weights in memory", "context in memory", "slots of experts", "experts in memory", "hit rate",
            "read a step", "disk", "least memory")  # fmt: skip


def _streamed(a: Assessment) -> tuple[str, ...]:
    """How our engine splits a model between memory and disk; dashes for others."""
    found = findings.streamed(a)
    cells = tuple(f"{f.figure}, {f.verdict}" if f.subject == "hit rate" else f.figure for f in found)
    return cells or ("–",) * len(STREAMED)


def _times(a: float | None, b: float | None) -> str:
    return f"{a / b:.2f}×" if a and b else ""


def _prices(planned: Plan, left: Assessment, right: Assessment) -> Section:
    both, catalogue = (left, right), planned.catalogue

    def cells(values: tuple[float | None, float | None]) -> tuple[str, str]:
        first, second = ("–" if value is None else dollars(value) for value in values)
        return first, second

    own = (left.cost.usd_per_million, right.cost.usd_per_million)
    lines = [Line("this machine, per million tokens", *cells(own), _times(*own), "computed", left.cost.rows)]
    outputs = tuple(a.cost.cheapest.price if a.cost.cheapest else None for a in both)
    out = (outputs[0].output_usd if outputs[0] else None, outputs[1].output_usd if outputs[1] else None)
    rows = tuple(p.id for p in outputs if p)
    lines.append(Line("output, at the cheapest", *cells(out), _times(*out), "vendor-claimed", rows))
    providers = dict.fromkeys(o.price.provider for a in both for o in a.cost.offers)
    for provider in sorted(providers, key=lambda name: (name == "article", name)):
        pair = [next((o for o in a.cost.offers if o.price.provider == provider), None) for a in both]
        first, second = (f"${o.price.input_usd:g} / ${o.price.output_usd:g}" if o else "–" for o in pair)
        listed = [o.price for o in pair if o is not None]
        ratio = _times(*(o.usd_per_million if o else None for o in pair))
        marks = tuple(dict.fromkeys(o.mark for o in pair if o is not None and o.mark))
        ids, old = tuple(p.id for p in listed), any(outdated(p, catalogue) for p in listed)
        label = f"{provider} ({', '.join(marks)}), in / out" if marks else f"{provider}, in / out"
        lines.append(Line(label, first, second, ratio, listed[0].kind, ids, old))
    for turn_left, turn_right in turns(planned, left, right):
        provider = (turn_left or turn_right).provider  # type: ignore[union-attr]
        ids = tuple(t.row for t in (turn_left, turn_right) if t is not None)
        lines.append(Line(f"break-even with {provider}", _turn(turn_left), _turn(turn_right), "", "computed", ids))
    for rental, total in left.cost.rents:
        cell = f"{dollars(total)} per hour"
        lines.append(Line(f"rent, {rental.provider}", cell, cell, "", rental.kind, (rental.id,)))
    return Section("Prices", tuple(lines))


def _turn(turn: Turn | None) -> str:
    return turn.short if turn is not None else "–"


def _languages(left: Assessment, right: Assessment, catalogue: Catalogue) -> tuple[Section, ...]:
    """Tokens and cost of one text by language; () if both models have one vocabulary."""
    lines = []
    for t in language_lines(left, right, catalogue):
        one, other = (
            f"{n:,}, {dollars(usd)}" if usd is not None else f"{n:,}"
            for n, usd in zip(t.tokens, t.dollars, strict=True)
        )
        lines.append(Line(t.count.name, one, other, f"{t.change:+.1f} %", t.count.kind, (t.count.id,)))
    return (Section("Tokens per language", tuple(lines)),) if lines else ()


def _licences(left: Assessment, right: Assessment) -> Section:
    cells = [("–", "–", "–") if a.terms is None else _licence_cells(a.terms) for a in (left, right)]
    rows = tuple(row for a in (left, right) if a.terms is not None for row in a.terms.rows)
    labels = ("licence", "granted to you", "European Union")
    lines = (Line(label, first, second, rows=rows) for label, first, second in zip(labels, *cells, strict=True))
    return Section("Licence", tuple(lines))


def _licence_cells(terms: Terms) -> tuple[str, str, str]:
    limit, month = terms.licence.limit_mau, terms.licence.limit_month
    usable = "yes" if terms.usable else "no: ask the vendor"
    within = f" (up to {limit:,} monthly users in {month})" if limit and terms.usable else ""
    union = "no restriction" if terms.licence.eu_multimodal else "no rights, except as an end user"
    return terms.licence.name, usable + within, union


def _tooling(left: Assessment, right: Assessment, catalogue: Catalogue) -> Section:
    lines = []
    for engine in catalogue.engines.values():
        cells = []
        for a in (left, right):
            reads = [m for m in engine.modalities if a.candidate.row is None or m in a.candidate.row.modalities]
            family = a.candidate.config.family
            since = dict(zip(engine.families, engine.since, strict=False)).get(family, "")
            text = ", ".join(reads) + (f", since {since}" if since else "")
            cells.append(text if family in engine.families else "–")
        lines.append(Line(engine.name, cells[0], cells[1], ", ".join(engine.places), engine.kind, (engine.id,)))
    return Section("Engines", tuple(lines))
