"""Agents read long prompts: the context, the time to the first token and SWE-bench count."""

from __future__ import annotations

import pytest

from shoestring.planning.advice.details import details
from shoestring.planning.plan import plan


@pytest.mark.parametrize("hardware", ["8xh100", "rtx-4090+128g", "cpu:64c-12ch-ddr5+256g", "mac-m5-max-128g"])
def test_the_printed_command_has_the_context(hardware: str) -> None:
    p = plan("qwen3.5:35b-a3b", use="agents", hardware=hardware)
    assert p.question.context == 65_536
    (a,) = p.assessments
    assert a.need.context == 65_536
    if a.command.engine == "mlx":  # has no option for the context: its memory grows with it
        (a,) = plan("qwen3.5:35b-a3b", use="agents", hardware=hardware, quant="Q4_K_M").assessments
    assert "65536" in a.command.lines[-1]
    assert plan("qwen3.5:35b-a3b", use="agents", hardware=hardware, context=4096).question.context == 4096
    assert plan("qwen3.5:35b-a3b", use="code", hardware=hardware).question.context == 8192


def test_a_step_is_reading_and_writing() -> None:
    p = plan("qwen3.5:35b-a3b", use="agents", hardware="rtx-4090+128g")
    (a,) = p.assessments
    assert a.step is not None
    assert a.speed.prefill is not None
    assert a.speed.decode is not None
    assert a.step.reading == pytest.approx(20_000 / a.speed.prefill)
    assert a.step.writing == pytest.approx(500 / a.speed.decode)
    (said,) = [s for s in details(p, a) if "until the first token" in s.text]
    assert f"{a.step.reading + a.step.writing:,.1f} s" in said.text
    assert plan("qwen3.5:35b-a3b", use="code", hardware="rtx-4090+128g").assessments[0].step is None


def test_slow_reading_is_a_reservation_though_writing_is_fast() -> None:
    hardware = "cpu:6c-8ch-ddr5+128g"
    (coder,) = plan("qwen3.5:35b-a3b", use="code", hardware=hardware, context=65_536).assessments
    (agent,) = plan("qwen3.5:35b-a3b", use="agents", hardware=hardware).assessments
    assert coder.suits
    assert not agent.suits
    assert agent.speed.decode is not None
    assert agent.speed.decode > 3
    assert any("reading 20,000 new tokens takes" in problem for problem in agent.problems)


def test_swe_bench_counts() -> None:
    verdict = plan("qwen3.6:27b", "qwen3.6:35b-a3b", use="agents", hardware="8xh100").verdicts[0]
    assert "SWE-bench Verified 77.2 to 73.4" in verdict.line.text
