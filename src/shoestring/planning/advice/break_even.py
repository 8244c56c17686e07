"""Where one's own machine costs as much as a provider: at which volume, how busy, and with how many users.

One user at a time leaves most of a machine idle. If a machine cannot get cheaper than an offer with the users asked
for, more users at once are tried, up to the number whose context fits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from shoestring.planning.advice.findings import dollars
from shoestring.planning.advice.sentences import Finding, Sentence, sentence
from shoestring.planning.assess import Assessment
from shoestring.planning.cost import Offer, seconds_per_million
from shoestring.planning.memory import place
from shoestring.planning.plan import Plan
from shoestring.planning.speed import estimate, scale_of

#: numbers of users are doubled up to here
MOST_USERS = 1024


@dataclass(frozen=True)
class Turn:
    """The break-even with one offer."""

    provider: str
    row: str
    usd_per_million: float
    #: tokens per month, and share of time busy, at which both cost the same with `users` at once
    tokens: float
    share: float
    users: int

    @property
    def short(self) -> str:
        """For a table."""
        users = f", {self.users} users" if self.users > 1 else ""
        if self.share > 1:
            return f"{self.share:,.1f}× this machine{users}"
        return f"{_volume(self.tokens)} a month, {self.share:.0%} busy{users}"


#: users at once → busy seconds per million tokens; None: they do not fit as the question's users do
Seconds = Callable[[int], float | None]


def seconds_for(planned: Plan, a: Assessment) -> Seconds:
    """The busy seconds of a model on this machine per million tokens, by the number of users; each computed once."""
    scale = scale_of(planned.question.measured, planned.machine, planned.catalogue)

    @cache
    def seconds(users: int) -> float | None:
        need = dataclasses.replace(a.need, users=users)
        placed = place(need, planned.machine)
        if users > min(a.most_users, MOST_USERS) or placed.fit != a.placement.fit:
            return None
        speed = estimate(need, placed, planned.machine, (), scale)
        return seconds_per_million(speed, planned.question.money.input_share)

    return seconds


def turn(a: Assessment, offer: Offer, seconds: Seconds) -> Turn | None:
    """The break-even of a model on this machine with an offer; None if the speed is unknown or the offer is free."""
    if offer.break_even_share is None or offer.break_even_tokens is None:
        return None
    users, share, tokens = a.need.users, offer.break_even_share, offer.break_even_tokens
    while share > 1 and (more := seconds(2 * users)) is not None:
        users, share = 2 * users, min(share, a.cost.usd_per_hour * more / 3600 / offer.usd_per_million)
    return Turn(offer.price.provider, offer.price.id, offer.usd_per_million, tokens, share, users)


def turns(planned: Plan, left: Assessment, right: Assessment) -> list[tuple[Turn | None, Turn | None]]:
    """The break-evens of two models with each provider that may be the default, the cheapest first."""
    offers = sorted((o for a in (left, right) for o in a.cost.offers if not o.mark), key=lambda o: o.usd_per_million)
    known = [(a, seconds_for(planned, a)) for a in (left, right)]
    found = []
    for provider in dict.fromkeys(o.price.provider for o in offers):
        first, second = (_with(a, provider, seconds) for a, seconds in known)
        if first is not None or second is not None:
            found.append((first, second))
    return found


def _with(a: Assessment, provider: str, seconds: Seconds) -> Turn | None:
    offer = next((o for o in a.cost.offers if o.price.provider == provider and not o.mark), None)
    return turn(a, offer, seconds) if offer is not None else None


def break_even(planned: Plan, a: Assessment, offer: Offer) -> Sentence | None:
    """The break-even with an offer in a sentence; None if it is unknown."""
    found = turn(a, offer, seconds_for(planned, a))
    if found is None:
        return None
    price, volume = dollars(offer.usd_per_million), _volume(found.tokens)
    users = f" with {found.users} users at once" if found.users > a.need.users else ""
    text = f"against {found.provider} at {price} a million tokens, this machine is cheaper from {volume} a month"
    if found.share <= 1:
        text += f", when it is busy {found.share:.0%} of the time{users}"
    else:
        most = "" if found.users == a.need.users else f", even{users}, the most that fit"
        text += f", which is {found.share:,.1f} times what it can do{most}"
    verdict = f"{found.share:.0%} busy{users}" if found.share <= 1 else f"{found.share:,.1f} times its capacity"
    finding = Finding(a.candidate.id, f"break-even with {found.provider}", verdict, f"{volume} a month")
    return sentence(text, finding, rows=(found.row, *a.cost.rows))


def _volume(tokens: float) -> str:
    if tokens >= 1e9:
        return f"{tokens / 1e9:,.1f}B tokens"
    return f"{tokens / 1e6:,.0f}M tokens" if tokens >= 1e6 else f"{tokens:,.0f} tokens"
