"""Compare two models for a use case: tables with the rows behind them, and when to choose which model."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shoestring.catalogue.load import is_stale
from shoestring.catalogue.schema import Catalogue
from shoestring.checkpoint.config.types import Llama4Config, Qwen3_5Config
from shoestring.errors import RequestError
from shoestring.planning.assess import Assessment
from shoestring.planning.candidates.candidates import from_row
from shoestring.planning.claims import Checked, check_claims
from shoestring.planning.cost import Cost
from shoestring.planning.licence import Terms
from shoestring.planning.memory import context_limit
from shoestring.planning.plan import Plan, leading, make_plan
from shoestring.planning.verdict import Sentence, covered, figure


@dataclass(frozen=True)
class Line:
    """One line of a table: label, a cell per model, their difference or ratio, and the rows behind it."""

    label: str
    left: str
    right: str
    gap: str = ""
    kind: str = ""
    rows: tuple[str, ...] = ()
    stale: bool = False
    #: scores for the chart; None: not published
    values: tuple[float | None, float | None] | None = None

    @property
    def note(self) -> str:
        """The kind of the figures, and whether they are old."""
        return self.kind + (", old" if self.stale else "")


@dataclass(frozen=True)
class Section:
    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Instead:
    """A third model, if neither of the two suits the machine."""

    assessment: Assessment
    sentence: Sentence


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


def compare(planned: Plan, first: str, second: str) -> Comparison:
    """Compare the two models of a plan; `first` is on the left, whatever the ranking.

    Raises RequestError if both names mean the same model.
    """
    by_id = {a.candidate.id: a for a in planned.assessments}
    if len(by_id) != 2:
        raise RequestError("compare needs two different models")
    left, right = by_id[first], by_id[second]
    catalogue = planned.catalogue
    sections = (
        _specification(left, right),
        _scores(left, right, catalogue),
        _here(left, right),
        _prices(left, right, catalogue),
        _licences(left, right),
        _tooling(left, right, catalogue),
    )
    flagships = {m.id for m in catalogue.models.values() if m.flagship}
    claims = check_claims(catalogue) if {left.candidate.id, right.candidate.id} & flagships else ()
    choose_left, choose_right = _choose(planned, left, right), _choose(planned, right, left)
    instead = _instead(planned, left, right)
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
        "KV per token, 16 bits": f"{a.need.kv_bytes_per_token:,} B",
        "fixed per sequence": f"{(a.need.state_bytes_per_sequence + a.need.chunked_kv_bytes) / 2**20:,.1f} MiB",
    }
    if row is not None:
        facts |= {
            "reads": ", ".join(row.modalities),
            "languages": f"~{row.languages}" if row.family == "llama4" else str(row.languages),
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
        lines.append(
            Line(
                benchmark.title,
                f"{a.value:g}" if a else "–",
                f"{b.value:g}" if b else "–",
                f"{a.value - b.value:+.1f}" if a and b else "",
                ", ".join(dict.fromkeys(s.kind for s in scores)),
                tuple(s.id for s in scores),
                any(is_stale(s.date) for s in scores),
                (a.value if a else None, b.value if b else None),
            )
        )
    return Section("Scores", tuple(lines))


def _gb(size: float) -> str:
    return f"{size / 1e9:,.1f} GB"


def _rate(value: float | None) -> str:
    return f"{value:,.1f} tokens/s" if value else "–"


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
        line("maximum context", (_count(a.longest_context), _count(b.longest_context))),
        line("maximum users", (_count(a.most_users), _count(b.most_users))),
        *(line(name, (_rate(x), _rate(y)), _times(x, y), label) for name, x, y in rates),
        line("first token, half a context", (_seconds(a.speed.first_token), _seconds(b.speed.first_token))),
        line("difficulty", (a.difficulty, b.difficulty)),
    ]
    return Section("On this machine", tuple(lines))


def _times(a: float | None, b: float | None) -> str:
    return f"{a / b:.2f}×" if a and b else ""


def _money(value: float | None) -> str:
    return "–" if value is None else f"${value:,.2f}" if value >= 1 else f"${value:.3f}"


def _break_even(cost: Cost) -> str:
    offer = cost.cheapest
    if offer is None:
        return "–"
    tokens = offer.break_even_tokens
    return f"{tokens / 1e6:,.0f}M tokens per month" if tokens else "never at this speed"


def _prices(left: Assessment, right: Assessment, catalogue: Catalogue) -> Section:
    both = (left, right)
    lines = [
        Line("own machine, per million tokens", _money(left.cost.usd_per_million), _money(right.cost.usd_per_million),
             _times(left.cost.usd_per_million, right.cost.usd_per_million), "computed", left.cost.rows),
    ]  # fmt: skip
    providers = dict.fromkeys(o.price.provider for a in both for o in a.cost.offers)
    for provider in sorted(providers, key=lambda name: (name == "article", name)):
        pair = [next((o for o in a.cost.offers if o.price.provider == provider), None) for a in both]
        first, second = (f"${o.price.input_usd:g} / ${o.price.output_usd:g}" if o else "–" for o in pair)
        listed = [o.price for o in pair if o is not None]
        ratio = _times(*(o.usd_per_million if o else None for o in pair))
        ids, stale = tuple(p.id for p in listed), any(is_stale(p.date) for p in listed)
        lines.append(Line(f"{provider}, in / out", first, second, ratio, listed[0].kind, ids, stale))
    rows = tuple(a.cost.cheapest.price.id for a in both if a.cost.cheapest)
    first, second = (_break_even(a.cost) for a in both)
    lines.append(Line("break-even with the cheapest", first, second, kind="computed", rows=rows))
    return Section("Prices", tuple(lines))


def _licences(left: Assessment, right: Assessment) -> Section:
    cells = [("–", "–", "–") if a.terms is None else _licence_cells(a.terms) for a in (left, right)]
    rows = tuple(a.terms.licence.id for a in (left, right) if a.terms is not None)
    labels = ("licence", "usable for you", "multimodal rights")
    lines = (Line(label, first, second, rows=rows) for label, first, second in zip(labels, *cells, strict=True))
    return Section("Licence", tuple(lines))


def _licence_cells(terms: Terms) -> tuple[str, str, str]:
    limit = terms.licence.limit_mau
    usable = "yes" if terms.usable else "ask the vendor"
    multimodal = "yes" if terms.multimodal else "not for EU-domiciled users"
    return terms.licence.name, usable + (f" (limit {limit:,} monthly users)" if limit else ""), multimodal


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


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _instead(planned: Plan, left: Assessment, right: Assessment) -> Instead | None:
    """If neither of the two suits the machine, the catalogue's model that does; else None."""
    if left.suits or right.suits:
        return None
    everyone = [from_row(row) for row in planned.catalogue.models.values()]
    best = leading(make_plan(everyone, planned.machine, planned.question, planned.catalogue))
    if best is None or not best.suits or best.candidate.row is None:
        return None
    speed = f", {best.speed.decode:,.1f} tokens/s ({best.speed.label})" if best.speed.decode else ""
    text = (
        f"Neither of the two suits this machine. {best.candidate.name} does: {_gb(best.need.total_bytes)} in "
        f"{best.need.sizes.type}{speed}."
    )
    return Instead(best, Sentence(text, (best.candidate.row.id,)))


