"""Print plans and comparisons in full, with tables that shrink to the terminal's width."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from shoestring.planning.advice.details import asked, assumptions, details, footer
from shoestring.planning.advice.tokens import tokens_sentence
from shoestring.planning.advice.verdict import Verdict
from shoestring.planning.assess import Assessment
from shoestring.planning.compare import MARK, Comparison, Section
from shoestring.planning.plan import Plan, leading
from shoestring.planning.report.cells import PARTS, overview, places, size

GAPS = {"Scores": "A − B", "On this machine": "A ÷ B", "Prices": "A ÷ B", "Tokens per language": "A to B"}
COLOUR = {"gpu": "green", "ram": "green", "gpu+ram": "yellow", "disk": "red", "no": "red"}


def render_plan(p: Plan, console: Console, explain: bool = False) -> None:
    """Print everything about a plan."""
    print_head(p, console)
    console.print(_overview(p, console.width))
    for verdict in p.verdicts:
        console.print(_verdict_line(verdict))
    best = leading(p)
    console.print()
    if len(p.verdicts) == 1:
        _ranking(p.verdicts[0], console)
    if best is not None:
        _details(p, best, console, explain)
    _foot(p, console)


def render_comparison(c: Comparison, console: Console, explain: bool = False) -> None:
    """Print everything about a comparison."""
    print_head(c.plan, console)
    names = (c.left.candidate.name, c.right.candidate.name)
    for name, sentences in ((names[0], c.choose_left), (names[1], c.choose_right)):
        console.print(Text(f"\nChoose {name} if this matters most", style="bold"))
        for sentence in sentences:
            console.print(Padding(Text("• " + sentence.text), (0, 0, 0, 2)))
        if not sentences:
            console.print(Padding(Text("• nothing here favours it"), (0, 0, 0, 2)))
    if c.instead is not None:
        console.print(Text("\n" + c.instead.sentence.text, style="bold"))
        print_command(c.instead.assessment, console)
    for section in c.sections:
        console.print("", _section(section, names, console.width), sep="\n")
    said = tokens_sentence(c.left, c.right, c.plan.catalogue)
    if said is not None:
        console.print(Text(said.text, style="dim"))
    if c.claims:
        console.print(Text("\nThe article's claims, checked", style="bold"))
        heading = ""
        for checked in c.claims:
            if checked.claim.section != heading:
                heading = checked.claim.section
                console.print(Padding(Text(heading, style="bold dim"), (0, 0, 0, 2)))
            mark = {"holds": "✓", "differs": "✗"}.get(checked.outcome, "~")
            console.print(Padding(Text(f"{mark} {checked.sentence.text}"), (0, 0, 0, 2)))
    for a in (c.left, c.right):
        console.print()
        _details(c.plan, a, console, explain)
    _foot(c.plan, console)


def print_head(p: Plan, console: Console) -> None:
    console.print(Rule(Text(p.machine.name, style="bold"), align="left"))
    console.print(Text(asked(p).text, style="dim"))


def _overview(p: Plan, width: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    columns = [("type", 0), ("needs", 0), ("placed in", 0), ("decode", 60), ("prefill", 112), ("context", 88),
               ("users", 104), ("own $/M", 124), ("hosted $/M", 80), ("difficulty", 96)]  # fmt: skip
    shown = [name for name, least in columns if width >= least]
    for name in shown:
        table.add_column(name, justify="left" if name in ("type", "placed in", "difficulty") else "right", no_wrap=True)
    for a in p.assessments:
        cells = overview(a)
        cells["placed in"] = f"[{COLOUR[a.placement.fit]}]{cells['placed in']}[/]"
        style = "" if a.suits else "dim"
        table.add_row(escape(a.candidate.name), *(cells[name] for name in shown), style=style)
    return table


def _verdict_line(verdict: Verdict) -> Text:
    title, _, rest = verdict.line.text.partition(": ")
    return Text.assemble((f"{title}: ", "bold"), rest)


def _ranking(verdict: Verdict, console: Console) -> None:
    for place, ranked in enumerate(verdict.ranking, 1):
        text = Text(f"{place}. " + " ".join(s.text for s in ranked.sentences), style="" if place == 1 else "dim")
        text.highlight_words([ranked.assessment.candidate.name], "bold")
        console.print(text)
    decided = ", ".join(verdict.use.benchmarks) or verdict.use.measure
    console.print(Text(f"decided by: {decided}", style="dim"))
    console.print()


def _details(p: Plan, a: Assessment, console: Console, explain: bool) -> None:
    console.print(Rule(Text(f"{a.candidate.name} in {a.need.sizes.type}", style="bold"), align="left"))
    console.print(_memory(a))
    for number, sentence in enumerate(details(p, a)):
        console.print(Text(sentence.text, style="yellow" if number == 0 and a.problems else ""))
    if explain:
        console.print(Padding(Group(*(Text(line, style="dim") for line in a.speed.formula)), (0, 0, 0, 2)))
    print_command(a, console)


def print_command(a: Assessment, console: Console, others: bool = True) -> None:
    """The command that starts a model. others: with those of other engines, else with their names."""
    for line in a.command.lines:
        console.print(Text("  " + line, style="bold cyan"), soft_wrap=True)
    if a.command.others and not others:
        names = ", ".join(engine for engine, _ in a.command.others)
        console.print(Padding(Text(f"--all: the commands of {names}", style="dim"), (0, 0, 0, 2)))
        return
    for engine, line in a.command.others:
        console.print(Text(f"  or with {engine}: {line}", style="dim"))


def _memory(a: Assessment) -> RenderableType:
    """Parts by place, largest first, each with a bar for its share."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for justify in ("left", "right", "left", "left"):
        table.add_column(justify=justify, no_wrap=True)
    whole = max(1, a.need.total_bytes)
    for place, sizes in places(a).items():
        for part, count in sorted(sizes.items(), key=lambda item: -item[1]):
            if count < whole / 1000:
                continue
            bar = "█" * max(1, round(30 * count / whole))
            table.add_row(PARTS[part], size(count), place, Text(bar, style="blue"))
    return Padding(table, (0, 0, 0, 2))


def _section(section: Section, names: Sequence[str], width: int) -> RenderableType:
    table = Table(box=None, pad_edge=False, title=section.title, title_justify="left", title_style="bold",
                  header_style="bold", show_header=True)  # fmt: skip
    table.add_column("", max_width=30)
    table.add_column(names[0], justify="right")
    table.add_column(names[1], justify="right")
    if width >= 76:
        table.add_column(GAPS.get(section.title, ""))
    if width >= 96:
        table.add_column("", style="dim")
    for line in section.lines:
        cells = [line.label, line.left, line.right]
        if width >= 76:
            cells.append(line.gap)
        if width >= 96:
            cells.append(line.kind + (", old" if line.old else ""))
        table.add_row(*(escape(cell) for cell in cells))
    reasons = dict.fromkeys(reason for line in section.lines for reason in line.reasons if reason.startswith(MARK))
    return Group(table, *(Text(reason, style="dim") for reason in reasons))


def _foot(p: Plan, console: Console) -> None:
    console.print(Text(f"\n{assumptions(p).text}", style="dim"))
    console.print(Text(" ".join(s.text for s in footer(p)), style="dim"))
