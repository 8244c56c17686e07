"""Assess one model on one machine: type, memory, speed, cost, terms, difficulty and command."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from shoestring.catalogue.schema import Catalogue
from shoestring.errors import RequestError
from shoestring.kv_types import KVType
from shoestring.planning.candidates.candidates import Candidate
from shoestring.planning.candidates.formats import bits
from shoestring.planning.commands import Command, command
from shoestring.planning.cost import Cost, Money, cost
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.licence import Terms, User, judge
from shoestring.planning.measured import Measured
from shoestring.planning.memory import AS_STORED, Need, Placement, can_split, choose, context_limit
from shoestring.planning.speed import Scale, Speed, estimate
from shoestring.planning.streamed.placing import place_streamed
from shoestring.planning.streamed.speed import tokens_per_second
from shoestring.planning.streamed.split import Recorded
from shoestring.spelling import option
from shoestring.streaming.predict import SLOW_TOKENS_PER_SECOND

Difficulty = Literal["easy", "moderate", "advanced"]

#: scores are published for 16 and 8 bits, and remain roughly valid down to here
FEWEST_BITS = 3.0
#: a download that needs planning
LARGE_DOWNLOAD = 100e9


@dataclass(frozen=True)
class Question:
    """The user's requirements."""

    use: str | None = None
    context: int = 8192
    users: int = 1
    type: str | None = None
    kv_type: KVType = "f16"
    min_speed: float = 0.0
    money: Money = field(default_factory=Money)
    user: User = field(default_factory=User)
    measured: tuple[Measured, ...] = ()
    #: the hit rates of a recorded route; None: published ones
    route: Recorded | None = None

    def __post_init__(self) -> None:
        checks = (
            ("context", self.context, 1),
            ("users", self.users, 1),
            ("min_speed", self.min_speed, 0),
            ("company_mau", self.user.company_mau or 0, 0),
        )
        for name, value, least in checks:
            if value < least:
                raise RequestError(f"{option(name)} is {value:g}: give a number of at least {least}")


@dataclass(frozen=True)
class Step:
    """Seconds that an agent waits for one step: `prompt` new tokens until the first token, then the answer."""

    prompt: int
    answer: int
    reading: float
    writing: float

    @property
    def rate(self) -> float:
        """Tokens of the answer per second of the whole step."""
        return self.answer / (self.reading + self.writing)


@dataclass(frozen=True)
class Assessment:
    candidate: Candidate
    need: Need
    placement: Placement
    speed: Speed
    cost: Cost
    terms: Terms | None
    command: Command
    difficulty: Difficulty
    difficulty_reasons: tuple[str, str, str]
    #: maximum tokens per sequence on this machine, for all users
    longest_context: int
    most_users: int
    #: requirements that it misses, one sentence each; () if it meets all
    problems: tuple[str, ...]
    #: a step of the use: reading new tokens and writing an answer; None: only writing counts, or the speed is unknown
    step: Step | None = None
    #: if it does not run with all users: with how many at once it would, and in which type; None: with none
    fewer_users: tuple[int, str] | None = None

    @property
    def runs(self) -> bool:
        return self.placement.fit != "no"

    @property
    def suits(self) -> bool:
        return not self.problems


def assess(
    candidate: Candidate, machine: Hardware, question: Question, catalogue: Catalogue, scale: Scale | None = None
) -> Assessment:
    """Assess a model on a machine for a question.

    What does not fit into memory in three bits or more may run from disk, in more bits. Our engine's own disk tier
    comes before one that leaves it to the system to page, and before few bits where it meets more of the question.
    """
    context = min(question.context, context_limit(candidate))
    n, placed = choose(candidate, machine, context, question.users, question.type, question.kv_type)
    few = n.sizes.type != AS_STORED and bits(n.sizes.type) < FEWEST_BITS
    if placed.fit not in ("no", "disk") and not few:
        return _assessed(n, placed, candidate, machine, question, catalogue, scale)
    split = place_streamed(candidate, machine, context, question.users, question.type, question.kv_type)
    if split is None:
        return _assessed(n, placed, candidate, machine, question, catalogue, scale)
    if placed.fit == "no" and split[1].disk_missing:
        placed = replace(placed, disk_missing=split[1].disk_missing)
    found = _assessed(n, placed, candidate, machine, question, catalogue, scale)
    streamed = _assessed(*split, candidate, machine, question, catalogue, scale)
    if split[1].fit == "no":
        return streamed if placed.fit == "no" and split[1].missing < placed.missing else found
    if placed.fit == "no":
        return streamed
    better = placed.fit == "disk" and machine.gpu is None
    return streamed if better or len(streamed.problems) < len(found.problems) else found