def _choose(planned: Plan, one: Assessment, other: Assessment) -> tuple[Sentence, ...]:
    """Reasons for `one`: the uses it wins, what only it can do here, what only its licence allows."""
    sentences: list[Sentence] = []
    for verdict in planned.verdicts:
        best = verdict.best
        if best is not None and best.assessment is one:
            why = best.sentences[0]
            text, rows = f"{verdict.use.title}: {why.text}", (verdict.use.id, *why.rows)
            loser = next(r for r in verdict.ranking if r.assessment is other)
            if loser.group > best.group and (loser.measure or 0) > (best.measure or 0):
                reason = loser.sentences[1]
                text = (
                    f"{verdict.use.title}: only because of a problem with {other.candidate.name}: "
                    f"{_lower(reason.text)} By its figures it leads, "
                    f"{figure(verdict.use, other, loser.measure or 0)} to "
                    f"{figure(verdict.use, one, best.measure or 0)}{covered(verdict.use, one, planned.catalogue)}."
                )
                rows = (*rows, *reason.rows)
            sentences.append(Sentence(text, rows))
    name, rows = one.candidate.name, _ids(one, other)
    if one.placement.fit != "no" and other.placement.fit == "no":
        text = f"This machine: {name} runs, {other.candidate.name} needs {_gb(other.placement.missing)} more."
        sentences.append(Sentence(text, rows))
    if one.speed.decode and other.speed.decode and one.speed.decode > 1.1 * other.speed.decode:
        text = f"Speed here: {one.speed.decode:,.1f} tokens/s against {other.speed.decode:,.1f} ({one.speed.label})."
        sentences.append(Sentence(text, rows))
    if one.terms is not None and other.terms is not None and one.terms.usable and not other.terms.usable:
        sentences.append(
            Sentence(f"Licence: for {other.candidate.name}, {other.terms.findings[0]}.", (other.terms.licence.id,))
        )
    if one.terms is not None and other.terms is not None and one.terms.multimodal and not other.terms.multimodal:
        text = f"Images in the European Union: {other.candidate.name}'s multimodal rights are not granted there."
        sentences.append(Sentence(text, (other.terms.licence.id,)))
    if one.candidate.row is not None and other.candidate.row is not None:
        more = [m for m in one.candidate.row.modalities if m not in other.candidate.row.modalities]
        if more:
            sentences.append(Sentence(f"It reads {' and '.join(more)}, {other.candidate.name} does not.", rows))
    return tuple(sentences)
