"""Cost per million tokens on one's own machine and at each provider, and the point at which they cost the same.

A million tokens are `input_share` prompt tokens and otherwise answer tokens. An hour costs the rent, or the purchase
spread over its years plus power, or only power if the machine is owned. Lower prices or more speed never increase a
cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from shoestring.catalogue.schema import Catalogue, Host, Price, Purchase, Rental
from shoestring.errors import RequestError
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.speed import Speed
from shoestring.spelling import option

HOURS_A_MONTH = 365.25 * 24 / 12
HOURS_A_YEAR = 365.25 * 24


@dataclass(frozen=True)
class Money:
    """Prices and usage of the user's machine. None: not given."""

    input_share: float = 0.75
    #: share of time the machine is busy
    utilisation: float = 0.3
    rent_usd_hour: float | None = None
    purchase_usd: float | None = None
    #: the machine is there already: only power counts
    owned: bool = False
    years: float = 3.0
    power_usd_kwh: float = 0.15
    budget_usd_month: float | None = None
    #: of the hosts: one provider, or those that the catalogue places in a region
    provider: str | None = None
    region: str | None = None

    def __post_init__(self) -> None:
        for name, share in (("utilisation", self.utilisation), ("input_share", self.input_share)):
            if 1 < share <= 100:
                raise RequestError(f"{option(name)} is {share:g}: give a share from 0 to 1, which is {share / 100:g}")
        if not 0 <= self.input_share <= 1 or not 0 < self.utilisation <= 1:
            raise RequestError(
                f"{option('input_share')} must be from 0 to 1, {option('utilisation')} above 0 and at most 1"
            )
        for name, amount in (("rent_usd_hour", self.rent_usd_hour), ("purchase_usd", self.purchase_usd),
                             ("power_usd_kwh", self.power_usd_kwh)):  # fmt: skip
            if amount is not None and not amount >= 0:
                raise RequestError(f"{option(name)} is {amount:g}: give a number of at least 0")
        for name, amount in (("years", self.years), ("budget_usd_month", self.budget_usd_month)):
            if amount is not None and not amount > 0:
                raise RequestError(f"{option(name)} is {amount:g}: give a number above 0")
        ways = {"rent_usd_hour": self.rent_usd_hour is not None, "purchase_usd": self.purchase_usd is not None,
                "owned": self.owned}  # fmt: skip
        given = [option(name) for name, used in ways.items() if used]
        if len(given) > 1:
            raise RequestError(f"{' and '.join(given)} cannot be combined: the machine is rented, bought or yours")


@dataclass(frozen=True)
class Offer:
    """A provider's price for the mix of tokens, and where one's own machine costs as much."""

    price: Price
    usd_per_million: float
    #: why it is not the default: it resells, winds down, or is outside of what was asked for; "" if it may be
    mark: str
    #: tokens per month from which the own machine is cheaper; None: the offer is free
    break_even_tokens: float | None
    #: the same as a share of time that the machine is busy; above 1: more than it can do. None: the speed is unknown
    break_even_share: float | None


@dataclass(frozen=True)
class Cost:
    usd_per_hour: float
    usd_per_month: float
    #: None: the speed is unknown
    usd_per_million: float | None
    #: tokens per month that the machine can generate at its utilisation; None: the speed is unknown
    capacity_tokens: float | None
    #: cheapest first
    offers: tuple[Offer, ...]
    #: rents of this device, for the whole machine, cheapest first
    rents: tuple[tuple[Rental, float], ...]
    #: how the hourly cost was computed
    basis: str
    rows: tuple[str, ...]
    #: why there is no cheapest offer; "" if there is one
    no_offer: str

    @property
    def cheapest(self) -> Offer | None:
        """The cheapest offer without a mark."""
        return next((offer for offer in self.offers if not offer.mark), None)


def blend(price: Price, input_share: float) -> float:
    """Dollars per million tokens of the mix."""
    return input_share * price.input_usd + (1 - input_share) * price.output_usd


def hourly(machine: Hardware, money: Money, catalogue: Catalogue) -> tuple[float, str, tuple[str, ...]]:
    """Dollars per hour of a machine, how they are computed, and the rows behind them."""
    power = machine.power / 1000 * money.power_usd_kwh
    power_text = f"{machine.power:.0f} W at ${money.power_usd_kwh:g}/kWh"
    if money.owned:
        return power, f"power alone, because the machine is yours: {power_text}", ()
    if money.rent_usd_hour is not None:
        return money.rent_usd_hour, f"rent of ${money.rent_usd_hour:g} per hour, as given", ()
    if money.purchase_usd is not None:
        spread = money.purchase_usd / (money.years * HOURS_A_YEAR)
        return spread + power, f"${money.purchase_usd:,.0f} over {money.years:g} years, and {power_text}", ()
    rented = rents(machine, catalogue)
    if rented:
        cheapest, total = rented[0]
        per_gpu = f"{machine.gpus} × ${cheapest.usd_per_hour:g} per hour"
        text = f"rented for {per_gpu} at {cheapest.provider}; --owned if it is yours"
        return total, text, (cheapest.id,)
    bought = purchase(machine, catalogue)
    if bought is not None:
        spread = bought.usd / (money.years * HOURS_A_YEAR)
        text = f"${bought.usd:,.0f} ({bought.note}) over {money.years:g} years, and {power_text}"
        return spread + power, text, (bought.id,)
    missing = f"the catalogue has no price for {machine.gpu.name}: " if machine.gpu is not None else ""
    text = f"{missing}power alone ({power_text}), as if you owned the machine: --purchase-usd adds its price"
    return power, text, ()