def _assessed(
    n: Need, placed: Placement, candidate: Candidate, machine: Hardware, question: Question, catalogue: Catalogue,
    scale: Scale | None,
) -> Assessment:  # fmt: skip
    """Assess a placed model."""
    limit, context = context_limit(candidate), n.context
    speed = estimate(n, placed, machine, question.measured, scale, route=question.route)
    priced = cost(candidate.row.id if candidate.row else None, speed, machine, question.money, catalogue)
    terms = None
    if candidate.row is not None:
        terms = judge(catalogue.licences[candidate.row.licence], candidate.row.modalities, question.user, catalogue)
    free = placed.free + n.sequences_bytes
    runs = placed.fit not in ("no", "disk")
    level, reasons = _difficulty(n, placed, machine, terms)
    asked = question.type is not None and (placed.fit == "no" or placed.streamed is not None)
    fits_as = _type_that_fits(candidate, machine, context, question) if asked else None
    fewer = _fewer_users(candidate, machine, context, question) if placed.fit == "no" and question.users > 1 else None
    step = step_of(speed, question, catalogue)
    return Assessment(
        candidate=candidate,
        need=n,
        placement=placed,
        speed=speed,
        cost=priced,
        terms=terms,
        command=command(n, placed, machine, catalogue, question.use),
        difficulty=level,
        difficulty_reasons=reasons,
        longest_context=n.longest_context(free) if runs else (context if placed.fit == "disk" else 0),
        most_users=n.most_users(free) if runs else (question.users if placed.fit == "disk" else 0),
        problems=tuple(_problems(n, placed, speed, priced, terms, question, limit, step, fewer, fits_as)),
        step=step,
        fewer_users=fewer,
    )


def _type_that_fits(candidate: Candidate, machine: Hardware, context: int, question: Question) -> str | None:
    """The type that plan would choose by itself, if the one that was asked for does not fit; None if none fits."""
    n, placed = choose(candidate, machine, context, question.users, None, question.kv_type)
    return n.sizes.type if placed.fit not in ("no", "disk") else None


def _fewer_users(candidate: Candidate, machine: Hardware, context: int, question: Question) -> tuple[int, str] | None:
    """With how many users at once a model would run that does not run with all of them, and in which type."""
    n, placed = choose(candidate, machine, context, 1, question.type, question.kv_type)
    if placed.fit in ("no", "disk"):
        return None
    return n.most_users(placed.free + n.sequences_bytes), n.sizes.type


def step_of(speed: Speed, question: Question, catalogue: Catalogue) -> Step | None:
    """The step of the question's use; None: only writing counts, or the speed is unknown."""
    use = catalogue.uses[question.use] if question.use is not None else None
    if use is None or not use.prompt or not speed.decode or not speed.prefill:
        return None
    return Step(use.prompt, use.answer, use.prompt / speed.prefill, use.answer / speed.decode)


