"""Plan: assess models on a machine for a question, and rank them by use case."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from shoestring.catalogue.age import outdated
from shoestring.catalogue.load import load_catalogue
from shoestring.catalogue.schema import Catalogue, Row
from shoestring.errors import RequestError
from shoestring.kv_types import KV_TYPES, KVType
from shoestring.planning.advice.verdict import Verdict, general_score, rank
from shoestring.planning.assess import Assessment, Question, assess
from shoestring.planning.candidates.candidates import Candidate, from_row
from shoestring.planning.candidates.formats import type_name
from shoestring.planning.candidates.resolve import resolve
from shoestring.planning.cost import Money, check_hosts
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.hardware.parse import parse_hardware
from shoestring.planning.licence import User
from shoestring.planning.measured import Measured, read_measured, recall
from shoestring.planning.memory import context_limit
from shoestring.planning.speed import scale_of
from shoestring.planning.streamed.split import Recorded, read_recorded
from shoestring.sizes import bytes_of, human, tokens_of
from shoestring.spelling import option


@dataclass(frozen=True)
class Plan:
    machine: Hardware
    question: Question
    #: best first for the question's use, else in catalogue order
    assessments: tuple[Assessment, ...]
    #: for the question's use, or for all uses
    verdicts: tuple[Verdict, ...]
    catalogue: Catalogue

    def __repr__(self) -> str:
        best = leading(self)
        winner = "nothing runs" if best is None else f"best {best.candidate.name}"
        return f"Plan({self.machine.name}: {len(self.assessments)} models, {winner})"

    @property
    def old_rows(self) -> tuple[str, ...]:
        """Rows that the verdicts cite and that have a newer source in the catalogue."""
        cited = {id for v in self.verdicts for r in v.ranking for s in r.sentences for id in s.rows}
        rows = [(id, find_row(self.catalogue, id)) for id in sorted(cited)]
        return tuple(id for id, row in rows if row is not None and outdated(row, self.catalogue))


def find_row(catalogue: Catalogue, id: str) -> Row | None:
    """A row of any table by its id; None if there is none."""
    for table in dataclasses.fields(Catalogue):
        row = getattr(catalogue, table.name).get(id)
        if isinstance(row, Row):
            return row
    return None


def plan(
    *models: str,
    use: str | None = None,
    hardware: str | None = None,
    context: int | str | None = None,
    users: int = 1,
    quant: str | None = None,
    kv_type: KVType = "f16",
    min_speed: float = 3.0,
    money: Money | None = None,
    company_mau: int | None = None,
    eu: bool = False,
    end_user: bool = False,
    derived: bool = False,
    prices: str | Path | None = None,
    catalogue: str | Path | None = None,
    measured: str | Path | None = None,
    memory: int | str | None = None,
    routes: str | Path | None = None,
) -> Plan:
    """Recommend one of `models`, with placement, speed and price. Default: both flagships and their siblings.

    `hardware`: see planning/hardware/parse.py; None: this machine, with the results of `shoestring bench` on it.
    `min_speed` is in tokens/s. `company_mau`, `eu`, `end_user`, `derived`: see planning/licence.py. `measured`: an
    output of `shoestring bench --json` to use instead. `memory`: of the machine's RAM, how much an engine may use
    (bytes, or "12GiB"). `routes`: a file of `--record-routes`, for the hit rate of a model whose experts are read from
    disk.
    Raises RequestError or CheckpointError with one sentence.
    """
    question, candidates, rows = ask(
        *models, use=use, context=context, users=users, quant=quant, kv_type=kv_type, min_speed=min_speed, money=money,
        company_mau=company_mau, eu=eu, end_user=end_user, derived=derived, prices=prices, catalogue=catalogue,
    )  # fmt: skip
    route = None if routes is None else _route(Path(routes), candidates)
    question = dataclasses.replace(question, measured=_known(measured, hardware, rows), route=route)
    machine = parse_hardware(hardware, rows)
    if memory is not None:
        machine = _within(machine, bytes_of(memory, option("memory")))
    notes = [f"measured here: {m}" for m in question.measured]
    return make_plan(candidates, dataclasses.replace(machine, notes=(*machine.notes, *notes)), question, rows)


def ask(
    *models: str,
    use: str | None = None,
    context: int | str | None = None,
    users: int = 1,
    quant: str | None = None,
    kv_type: KVType = "f16",
    min_speed: float = 3.0,
    money: Money | None = None,
    company_mau: int | None = None,
    eu: bool = False,
    end_user: bool = False,
    derived: bool = False,
    prices: str | Path | None = None,
    catalogue: str | Path | None = None,
) -> tuple[Question, tuple[Candidate, ...], Catalogue]:
    """The question in the keywords of `plan`, its models, and the catalogue to answer it with. Raises as `plan`."""
    for name in models:
        if not isinstance(name, str):
            raise TypeError(f"a model is {name!r}: give a name or a path as text")
    if kv_type not in KV_TYPES:
        raise RequestError(f"{option('kv_type')} {kv_type} is unknown: choose {', '.join(KV_TYPES)}")
    rows = load_catalogue(Path(catalogue) if catalogue else None, Path(prices) if prices else None)
    money = money or Money()
    check_hosts(money, rows)
    use = use_name(use, rows)
    candidates = tuple(resolve(name, rows) for name in models)
    candidates = candidates or tuple(from_row(row, rows) for row in rows.models.values())
    question = Question(
        use=use,
        context=usual_context(use, candidates, rows) if context is None else tokens_of(context, option("context")),
        users=users,
        type=type_name(quant) if quant else None,
        kv_type=kv_type,
        min_speed=min_speed,
        money=money,
        user=User(company_mau, eu, end_user, derived),
    )
    check_context(candidates, question, bool(models))
    return question, candidates, rows


def _within(machine: Hardware, budget: int) -> Hardware:
    """The machine with a budget of its RAM. Raises RequestError for a machine without any."""
    if not machine.ram_bytes:
        raise RequestError(f"{option('memory')} is a part of RAM, and {machine.name} has none of its own")
    if not budget:
        raise RequestError(f"{option('memory')} is 0: give the memory that an engine may use")
    note = f"an engine may use {human(budget)} of RAM ({option('memory')})"
    return dataclasses.replace(machine, budget_bytes=budget, notes=(*machine.notes, note))


def _route(path: Path, candidates: Sequence[Candidate]) -> Recorded:
    """A recorded route. Raises RequestError if it is of none of the models."""
    route = read_recorded(path)
    if not any(route.applies(candidate.config) for candidate in candidates):
        raise RequestError(
            f"{option('routes')} {path} has routes of another model ({route.curve.source}): record one of "
            f"{' or '.join(candidate.name for candidate in candidates[:3])}"
        )
    return route


def _known(measured: str | Path | None, hardware: str | None, catalogue: Catalogue) -> tuple[Measured, ...]:
    """The measurements to use: of the given file, else of this machine."""
    if measured:
        return (read_measured(Path(measured), catalogue),)
    return recall(catalogue) if hardware is None else ()


def make_plan(candidates: Sequence[Candidate], machine: Hardware, question: Question, catalogue: Catalogue) -> Plan:
    """Assess and rank candidates."""
    scale = scale_of(question.measured, machine, catalogue)
    assessments = tuple(assess(candidate, machine, question, catalogue, scale) for candidate in candidates)
    disks = [a.speed.streamed.disk for a in assessments if a.speed.streamed is not None]
    if any(disk.kind == "assumed" for disk in disks):
        note = f"the disk is taken to read {disks[0].bytes_per_second / 1e9:.2g} GB/s at random ({disks[0].basis})"
        machine = dataclasses.replace(machine, notes=(*machine.notes, note))
    uses = [catalogue.uses[question.use]] if question.use else list(catalogue.uses.values())
    verdicts = tuple(rank(use, assessments, catalogue) for use in uses)
    if question.use:
        assessments = tuple(ranked.assessment for ranked in verdicts[0].ranking)
    return Plan(machine, question, assessments, verdicts, catalogue)


def leading(p: Plan) -> Assessment | None:
    """The winner of the use; without a use, of most uses on this machine. None if nothing runs.

    Of two that both suit the machine, without a use: the one that is ahead on the general benchmarks.
    """
    if len(p.assessments) == 1:
        return p.assessments[0]
    if len(p.assessments) == 2 and p.question.use is None and all(a.suits for a in p.assessments):
        one, other = p.assessments
        pair = general_score(one.candidate.id, other.candidate.id, p.catalogue)
        if pair is not None and pair.lead:
            return one if pair.lead > 0 else other
    wins: dict[str, int] = {}
    for verdict in p.verdicts:
        best = verdict.best
        if best is not None and (verdict.use.measure != "price" or len(p.verdicts) == 1):
            wins[best.assessment.candidate.id] = wins.get(best.assessment.candidate.id, 0) + 1
    if not wins:
        return None
    winner = max(wins, key=lambda id: wins[id])
    return next(a for a in p.assessments if a.candidate.id == winner)


def use_name(name: str | None, catalogue: Catalogue) -> str | None:
    """Check a use case's name. Raises RequestError that suggests similar names."""
    if name is None or name in catalogue.uses:
        return name
    near = get_close_matches(name, list(catalogue.uses), n=2, cutoff=0.6)
    hint = f"did you mean {', '.join(near)}?" if near else f"choose {', '.join(catalogue.uses)}"
    raise RequestError(f"{option('use')} {name} is unknown: {hint}")


def usual_context(use: str | None, candidates: Sequence[Candidate], catalogue: Catalogue) -> int:
    """Tokens per sequence of a use case that at least one of the models reads, unless the user says otherwise."""
    usual = (catalogue.uses[use].context if use is not None else 0) or 8192
    return min(usual, max(map(context_limit, candidates)))


def check_context(candidates: Sequence[Candidate], question: Question, named: bool) -> None:
    """Raise RequestError if no model reaches the context, or if the only named model does not."""
    limits = {c.name: context_limit(c) for c in candidates}
    if question.context > max(limits.values()) or (
        named and len(candidates) == 1 and question.context > min(limits.values())
    ):
        longest = max(limits, key=lambda name: limits[name])
        raise RequestError(
            f"{option('context')} {question.context} is too long: {longest} reads at most {limits[longest]} tokens"
        )