def rents(machine: Hardware, catalogue: Catalogue) -> list[tuple[Rental, float]]:
    """Every rent of the machine's device, with dollars per hour for all of its GPUs, cheapest first."""
    rows = [r for r in catalogue.rentals.values() if machine.gpu is not None and r.device == machine.gpu.id]
    return [(r, machine.gpus * r.usd_per_hour) for r in sorted(rows, key=lambda r: (r.usd_per_hour, r.id))]


def purchase(machine: Hardware, catalogue: Catalogue) -> Purchase | None:
    """The cheapest offer of a machine with this device and memory; None: not in the catalogue."""
    if machine.gpu is None or machine.gpus != 1:
        return None
    device, memory = machine.gpu.id, machine.gpu.memory_bytes
    sold = [p for p in catalogue.purchases.values() if p.device == device and p.memory_bytes == memory]
    return min(sold, key=lambda p: p.usd, default=None)


def cost(model: str | None, speed: Speed, machine: Hardware, money: Money, catalogue: Catalogue) -> Cost:
    """Cost of self-hosting a model, and all offers for it."""
    per_hour, basis, rows = hourly(machine, money, catalogue)
    seconds = seconds_per_million(speed, money.input_share)
    per_month = per_hour * HOURS_A_MONTH
    per_million = capacity = busy_cost = None
    if seconds:
        busy_cost = per_hour * seconds / 3600
        per_million = busy_cost / money.utilisation
        capacity = 1e6 / seconds * 3600 * HOURS_A_MONTH * money.utilisation
    offers = []
    for price in catalogue.prices_of(model) if model else []:
        usd = blend(price, money.input_share)
        tokens = per_month / usd * 1e6 if usd > 0 else None
        share = busy_cost / usd if busy_cost is not None and usd > 0 else None
        offers.append(Offer(price, usd, _mark(price, money, catalogue), tokens, share))
    offers.sort(key=lambda o: (o.usd_per_million, o.price.id))
    missing = "" if any(not o.mark for o in offers) else _no_offer(bool(offers), money)
    return Cost(per_hour, per_month, per_million, capacity, tuple(offers), tuple(rents(machine, catalogue)), basis,
                rows, missing)  # fmt: skip


def cheapest_price(model: str, money: Money, catalogue: Catalogue) -> tuple[float, Price] | None:
    """Dollars per million tokens of the mix at the cheapest provider without a mark; None if there is none."""
    prices = [p for p in catalogue.prices_of(model) if not _mark(p, money, catalogue)]
    found = min(prices, key=lambda p: (blend(p, money.input_share), p.id), default=None)
    return (blend(found, money.input_share), found) if found is not None else None


def seconds_per_million(speed: Speed, input_share: float) -> float | None:
    """Busy seconds per million tokens of the mix. Without a prefill estimate, prompts count as free."""
    if not speed.throughput:
        return None
    prompt = input_share * 1e6 / speed.prefill if speed.prefill else 0.0
    return prompt + (1 - input_share) * 1e6 / speed.throughput


def host(provider: str, catalogue: Catalogue) -> Host | None:
    """What the catalogue knows about a provider, beyond its prices."""
    return next((h for h in catalogue.hosts.values() if h.provider == provider), None)


def _mark(price: Price, money: Money, catalogue: Catalogue) -> str:
    known = host(price.provider, catalogue)
    if price.source == "article":
        return "the article's"
    if money.provider is not None and price.provider != money.provider:
        return "another provider"
    if money.region is not None and (known is None or money.region not in known.regions):
        return f"no place in {money.region.upper()} known"
    return known.status if known is not None and money.provider is None else ""


def _no_offer(listed: bool, money: Money) -> str:
    if not listed:
        return "has no provider's price in the catalogue"
    if money.provider is not None:
        return f"is not in the price list of {money.provider}"
    if money.region is not None:
        return f"has no provider that the catalogue places in {money.region.upper()}"
    return "has only providers that resell or wind down"


def check_hosts(money: Money, catalogue: Catalogue) -> None:
    """Raise RequestError, which names similar ones, for a provider or region that the catalogue does not have."""
    providers = sorted({p.provider for p in catalogue.prices.values() if p.source != "article"})
    regions = sorted({region for h in catalogue.hosts.values() for region in h.regions})
    for name, value, known in (("provider", money.provider, providers), ("region", money.region, regions)):
        if value is not None and value not in known:
            near = get_close_matches(value, known, n=3, cutoff=0.4)
            hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(known)}"
            raise RequestError(f"{option(name)} {value} is unknown: {hint}")