def _problems(
    n: Need, placed: Placement, speed: Speed, priced: Cost, terms: Terms | None, question: Question, limit: int,
    step: Step | None, fewer: tuple[int, str] | None, fits_as: str | None,
) -> list[str]:  # fmt: skip
    problems = []
    if question.context > limit:
        problems.append(f"it reads at most {limit:,} tokens, not {question.context:,}")
    if placed.fit == "no":
        needed, short = f"{n.total_bytes / 1e9:,.1f} GB", f"{placed.missing / 1e9:,.1f} GB"
        where = "" if can_split(n.sizes.type) else " of GPU memory"
        problems.append(f"it needs {needed}{where} in {n.sizes.type}, {short} too much")
        if placed.disk_missing:
            problems[-1] += f"; its experts could be read from disk, which lacks {placed.disk_missing / 1e9:,.1f} GB"
        elif placed.least:
            least = f"{placed.least / 1e9:,.1f} GB"
            problems[-1] = f"it needs {least} with its experts on disk in {n.sizes.type}, {short} too much"
        if fewer is not None:
            problems[-1] += f" ({fewer[0]:,} user{'s' if fewer[0] > 1 else ''} at once would fit, in {fewer[1]})"
        if fits_as is not None:
            problems[-1] += f" ({fits_as} would fit)"
    if placed.fit == "disk" and placed.streamed is None:
        problems.append("its experts would be read from disk for every token")
    if placed.fit != "no" and n.sizes.type != AS_STORED and bits(n.sizes.type) < FEWEST_BITS:
        few = f"{bits(n.sizes.type):.1f} bits per weight"
        fits = f"{n.sizes.type} has {few}" if question.type else f"only {n.sizes.type} fits ({few})"
        problems.append(f"{fits}, and no scores are published for it")
    if question.min_speed and placed.fit != "no":
        if speed.decode is None:
            problems.append(f"its speed is unknown, and {question.min_speed:g} tokens/s are required")
        elif speed.decode < question.min_speed:
            problems.append(f"{tokens_per_second(speed.decode)} is below the required {question.min_speed:g}")
            if placed.streamed is not None and fits_as is not None:
                problems[-1] += f" ({fits_as} would fit into memory)"
        elif step is not None and step.rate < question.min_speed:
            problems.append(
                f"reading {step.prompt:,} new tokens takes {step.reading:,.0f} s, so that a step yields "
                f"{step.rate:.1f} tokens/s, which is below the required {question.min_speed:g}"
            )
    if speed.decode and question.min_speed <= speed.decode < SLOW_TOKENS_PER_SECOND:
        problems.append(f"at {tokens_per_second(speed.decode)} a sentence takes minutes")
    budget = question.money.budget_usd_month
    if budget is not None and priced.usd_per_month > budget:
        problems.append(f"the machine costs ${priced.usd_per_month:,.0f} per month, and the budget is ${budget:,.0f}")
    if terms is not None and not terms.usable:
        problems.append(terms.reason)
    return problems


def _difficulty(
    n: Need, placed: Placement, machine: Hardware, terms: Terms | None
) -> tuple[Difficulty, tuple[str, str, str]]:
    """Difficulty from points for devices, placement and download, with a reason for each."""
    points = 0
    if machine.gpus > 8:
        points, devices = points + 2, f"{machine.gpus} GPUs need more than one server"
    elif machine.gpus > 1 and placed.gpu_layers:
        points, devices = points + 1, f"{machine.gpus} GPUs work together"
    else:
        devices = "one device does the work" if placed.fit != "gpu+ram" else "GPU and processor share the work"
    where = {
        "gpu": (0, "all of it fits in GPU memory"),
        "ram": (0, "all of it fits in RAM"),
        "gpu+ram": (1, "it is split between GPU and RAM"),
        "disk": (3, "part of it stays on disk"),
        "no": (4, "it does not fit"),
    }[placed.fit]
    if placed.streamed is not None:
        where = (1, "it reads its experts from disk")
    points += where[0]
    if n.candidate.local:
        papers = "it is on this machine, so nothing is downloaded"
    else:
        points += n.download > LARGE_DOWNLOAD
        papers = f"{n.download / 1e9:,.1f} GB to download"
        if n.upload is not None:
            papers += f"{' with its vision tower' * bool(n.file.of('vision'))} (size of {n.upload.date})"
        if terms is None:
            papers += ", under terms that the catalogue does not have"
        elif terms.licence.limit_mau:
            points, papers = points + 1, f"{papers}, after accepting the {terms.licence.name}"
        else:
            papers += ", no agreement needed"
    level: Difficulty = "easy" if points <= 1 else "moderate" if points <= 3 else "advanced"
    return level, (devices, where[1], papers)
