"""`shoestring plan` and `shoestring compare`: recommend a model, with its placement, speed and price.

Both use only the catalogue and configs: no network, no weights, no compiled extension.
"""

from __future__ import annotations

import io
import json as json_module
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoestring.cli import options
from shoestring.cli.shared import spread
from shoestring.errors import RequestError

if TYPE_CHECKING:
    from rich.console import Console

    from shoestring.planning.plan import Plan

PLAN_HELP = """Recommend a model for a machine, with its weight type, speed, price and the command to run it.

MODEL is a catalogue name (qwen3.5:35b-a3b, scout), a local file or folder, or a Hub name. Without MODEL, plan ranks
both flagships and their siblings. Memory is exact, from tensor shapes; speeds are estimates unless measured here."""

COMPARE_HELP = """Compare two models for your use case: specification, scores, prices, licence, when to choose which.

Every sentence is backed by data with source, date and kind (--json and --html show them)."""

#: width of piped output
PIPED_WIDTH = 100

Use = Annotated[
    str | None,
    typer.Option(
        "--for", metavar="USE", help="Use case: agents, code, multilingual, multimodal, long-context, budget or api."
    ),
]
HardwareName = Annotated[
    str | None,
    typer.Option(
        "--hardware",
        metavar="H",
        help="8xh100, rtx-5090+64g, mac-m3-max-48g, cpu:64c-12ch-ddr5+256g or a TOML file. [default: this machine]",
    ),
]
ContextTokens = Annotated[
    int | None, typer.Option("--context", "-c", metavar="N", help="Tokens per sequence. [default: 8192]")
]
Users = Annotated[int, typer.Option("--users", "-u", metavar="N", help="Concurrent sequences.")]
Quant = Annotated[
    str | None,
    typer.Option(
        "--quant", "-q", metavar="Q", help="BF16, FP8, Q8_0 … IQ1_M, GPTQ, AWQ or NVFP4. [default: the best that fits]"
    ),
]  # fmt: skip
MinSpeed = Annotated[
    float, typer.Option("--min-speed", metavar="T/S", help="Slowest acceptable decode speed, in tokens/s.")
]
Budget = Annotated[
    float | None, typer.Option("--budget-usd", metavar="X", help="Maximum dollars per month for the machine.")
]
Rent = Annotated[
    float | None, typer.Option("--rent-usd-hour", metavar="X", help="Rent of the machine, dollars per hour.")
]
Purchase = Annotated[
    float | None, typer.Option("--purchase-usd", metavar="X", help="Purchase price of the machine, in dollars.")
]
Years = Annotated[float, typer.Option("--years", metavar="X", help="Years to spread a purchase over.")]
Power = Annotated[float, typer.Option("--power-usd-kwh", metavar="X", help="Price of electricity, dollars per kWh.")]
Utilisation = Annotated[
    float, typer.Option("--utilisation", metavar="X", help="Share of time the machine is busy, 0 to 1.")
]
InputShare = Annotated[
    float, typer.Option("--input-share", metavar="X", help="Share of prompt tokens in the traffic, 0 to 1.")
]
Prices = Annotated[
    Path | None,
    typer.Option("--prices", metavar="FILE", help="TOML file of [[price]] rows that override the catalogue."),
]
CatalogueFolder = Annotated[
    Path | None, typer.Option("--catalogue", metavar="FOLDER", help="Folder of TOML files that override the catalogue.")
]
MeasuredFile = Annotated[
    Path | None,
    typer.Option("--measured", metavar="FILE", help="Output of `shoestring bench --json` on this machine."),
]
Mau = Annotated[
    str | None, typer.Option("--company-mau", metavar="N", help="Monthly active users of your company, e.g. 800M.")
]
Eu = Annotated[bool, typer.Option("--eu", help="You or your company are domiciled in the European Union.")]
Explain = Annotated[bool, typer.Option("--explain", help="Show how the speeds are computed.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a self-contained HTML report.")]


