"""All sentences on one model on one machine, which text, HTML and JSON share."""

from __future__ import annotations

from shoestring.catalogue.schema import Catalogue
from shoestring.planning.advice import findings
from shoestring.planning.advice.break_even import break_even
from shoestring.planning.advice.pictures import pictures
from shoestring.planning.advice.sentences import Finding, Sentence, sentence
from shoestring.planning.advice.verdict import standing
from shoestring.planning.assess import Assessment, Question
from shoestring.planning.licence import NOT_ADVICE
from shoestring.planning.plan import Plan

ESTIMATED = sentence(
    "speeds are estimates of a roofline model unless marked; docs/plan.md compares them with published ones",
    Finding("", "speeds", "estimates"),
)


def details(planned: Plan, a: Assessment) -> tuple[Sentence, ...]:
    """Whether it runs, how hard it is, how fast, at what cost, under which terms, with which engine."""
    sees = pictures(a) if len(planned.assessments) == 1 or planned.question.use == "multimodal" else None
    found = [standing(a), _streamed(a), _margin(a), _parameters(a), sees, _difficulty(a), _speed(a), _step(a), _cost(a),
             _hosted(a)]  # fmt: skip
    if a.cost.cheapest is not None:
        found.append(break_even(planned, a, a.cost.cheapest))
    found += [_terms(a), _engine(a)]
    return tuple(s for s in found if s is not None)


def wanted(q: Question, catalogue: Catalogue) -> str:
    """The question in words."""
    text = f"{q.context:,} tokens of context, {_users(q.users)}"
    title = catalogue.uses[q.use].title if q.use else ""
    return text + (f", for {title[:1].lower()}{title[1:]}" if title else "")


def essentials(planned: Plan, a: Assessment) -> tuple[Sentence, ...]:
    """What counts most about the only model of a plan; a licence's clauses are not quoted."""
    found = [standing(a), _streamed(a), _margin(a), _speed(a) if a.problems else None, _step(a), _cost(a), _hosted(a)]
    if a.cost.cheapest is not None:
        found.append(break_even(planned, a, a.cost.cheapest))
    if a.terms is not None and a.terms.licence.limit_mau and a.terms.usable:
        text = f"{a.terms.licence.name}: granted under conditions on who you are and what you publish"
        found.append(sentence(text, *findings.licence(a), rows=(a.terms.licence.id,)))
    return tuple(s for s in found if s is not None)


def asked(planned: Plan) -> Sentence:
    """The question, and the notes about the machine."""
    text = "; ".join((wanted(planned.question, planned.catalogue), *planned.machine.notes))
    return Sentence(text + ".", (Finding("", "question", "as asked"),))


def assumptions(planned: Plan) -> Sentence:
    """Everything that a user could have said otherwise, with the option that says it."""
    return assumed(planned.question, f"an hour of the machine: {planned.assessments[0].cost.basis}")


def assumed(q: Question, hour: str) -> Sentence:
    """What a question assumes. hour: what an hour of the machine costs, in words."""
    m = q.money
    parts = [
        f"{q.context:,} tokens of context (--context)",
        f"{_users(q.users)} (--users)",
        f"keys and values in {q.kv_type} (--kv-type)",
        f"at least {q.min_speed:g} tokens/s (--min-speed)",
        f"the machine busy {m.utilisation:.0%} of the time (--utilisation)",
        f"{m.input_share:.0%} of the tokens in prompts (--input-share)",
        f"${m.power_usd_kwh:g} per kWh (--power-usd-kwh)",
        f"purchases over {m.years:g} years (--years)",
    ]
    parts.append(hour)
    if m.provider or m.region:
        parts.append(f"hosted {f'by {m.provider}' if m.provider else f'in {(m.region or str()).upper()}'}")
    return sentence("assumed: " + "; ".join(parts), Finding("", "assumptions", "as listed"))


def _users(count: int) -> str:
    return f"{count:,} users at once" if count > 1 else "1 user"


def footer(planned: Plan) -> tuple[Sentence, ...]:
    """What holds for the whole report."""
    found = [
        sentence("scores are the vendors' claims unless marked", Finding("", "scores", "vendors' claims")),
        ESTIMATED,
        sentence(NOT_ADVICE, Finding("", "licences", "no legal advice")),
    ]
    old = planned.old_rows
    if old:
        text = f"the catalogue has a newer source for {len(old)} of the rows behind these sentences (--json lists them)"
        found.insert(0, sentence(text, Finding("", "old rows", "", str(len(old)))))
    return tuple(found)


