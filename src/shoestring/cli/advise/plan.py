"""`shoestring plan` and `shoestring compare`: recommend a model, with its placement, speed and price.

Both use only the catalogue and configs: no network, no weights, no compiled extension.
"""

from __future__ import annotations

import io
import json as json_module
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoestring.cli import options
from shoestring.cli.shared import count, option, sizes, spread, tokens
from shoestring.errors import RequestError
from shoestring.files import write_whole
from shoestring.printable import quoted
from shoestring.sizes import count_of

if TYPE_CHECKING:
    from rich.console import Console

    from shoestring.catalogue.schema import Catalogue
    from shoestring.planning.assess import Question
    from shoestring.planning.candidates.candidates import Candidate
    from shoestring.planning.compare import Comparison
    from shoestring.planning.plan import Plan

PLAN_HELP = """Recommend a model for a machine, with its weight type, speed, price and the command to run it.

MODEL is a catalogue name (qwen3.5:35b-a3b, scout), a local file or folder, or a Hub name. Without MODEL, plan ranks
both flagships and their siblings. Memory is exact, from tensor shapes; speeds are estimates unless measured here."""

COMPARE_HELP = """Compare two models for your use case: specification, scores, prices, licence, when to choose which.

Every sentence is backed by data with source, date and kind (--json and --html show them)."""

#: width of piped output
PIPED_WIDTH = 100


@dataclass(frozen=True)
class Wishes:
    """Requirements for plan and compare: the keywords of `shoestring.plan`, and the fields of its `money`."""

    use: str | None = option(
        "USE", "Use case: agents, code, multilingual, multimodal, long-context, budget or api.", "--for"
    )
    hardware: list[str] | None = option(
        "H",
        "Machine: 8xh100, rtx3090+64g, mac studio 128, epyc-9654+768g, gpu:24g@936, or a TOML file. plan: repeatable. "
        "[default: this machine]",
    )
    context: int | None = option(
        "N", "Tokens per sequence. [default: 8192, for agents 65536]", "--context", "-c", parser=tokens("--context")
    )
    users: int = option("N", "Sequences at once.", "--users", "-u", default=1, parser=count("--users"))
    quant: str | None = option(
        "Q", "BF16, FP8, Q8_0 … IQ1_M, GPTQ, AWQ or NVFP4. [default: the best that fits]", "--quant", "-q"
    )
    kv_type: str = option("f16|f32|q8_0", "Data type of the KV cache.", default="f16")
    min_speed: float = option("T/S", "Slowest acceptable decode speed, in tokens/s.", default=3.0)
    budget_usd_month: float | None = option("X", "Maximum dollars per month for the machine.", "--budget-usd")
    rent_usd_hour: float | None = option("X", "Rent of the machine, dollars per hour.")
    purchase_usd: float | None = option("X", "Purchase price of the machine, in dollars.")
    owned: bool = option(None, "The machine is yours already: only power costs.", "--owned", default=False)
    years: float = option("X", "Years to spread a purchase over.", default=3.0)
    power_usd_kwh: float = option("X", "Price of electricity, dollars per kWh.", default=0.15)
    utilisation: float = option("X", "Share of time the machine is busy, 0 to 1.", default=0.3)
    input_share: float = option("X", "Share of prompt tokens in the traffic, 0 to 1.", default=0.75)
    provider: str | None = option("NAME", "Host whose prices count. [default: the cheapest that runs the model itself]")
    region: str | None = option("R", "Region in which a host must compute: eu, us, sg or cn.")
    prices: Path | None = option("FILE", "TOML file of [[price]] rows that override the catalogue.")
    catalogue: Path | None = option("FOLDER", "Folder of TOML files that override the catalogue.")
    measured: Path | None = option("FILE", "Output of `shoestring bench --json` on this machine.")
    memory: int | None = option(
        "SIZE",
        "RAM that an engine may use, e.g. 12GiB. [default: all but what other programs need]",
        parser=sizes("--memory"),
    )
    routes: Path | None = option("FILE", "Routes that --record-routes wrote, for hit rates of experts on disk.")
    company_mau: str | None = option(
        "N", "Monthly active users in March 2025 of you and your affiliates together, e.g. 800M or 1M+3B."
    )
    eu: bool = option(
        None, "You are domiciled, or your company is based, in the European Union.", "--eu", default=False
    )
    end_user: bool = option(None, "You use another's product that contains the model.", "--end-user", default=False)
    derived: bool = option(None, "You publish models made with the model or its outputs.", "--derived", default=False)


@dataclass(frozen=True)
class Output:
    """Form of the result: a page, JSON, or text."""

    everything: bool = option(None, "Print all models, tables and sentences.", "--all", default=False)
    explain: bool = option(None, "Show how the speeds are computed.", "--explain", default=False)
    html: Path | None = option("FILE", "Write a self-contained HTML report.")
    json: options.Json = False

    def __post_init__(self) -> None:
        if self.html is not None and self.json:
            raise RequestError("--html and --json cannot be combined: give one of them")


@dataclass(frozen=True)
class Tasks:
    """What plan does besides planning for one machine."""

    find_hardware: bool = option(
        None, "Find the smallest and the cheapest machine for each MODEL. [default: both flagships]",
        "--find-hardware", default=False,
    )  # fmt: skip
    measure: bool = option(
        None, "Time layers of each MODEL's shapes on this machine, a minute each, and use the results from now on.",
        "--measure", default=False,
    )  # fmt: skip