@dataclass(frozen=True)
class Wishes:
    """Requirements for plan and compare."""

    use: Use = None
    hardware: HardwareName = None
    context: ContextTokens = None
    users: Users = 1
    quant: Quant = None
    kv_type: options.KV = options.KVType.f16
    min_speed: MinSpeed = 3.0
    budget: Budget = None
    rent: Rent = None
    purchase: Purchase = None
    years: Years = 3.0
    power: Power = 0.15
    utilisation: Utilisation = 0.3
    input_share: InputShare = 0.75
    prices: Prices = None
    catalogue: CatalogueFolder = None
    measured: MeasuredFile = None
    company_mau: Mau = None
    eu: Eu = False


@spread
def plan(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Models to assess, as above.")
    ] = None,
    *,
    wishes: Wishes,
    explain: Explain = False,
    html: Html = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    planned = _planned(models or [], wishes)
    if html is not None:
        from shoestring.planning.report.html import plan_html

        _write(html, plan_html(planned), json)
    elif json:
        from shoestring.planning.report.json import plan_json

        typer.echo(json_module.dumps(plan_json(planned)))
    else:
        from shoestring.planning.report.text import render_plan

        _show(lambda console: render_plan(planned, console, explain))


@spread
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="First model, as for plan.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Second model.")],
    *,
    wishes: Wishes,
    explain: Explain = False,
    html: Html = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    from shoestring.planning.compare import compare as side_by_side

    planned = _planned([first, second], wishes)
    compared = side_by_side(planned, *(id_of(name, planned) for name in (first, second)))
    if html is not None:
        from shoestring.planning.report.html import comparison_html

        _write(html, comparison_html(compared), json)
    elif json:
        from shoestring.planning.report.json import comparison_json

        typer.echo(json_module.dumps(comparison_json(compared)))
    else:
        from shoestring.planning.report.text import render_comparison

        _show(lambda console: render_comparison(compared, console, explain))


def _planned(models: list[str], wishes: Wishes) -> Plan:
    from shoestring.planning.cost import Money
    from shoestring.planning.plan import plan as make

    return make(
        *models,
        use=wishes.use,
        hardware=wishes.hardware,
        context=wishes.context,
        users=wishes.users,
        quant=wishes.quant,
        kv_type=wishes.kv_type.value,
        min_speed=wishes.min_speed,
        money=Money(
            wishes.input_share, wishes.utilisation, wishes.rent, wishes.purchase, wishes.years,
            wishes.power, wishes.budget,
        ),
        company_mau=people(wishes.company_mau),
        eu=wishes.eu,
        prices=wishes.prices,
        catalogue=wishes.catalogue,
        measured=wishes.measured,
    )  # fmt: skip


def id_of(name: str, planned: Plan) -> str:
    """The id of the assessment for a name on the command line."""
    from shoestring.planning.candidates.candidates import resolve_row

    row = resolve_row(name, planned.catalogue)
    if row is not None:
        return row.id
    path = Path(name).expanduser()
    return path.name if path.exists() else name


def people(text: str | None) -> int | None:
    """Parse a count that may end in k, M or B. Raises RequestError for anything else."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmb]?)", text.replace("_", "").replace(",", "").casefold())
    if match is None:
        raise RequestError(f"--company-mau is {text!r}: give a count like 800M or 250_000")
    return round(float(match[1]) * {"": 1, "k": 1e3, "m": 1e6, "b": 1e9}[match[2]])


def _show(render: Callable[[Console], None]) -> None:
    """Print to a terminal with its width and colours, or as plain lines to a pipe."""
    from rich.console import Console

    if sys.stdout.isatty():
        render(Console())
        return
    text = io.StringIO()
    render(Console(file=text, width=PIPED_WIDTH, no_color=True, highlight=False))
    typer.echo("\n".join(line.rstrip() for line in text.getvalue().splitlines()))


def _write(path: Path, text: str, json: bool) -> None:
    """Write the report atomically."""
    if json:
        raise RequestError("--html and --json cannot be combined: give one of them")
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RequestError(f"{path} cannot be written: {error.strerror}") from error
    typer.echo(f"wrote {path} ({len(text.encode()):,} bytes)")
