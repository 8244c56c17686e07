"""Cost per million tokens on one's own machine and at each provider, and the volume at which they break even.

A million tokens are `input_share` prompt tokens and otherwise answer tokens. An hour costs the rent, or the purchase
spread over its years plus power. Lower prices or more speed never increase a cost.
"""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.catalogue.schema import Catalogue, Price, Purchase
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.speed import Speed

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
    years: float = 3.0
    power_usd_kwh: float = 0.15
    budget_usd_month: float | None = None


@dataclass(frozen=True)
class Offer:
    """A provider's price for the mix of tokens, and the break-even with it."""

    price: Price
    usd_per_million: float
    #: tokens per month from which self-hosting is cheaper; None: never at this speed, or unknown cost
    break_even_tokens: float | None


@dataclass(frozen=True)
class Cost:
    usd_per_hour: float
    usd_per_month: float
    #: None: the speed is unknown
    usd_per_million: float | None
    #: tokens per month that the machine can generate at its utilisation; None: the speed is unknown
    capacity_tokens: float | None
    offers: tuple[Offer, ...]
    #: how the hourly cost was computed
    basis: str
    rows: tuple[str, ...]

    @property
    def cheapest(self) -> Offer | None:
        """The cheapest offer of a price list; the article's prices do not count."""
        listed = [offer for offer in self.offers if offer.price.source != "article"]
        return min(listed, key=lambda o: (o.usd_per_million, o.price.id)) if listed else None


def blend(price: Price, input_share: float) -> float:
    """Dollars per million tokens of the mix."""
    return input_share * price.input_usd + (1 - input_share) * price.output_usd


def hourly(machine: Hardware, money: Money, catalogue: Catalogue) -> tuple[float, str, tuple[str, ...]]:
    """Dollars per hour of a machine, how they are computed, and the rows behind them."""
    power = machine.power / 1000 * money.power_usd_kwh
    power_text = f"{machine.power:.0f} W at ${money.power_usd_kwh:g}/kWh"
    if money.rent_usd_hour is not None:
        return money.rent_usd_hour, f"rent of ${money.rent_usd_hour:g} per hour, as given", ()
    if money.purchase_usd is not None:
        spread = money.purchase_usd / (money.years * HOURS_A_YEAR)
        return spread + power, f"${money.purchase_usd:,.0f} over {money.years:g} years, and {power_text}", ()
    rents = [r for r in catalogue.rentals.values() if machine.gpu is not None and r.device == machine.gpu.id]
    if rents:
        cheapest = min(rents, key=lambda r: r.usd_per_hour)
        total = machine.gpus * cheapest.usd_per_hour
        text = f"{machine.gpus} × ${cheapest.usd_per_hour:g} per hour at {cheapest.provider}"
        return total, text, (cheapest.id,)
    bought = purchase(machine, catalogue)
    if bought is not None:
        spread = bought.usd / (money.years * HOURS_A_YEAR)
        text = f"${bought.usd:,.0f} ({bought.note}) over {money.years:g} years, and {power_text}"
        return spread + power, text, (bought.id,)
    missing = f"the catalogue has no price for {machine.gpu.name}: " if machine.gpu is not None else ""
    text = f"{missing}power alone ({power_text}), as if you owned the machine: --purchase-usd adds its price"
    return power, text, ()


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
    seconds = _seconds_per_million(speed, money.input_share)
    per_month = per_hour * HOURS_A_MONTH
    per_million = capacity = None
    if seconds:
        per_million = per_hour * seconds / 3600 / money.utilisation
        capacity = 1e6 / seconds * 3600 * HOURS_A_MONTH * money.utilisation
    offers = []
    for price in catalogue.prices_of(model) if model else []:
        usd = blend(price, money.input_share)
        needed = per_month / usd * 1e6 if usd > 0 else None
        reachable = needed is not None and capacity is not None and needed <= capacity
        offers.append(Offer(price, usd, needed if reachable else None))
    offers.sort(key=lambda o: (o.usd_per_million, o.price.id))
    return Cost(per_hour, per_month, per_million, capacity, tuple(offers), basis, rows)


def _seconds_per_million(speed: Speed, input_share: float) -> float | None:
    """Busy seconds per million tokens of the mix. Without a prefill estimate, prompts count as free."""
    if not speed.throughput:
        return None
    prompt = input_share * 1e6 / speed.prefill if speed.prefill else 0.0
    return prompt + (1 - input_share) * 1e6 / speed.throughput
