"""The short form: three models at most, the next command on the first screen, the rest behind --all."""

from __future__ import annotations

import io

import pytest
from advice.test_claims import output, sentences
from rich.console import Console

from shoestring.planning.advice.recommend import recommend
from shoestring.planning.advice.summary import left_out, top
from shoestring.planning.compare import Comparison, compare
from shoestring.planning.plan import Plan, leading, plan
from shoestring.planning.report.short import short_comparison, short_plan, verdict

QWEN, SCOUT = "qwen3.5-397b-a17b", "llama-4-scout"


def printed(shown: Plan | Comparison, width: int = 80, explain: bool = False) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, no_color=True)
    if isinstance(shown, Plan):
        short_plan(shown, console, explain)
    else:
        short_comparison(shown, console, explain)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("seed", range(0, 200, 4))
def test_the_command_is_on_the_first_screen(seed: int) -> None:
    """80 columns, 24 lines; a command that is longer than a line wraps."""
    shown = output(seed)
    p = shown if isinstance(shown, Plan) else shown.plan
    best = recommend(p, None if isinstance(shown, Plan) else shown.instead).model
    lines = printed(shown)
    if best is None:
        assert any("run" in line for line in lines)
        return
    at = lines.index(f"  {best.command.lines[0]}")
    wrapped = sum(max(1, -(-len(line) // 80)) for line in lines[: at + len(best.command.lines)])
    assert wrapped <= 24, "\n".join(lines)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_no_line_is_wider_than_the_terminal(seed: int, width: int) -> None:
    shown = output(seed)
    p = shown if isinstance(shown, Plan) else shown.plan
    instead = None if isinstance(shown, Plan) or shown.instead is None else shown.instead.assessment
    commands = {line for a in (*p.assessments, *([instead] if instead else [])) for line in a.command.lines}
    assert all(len(line) <= width or line.strip() in commands for line in printed(shown, width))


@pytest.mark.parametrize("seed", range(0, 200, 6))
def test_the_top_runs_and_the_leading_model_is_first(seed: int) -> None:
    p = output(seed)
    assert isinstance(p, Plan)
    ranked = top(p)
    assert len(ranked) == min(3, len(ranked))
    assert len({a.candidate.id for a, _ in ranked}) == len(ranked)
    if ranked:
        assert ranked[0][0] is leading(p)
    if p.question.use != "api":
        assert all(a.runs for a, _ in ranked)
    out = left_out(p)
    assert (out is None) == all(a.runs for a in p.assessments)
    assert not {a.candidate.id for a, _ in ranked if a.runs} & {f.model for f in (out.findings if out else ())}


def test_what_does_not_run_is_one_sentence() -> None:
    p = plan(hardware="cpu:2c+8g")
    out = left_out(p)
    assert out is not None
    count = sum(not a.runs for a in p.assessments)
    assert count > 3
    assert f"and {count - 3} more" in out.text
    assert out.text in " ".join(" ".join(printed(p)).split())


def test_with_too_many_users_the_number_that_fits_is_said() -> None:
    p = plan("qwen3.5", "scout", hardware="8xh100", users=2000)
    text = " ".join(" ".join(printed(p)).split())
    fits = p.assessments[0].fewer_users
    assert fits is not None
    most, type_ = fits
    assert f"{most:,} users at once would fit, in {type_}" in text
    assert plan("qwen3.5", hardware="8xh100", users=most, quant=type_).assessments[0].runs
    assert not plan("qwen3.5", hardware="8xh100", users=most + 1, quant=type_).assessments[0].runs


def test_a_type_that_does_not_fit_names_one_that_does() -> None:
    (problem,) = plan("scout", hardware="rtx-3090+64g", quant="FP8").assessments[0].problems
    assert problem.endswith("too much (Q4_K_M would fit)")
    (problem,) = plan("scout", hardware="rtx-3090+64g", quant="BF16").assessments[0].problems
    assert problem.endswith("tokens/s is below the required 3 (Q4_K_M would fit into memory)")
    assert plan("scout", hardware="rtx-3090+64g", quant="Q4_K_M").assessments[0].runs
    assert "would fit" not in " ".join(plan("scout", hardware="cpu:1c+4g", quant="BF16").assessments[0].problems)


def test_a_licence_that_does_not_cover_the_user_leaves_no_reason() -> None:
    c = compare(plan(QWEN, SCOUT, hardware="8xh100", eu=True), QWEN, SCOUT)
    assert [s.text for s in c.choose_right] == ["Nothing, for you: the Llama 4 Community License does not cover you."]
    (first, *_), changes = recommend(c.plan).sentences, recommend(c.plan).changes
    assert first.text.startswith("Run Qwen3.5-397B-A17B")
    assert "Llama 4 Scout is held back" in first.text
    assert any("--end-user" in s.text for s in changes)
    exempt = compare(plan(QWEN, SCOUT, hardware="8xh100", eu=True, end_user=True), QWEN, SCOUT)
    assert any("costs less on output" in s.text for s in exempt.choose_right)


def test_explain_shows_the_formula_of_the_recommended_model() -> None:
    shown = plan("scout", hardware="8xh100")
    assert not any("GB/s =" in line for line in printed(shown, 200))
    assert any("GB/s =" in line for line in printed(shown, 200, explain=True))


@pytest.mark.parametrize("seed", range(0, 200, 25))
def test_the_verdict_alone_is_two_sentences_of_the_report(seed: int) -> None:
    shown = output(seed)
    out = io.StringIO()
    verdict(shown, Console(file=out, width=10_000, no_color=True))
    lines = out.getvalue().splitlines()
    assert 1 <= len(lines) <= 2
    assert set(lines) <= {s.text for s in sentences(shown)}