@spread
def plan(
    models: Annotated[list[str] | None, typer.Argument(metavar="MODEL", help="Models to assess, as above.")] = None,
    *,
    wishes: Wishes,
    tasks: Tasks,
    output: Output,
    debug: options.Debug = False,
) -> None:
    if tasks.measure:
        from shoestring.cli.advise.measure import measure

        if wishes.hardware or tasks.find_hardware:
            raise RequestError("--measure times this machine: it takes neither --hardware nor --find-hardware")
        measure(_planned(models or [], wishes, None))
    if tasks.find_hardware:
        _find(models or [], wishes, output)
    elif wishes.hardware and len(wishes.hardware) > 1:
        _table([_planned(models or [], wishes, name) for name in wishes.hardware], bool(models), output)
    else:
        _report(_planned(models or [], wishes, _one(wishes)), output)


def _one(wishes: Wishes) -> str | None:
    """The only machine of the command line; None: this one. Raises RequestError for several."""
    if wishes.hardware and len(wishes.hardware) > 1:
        raise RequestError("--hardware can be given once here: only `shoestring plan` compares machines")
    return wishes.hardware[0] if wishes.hardware else None


def _table(plans: list[Plan], named: bool, output: Output) -> None:
    """Write or print one table of several machines. named: the user named models."""
    from shoestring.planning.report.machines import machines_json, render_choice, render_machines

    if output.html is not None:
        from shoestring.planning.report.several import machines_html

        _write(output.html, machines_html(plans, named))
        _show(lambda console: render_choice(plans, named, console))
    elif output.json:
        typer.echo(json_module.dumps(machines_json(plans, named)))
    else:
        _show(lambda console: render_machines(plans, named, console))


def _find(models: list[str], wishes: Wishes, output: Output) -> None:
    """Write or print the machines that `--find-hardware` finds."""
    from shoestring.planning.find import find_hardware
    from shoestring.planning.report.machines import found_json, render_found

    if wishes.hardware:
        raise RequestError("--find-hardware looks for machines: it takes no --hardware")
    question, candidates, catalogue = _asked(models, wishes)
    found = find_hardware(candidates if models else (), question, catalogue)
    if output.json:
        typer.echo(json_module.dumps(found_json(found, question)))
        return
    if output.html is not None:
        from shoestring.planning.report.several import found_html

        _write(output.html, found_html(found, question, catalogue))
    _show(lambda console: render_found(found, question, console))


@spread
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="First model, as for plan.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Second model.")],
    *,
    wishes: Wishes,
    output: Output,
    debug: options.Debug = False,
) -> None:
    from shoestring.planning.side_by_side import of_plan

    _report(of_plan(_planned([first, second], wishes, _one(wishes)), first, second), output)


def _report(result: Plan | Comparison, output: Output) -> None:
    """Write or print `result` in the form that the user chose."""
    from shoestring.planning.plan import Plan

    if output.html is not None:
        from shoestring.planning.report.html import comparison_html, plan_html
        from shoestring.planning.report.short import verdict

        _write(output.html, plan_html(result) if isinstance(result, Plan) else comparison_html(result))
        _show(lambda console: verdict(result, console))
    elif output.json:
        from shoestring.planning.report.json import comparison_json, plan_json

        typer.echo(json_module.dumps(plan_json(result) if isinstance(result, Plan) else comparison_json(result)))
    else:
        _show(lambda console: _print(result, output, console))


def _print(result: Plan | Comparison, output: Output, console: Console) -> None:
    from shoestring.planning.plan import Plan

    if output.everything:
        from shoestring.planning.report.text import render_comparison, render_plan
    else:
        from shoestring.planning.report.short import short_comparison as render_comparison
        from shoestring.planning.report.short import short_plan as render_plan
    if isinstance(result, Plan):
        render_plan(result, console, output.explain)
    else:
        render_comparison(result, console, output.explain)


def _planned(models: list[str], wishes: Wishes, hardware: str | None) -> Plan:
    from shoestring.planning.plan import plan as make

    return make(*models, hardware=hardware, **_values(wishes))


def _asked(models: list[str], wishes: Wishes) -> tuple[Question, tuple[Candidate, ...], Catalogue]:
    from shoestring.planning.plan import ask

    values = _values(wishes)
    for name in ("measured", "memory", "routes"):
        if values.pop(name):
            raise RequestError(f"--{name} is about one machine: --find-hardware compares estimates")
    return ask(*models, **values)


def _values(wishes: Wishes) -> dict[str, Any]:
    """The keywords of `shoestring.plan` but for the machine."""
    from shoestring.planning.cost import Money

    values = asdict(wishes)
    values.pop("hardware")
    money = Money(**{field.name: values.pop(field.name) for field in fields(Money)})
    values |= {"company_mau": people(wishes.company_mau)}
    return values | {"money": money}


def people(text: str | None) -> int | None:
    """Parse a count that may end in k, M or B, or a sum of them. Raises RequestError for anything else."""
    if text is None:
        return None
    try:
        return sum(count_of(part, "--company-mau") for part in text.split("+"))
    except RequestError:
        raise RequestError(f"--company-mau is {quoted(text)}: give a count like 800M, 250,000 or 1M+3B") from None


def _show(render: Callable[[Console], None]) -> None:
    """Print to a terminal with its width and colours, or as plain lines to a pipe."""
    from rich.console import Console

    if sys.stdout.isatty():
        render(Console())
        return
    text = io.StringIO()
    render(Console(file=text, width=PIPED_WIDTH, no_color=True, highlight=False))
    typer.echo("\n".join(line.rstrip() for line in text.getvalue().splitlines()))


def _write(path: Path, text: str) -> None:
    """Write the report atomically. Replaces only an earlier report. Raises RequestError."""
    from shoestring.planning.report.page import BEGINNING

    with write_whole(path, begins=BEGINNING.encode()) as file:
        file.write(text.encode("utf-8", "replace"))
    typer.echo(f"wrote {path} ({len(text.encode()):,} bytes)")
