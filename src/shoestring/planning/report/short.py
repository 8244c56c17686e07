"""Print the short form of a plan or a comparison: what to run, why, and the next command, within one screen."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from shoestring.planning.advice.details import assumptions, essentials
from shoestring.planning.advice.recommend import recommend
from shoestring.planning.advice.sentences import Sentence
from shoestring.planning.advice.summary import left_out, short_choice, top
from shoestring.planning.assess import Assessment
from shoestring.planning.compare import Comparison
from shoestring.planning.plan import Plan, leading
from shoestring.planning.report.text import print_command, print_head


def short_plan(p: Plan, console: Console, explain: bool = False) -> None:
    """Print up to three models in one sentence each, or what counts about the only one; then the command."""
    print_head(p, console)
    best, ranked = leading(p), top(p)
    if len(p.assessments) == 1:
        for s in essentials(p, p.assessments[0]):
            console.print(Text(s.text))
    elif not ranked:
        for s in recommend(p).sentences:
            console.print(Text(s.text))
    for place, (a, s) in enumerate(ranked if len(p.assessments) > 1 else (), 1):
        text = Text(f"{place}. {s.text}", style="" if place == 1 else "dim")
        text.highlight_words([a.candidate.name], "bold")
        console.print(text)
    if ranked:
        best = ranked[0][0]
    _next(p, best, console, explain)
    out = left_out(p)
    if out is not None and len(p.assessments) > 1:
        console.print(Text(f"\n{out.text}", style="dim"))
    _end(
        p, console, f"all {len(p.assessments)} models by use" if len(p.assessments) > 1 else "all uses, memory by part"
    )


def short_comparison(c: Comparison, console: Console, explain: bool = False) -> None:
    """Print the recommendation and the command, then up to three reasons for each model."""
    print_head(c.plan, console)
    advice = recommend(c.plan, c.instead)
    _sentences(advice.sentences, console)
    _next(c.plan, advice.model, console, explain)
    console.print()
    for one, other in ((c.left, c.right), (c.right, c.left)):
        console.print(Text(f"Choose {one.candidate.name} if this matters most", style="bold"))
        reasons = short_choice(c.plan, one, other)
        for s in reasons:
            console.print(Padding(Text("• " + s.text), (0, 0, 0, 2)))
        if not reasons:
            console.print(Padding(Text("• nothing here favours it"), (0, 0, 0, 2)))
    claims = f", the article's {len(c.claims)} claims" if c.claims else ""
    _end(c.plan, console, f"tables of scores, prices, licences and engines{claims}")


def verdict(result: Plan | Comparison, console: Console) -> None:
    """Print the recommendation alone."""
    p, instead = (result, None) if isinstance(result, Plan) else (result.plan, result.instead)
    _sentences(recommend(p, instead).sentences, console)


def _sentences(said: Iterable[Sentence], console: Console) -> None:
    for s in said:
        console.print(Text(s.text))


def _next(p: Plan, a: Assessment | None, console: Console, explain: bool) -> None:
    if a is None or not a.command.lines:
        return
    own = ", to run it yourself" if p.question.use == "api" else ""
    console.print(Text(f"\nNext{own}, with {a.command.engine}", style="bold"))
    print_command(a, console, others=False)
    if explain:
        for line in a.speed.formula:
            console.print(Padding(Text(line, style="dim"), (0, 0, 0, 2)))


def _end(p: Plan, console: Console, rest: str) -> None:
    console.print(Text(f"\n{assumptions(p).text}", style="dim"))
    console.print(Text(f"--all: {rest}, and every sentence with what it rests on", style="dim"))
