"""The findings on one assessment: each subject has one function here, and every sentence takes it from there."""

from __future__ import annotations

from shoestring.planning.advice.scores import Pairing
from shoestring.planning.advice.sentences import Finding
from shoestring.planning.assess import Assessment
from shoestring.planning.candidates.formats import bits, is_gguf
from shoestring.planning.cost import Offer
from shoestring.planning.streamed.speed import tokens_per_second

#: how much larger than the recipe published files are, from four bits up and below: the most in uploads.toml
RECIPE_MARGIN, SMALL_RECIPE_MARGIN = 0.06, 0.25
PLACES = {"gpu": "on the GPU", "gpu+ram": "on GPU and RAM", "ram": "in RAM", "disk": "with the disk", "no": ""}


def gigabytes(count: float) -> str:
    """A size in decimal gigabytes, as disks and model cards use them."""
    return f"{count / 1e9:,.1f} GB"


def dollars(value: float) -> str:
    """An amount, exact to a cent, or to three digits below a dollar."""
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.3f}"


def runs(a: Assessment) -> Finding:
    """Whether the model runs on this machine."""
    if a.suits:
        verdict = "suits"
    else:
        verdict = {"no": "does not run", "disk": "needs the disk"}.get(a.placement.fit, "fits, with a reservation")
    return Finding(a.candidate.id, "this machine", verdict)


def memory(a: Assessment) -> Finding:
    return Finding(a.candidate.id, "memory needed", a.need.sizes.type, gigabytes(a.need.total_bytes))


def margin(a: Assessment) -> Finding | None:
    """Whether a file that is larger than its recipe still fits; None if the file's size is known, or nothing runs."""
    n, type_ = a.need, a.need.sizes.type
    if n.upload is not None or n.candidate.row is None or not is_gguf(type_) or not a.runs:
        return None
    if a.placement.streamed is not None:  # of a larger file, fewer experts are in memory
        return None
    tight = a.placement.fit != "disk" and a.placement.free < recipe_margin(type_) * n.file.total
    return Finding(a.candidate.id, "margin", "tight" if tight else "fits", gigabytes(a.placement.free))


def recipe_margin(type_: str) -> float:
    """How much larger than the recipe the files of a type are at most."""
    return RECIPE_MARGIN if bits(type_) >= 4 else SMALL_RECIPE_MARGIN


def tightly(a: Assessment) -> str:
    """Words behind a size that a larger file may exceed; "" if it has room."""
    found = margin(a)
    if found is None or found.verdict != "tight":
        return ""
    return f" (by its recipe; {found.figure} are left for a larger file)"


def streamed(a: Assessment) -> tuple[Finding, ...]:
    """How our engine splits a model between memory and disk; () for others.

    Weights beside the experts, context, share of the experts in memory, hit rate, bytes missed a token, the disk's
    rate, and the least memory that works.
    """
    split, speed = a.placement.streamed, a.speed.streamed
    if split is None or speed is None:
        return ()
    model, hits = a.candidate.id, "recorded" if speed.recorded else "cited"
    return (
        Finding(model, "other weights in memory", a.need.sizes.type, gigabytes(split.resident_bytes)),
        Finding(model, "context in memory", "", gigabytes(split.state_bytes)),
        Finding(model, "slots of experts", "", f"{split.slots:,}"),
        Finding(model, "experts in memory", "", f"{split.share:.1%}"),
        Finding(model, "hit rate", hits, f"{speed.hit_rate:.0%}"),
        Finding(model, "read a step", "", read(speed.costs.missed_bytes)),
        Finding(model, "disk", speed.disk.basis, f"{speed.disk.bytes_per_second / 1e9:.2g} GB/s"),
        Finding(model, "least memory", "", gigabytes(split.least_bytes)),
    )


def read(count: float) -> str:
    """Bytes that a step reads."""
    return gigabytes(count) if count >= 1e9 else f"{count / 1e6:,.0f} MB"


def missing(a: Assessment) -> Finding:
    return Finding(a.candidate.id, "memory missing", a.need.sizes.type, gigabytes(a.placement.missing))


def decode(a: Assessment) -> tuple[Finding, ...]:
    """() if the speed is unknown."""
    if not a.speed.decode:
        return ()
    return (Finding(a.candidate.id, "decode speed", a.speed.label, tokens_per_second(a.speed.decode)),)


def prefill(a: Assessment) -> tuple[Finding, ...]:
    """() if the speed is unknown."""
    if not a.speed.prefill:
        return ()
    return (Finding(a.candidate.id, "prefill speed", a.speed.label, f"{a.speed.prefill:,.0f} tokens/s"),)


def step(a: Assessment) -> tuple[Finding, ...]:
    """Seconds of an agent's step; () if the use has none or the speed is unknown."""
    if a.step is None:
        return ()
    return (Finding(a.candidate.id, "a step", a.speed.label, f"{a.step.reading + a.step.writing:,.1f} s"),)


def context(a: Assessment) -> Finding:
    return Finding(a.candidate.id, "longest context here", "", f"{a.longest_context:,}")


def users(a: Assessment) -> Finding:
    return Finding(a.candidate.id, "most users here", "", f"{a.most_users:,} user{'s' if a.most_users != 1 else ''}")


def fewer_users(a: Assessment) -> tuple[Finding, ...]:
    """With how many users at once a model would run; () if it runs with all of them, or with none."""
    if a.fewer_users is None:
        return ()
    most, type_ = a.fewer_users
    return (Finding(a.candidate.id, "users that would fit", type_, f"{most:,} user{'s' if most > 1 else ''}"),)


def download(a: Assessment) -> Finding:
    basis = f"{a.need.sizes.type}, {'as uploaded' if a.need.upload else 'by its recipe'}"
    return Finding(a.candidate.id, "download", basis, gigabytes(a.need.download))


def difficulty(a: Assessment) -> Finding:
    return Finding(a.candidate.id, "difficulty", a.difficulty)


def licence(a: Assessment) -> tuple[Finding, ...]:
    """() if the licence is unknown."""
    if a.terms is None:
        return ()
    return (Finding(a.candidate.id, "licence for you", "granted" if a.terms.usable else "not granted"),)


def own_cost(a: Assessment) -> tuple[Finding, ...]:
    """() if the speed is unknown."""
    if a.cost.usd_per_million is None:
        return ()
    return (Finding(a.candidate.id, "this machine, a million tokens", "", dollars(a.cost.usd_per_million)),)


def hosted(a: Assessment, offer: Offer) -> Finding:
    subject = f"{offer.price.provider}, a million tokens"
    return Finding(a.candidate.id, subject, "", dollars(offer.usd_per_million))


def against(subject: str, a: Assessment, b: Assessment, pair: Pairing) -> tuple[Finding, Finding]:
    """Both models on their shared benchmarks, in both directions."""
    lead, figure = pair.lead, f"{abs(pair.lead):.1f}"
    words = ("ahead", "behind") if lead > 0 else ("behind", "ahead") if lead < 0 else ("level", "level")
    first, second = a.candidate.id, b.candidate.id
    return (
        Finding(first, f"{subject} against {second}", words[0], figure),
        Finding(second, f"{subject} against {first}", words[1], figure),
    )
