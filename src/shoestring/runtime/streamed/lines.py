"""What commands print about streaming when they start."""

from __future__ import annotations

from shoestring.admission import Plan
from shoestring.runtime.streamed.forecast import Forecast
from shoestring.streaming.predict import SLOW_TOKENS_PER_SECOND


def slots_line(planned: Plan) -> str:
    """How many experts are in memory, and what else the budget gives."""
    assert planned.streaming is not None
    slots = planned.streaming.slots
    return (
        f"{slots.slots:,} of {slots.experts:,} in memory ({100 * slots.share:.0f} %), "
        f"context {planned.context:,}, passes of {planned.streaming.pass_rows:,} rows"
    )


def rate_text(forecast: Forecast) -> str:
    """The predicted rate."""
    return f"about {_rate(forecast.prediction.tokens_per_second)} tokens/s predicted"


def basis_text(forecast: Forecast) -> str:
    """What the prediction is based on."""
    p = forecast.prediction
    return (
        f"hit rate {100 * p.hit_rate:.0f} % ({p.source}), disk {forecast.disk_rate / 1e9:.1f} GB/s "
        f"({forecast.disk_source})"
    )


def start_lines(planned: Plan, forecast: Forecast) -> list[str]:
    """What commands print before they load a model that streams."""
    lines = [f"streams experts: {slots_line(planned)}; {rate_text(forecast)}", f"  {basis_text(forecast)}"]
    if slow(forecast):
        lines.append(slow_line(forecast))
    return lines


def slow(forecast: Forecast) -> bool:
    """Whether a sentence takes minutes."""
    return forecast.prediction.tokens_per_second < SLOW_TOKENS_PER_SECOND


def slow_line(forecast: Forecast) -> str:
    """The warning about a slow model."""
    seconds = 1 / forecast.prediction.tokens_per_second
    what = "give more memory or a faster disk, or choose a smaller model"
    return f"warning: a token will take about {seconds:.0f} s: {what}"


def _rate(tokens_per_second: float) -> str:
    return f"{tokens_per_second:.1f}" if tokens_per_second >= 1 else f"{tokens_per_second:.2g}"