def _streamed(a: Assessment) -> Sentence | None:
    """How our engine splits the model between memory and disk; None if all of it is in memory, or the system pages."""
    found, split, speed = findings.streamed(a), a.placement.streamed, a.speed.streamed
    if split is None or speed is None:
        return None
    weights, context, slots, share, hits, missed, disk, least = (f.figure for f in found)
    users = "a token" if a.need.users == 1 else f"a step of {a.need.users:,} tokens"
    kind = "recorded here" if speed.recorded else "cited"
    text = (
        f"experts stream from disk: memory has {weights} of other weights, {context} of context and {slots} slots, "
        f"{share} of the experts; {hits} of the experts that a token needs are there ({speed.source}, {kind}), so "
        f"{users} reads {missed} from a disk of {disk} ({speed.disk.basis}); it runs with {least} of memory or more"
    )
    return sentence(text, *found, rows=speed.disk.rows)


def _parameters(a: Assessment) -> Sentence | None:
    """Why the parameters are more than the model's name says; None if they are not."""
    c = a.candidate
    parts = {part: sum(s.parameters for s in c.shapes if s.part == part) for part in ("vision", "mtp")}
    extra = [(name, parts[part]) for part, name in (("vision", "vision tower"), ("mtp", "multi-token prediction"))
             if parts[part]]  # fmt: skip
    if not extra:
        return None
    words = " and ".join(f"{count / 1e9:.2f}B of {name}" for name, count in extra)
    total, text_only = f"{c.total / 1e9:.1f}B", f"{c.text.total / 1e9:.1f}B"
    text = f"{total} parameters: {text_only} of text, which is what names count, {words}"
    return sentence(text, Finding(c.id, "parameters", f"{text_only} of text", total))


def _margin(a: Assessment) -> Sentence | None:
    """How exact the sizes are, if no upload of the type is known; None if they are exact."""
    found, type_ = findings.margin(a), a.need.sizes.type
    if found is None:
        return None
    text = (
        f"the catalogue has no upload of {type_}, so its size is that of the recipe: files are up to "
        f"{findings.recipe_margin(type_):.0%} larger, and {found.figure} are left here"
    )
    return sentence(text + (": check its size before you download it" if found.verdict == "tight" else ""), found)


def _difficulty(a: Assessment) -> Sentence:
    found = [findings.difficulty(a)]
    if not a.candidate.local:
        found.append(findings.download(a))
    return sentence(f"{a.difficulty}: {'; '.join(a.difficulty_reasons)}", *found)


def _speed(a: Assessment) -> Sentence | None:
    found = findings.decode(a)
    if not found:
        return None
    prompts = findings.prefill(a)
    prefill = "".join(f", prompts at {f.figure}" for f in prompts)
    return sentence(f"{found[0].figure}{prefill} ({a.speed.label}; --explain shows how)", *found, *prompts)


def _step(a: Assessment) -> Sentence | None:
    found = findings.step(a)
    if a.step is None:
        return None
    s = a.step
    text = (
        f"a step that reads {s.prompt:,} new tokens and writes {s.answer:,} takes {found[0].figure}: "
        f"{s.reading:,.1f} s until the first token, {s.writing:,.1f} s to write"
    )
    return sentence(text, *found)


def _cost(a: Assessment) -> Sentence | None:
    found = findings.own_cost(a)
    if not found:
        return None
    text = f"this machine: {found[0].figure} per million tokens ({a.cost.basis})"
    return sentence(text, *found, rows=a.cost.rows)


def _hosted(a: Assessment) -> Sentence | None:
    offer = a.cost.cheapest
    if a.candidate.row is None:
        return None
    if offer is None:
        return sentence(f"{a.candidate.name} {a.cost.no_offer}", Finding(a.candidate.id, "hosts", "none"))
    found = findings.hosted(a, offer)
    dearest = next(o for o in reversed(a.cost.offers) if not o.mark)
    others = f", and at most {findings.dollars(dearest.usd_per_million)} ({dearest.price.provider})"
    text = f"hosted from {found.figure} per million tokens ({offer.price.provider}){'' if dearest is offer else others}"
    return sentence(text, found, findings.hosted(a, dearest), rows=(offer.price.id, dearest.price.id))


def _terms(a: Assessment) -> Sentence | None:
    if a.terms is None:
        return None
    notes = "; ".join(f for f in a.terms.findings if not f.startswith("granted"))
    return sentence(f"{a.terms.licence.name}: {notes}", *findings.licence(a), rows=a.terms.rows)


def _engine(a: Assessment) -> Sentence | None:
    if not a.command.lines:
        return None
    engine = Finding(a.candidate.id, "engine", a.command.engine)
    return sentence(f"next, with {a.command.engine}: {a.command.reason}", engine)
