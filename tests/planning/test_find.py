"""Machines that --find-hardware finds, and several machines in one table."""

from __future__ import annotations

import json
import re
import shlex
import time
from typing import Any

import pytest
from typer.testing import CliRunner

from shoestring.catalogue.load import builtin_catalogue
from shoestring.cli.app import app
from shoestring.errors import RequestError
from shoestring.planning.assess import FEWEST_BITS, Question, assess
from shoestring.planning.candidates.formats import bits
from shoestring.planning.candidates.resolve import resolve
from shoestring.planning.cost import Money
from shoestring.planning.find import Found, find_hardware, specifications
from shoestring.planning.hardware.parse import parse_hardware

CATALOGUE = builtin_catalogue()
FLAGSHIPS = {row.id for row in CATALOGUE.models.values() if row.flagship}


def sizes(found: tuple[Found, ...]) -> dict[str, int]:
    return {one.candidate.id: one.smallest.memory_bytes if one.smallest else 2**60 for one in found}


@pytest.fixture(scope="module")
def usual() -> tuple[Found, ...]:
    return find_hardware((), Question(min_speed=10), CATALOGUE)


def test_each_flagship_has_its_machines(usual: tuple[Found, ...]) -> None:
    assert {one.candidate.id for one in usual} == FLAGSHIPS
    for one in usual:
        assert one.enough <= one.tried
        for machine in (one.smallest, one.cheapest):
            assert machine is not None
            asked = Question(min_speed=10, type=machine.need.sizes.type)
            a = assess(one.candidate, parse_hardware(machine.hardware, CATALOGUE), asked, CATALOGUE)
            assert a.suits, a.problems
            assert a.speed.decode == machine.speed.decode
            assert bits(machine.need.sizes.type) >= FEWEST_BITS
        assert one.smallest.memory_bytes <= one.cheapest.memory_bytes  # type: ignore[union-attr]
        assert one.cheapest.usd_per_hour is not None  # type: ignore[union-attr]


def test_more_is_never_found_smaller(usual: tuple[Found, ...]) -> None:
    before = sizes(usual)
    for question in (
        Question(min_speed=40),
        Question(min_speed=10, context=131_072),
        Question(min_speed=10, users=16),
        Question(min_speed=10, type="Q8_0"),
    ):
        after = sizes(find_hardware((), question, CATALOGUE))
        assert all(after[id] >= before[id] for id in before), question


def test_nothing_is_found_for_the_impossible() -> None:
    (one,) = find_hardware((resolve("scout", CATALOGUE),), Question(min_speed=1e6), CATALOGUE)
    assert (one.smallest, one.cheapest, one.enough) == (None, None, 0)


def test_every_machine_is_one_that_hardware_takes() -> None:
    names = list(specifications(CATALOGUE))
    assert len(names) == len(set(names)) > 1000
    for name in names[::37]:
        assert parse_hardware(name, CATALOGUE).name == name


def test_it_takes_seconds() -> None:
    begin = time.process_time()
    find_hardware((), Question(min_speed=10), CATALOGUE)
    assert time.process_time() - begin < 5


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["plan", *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_commands() -> None:
    text = run("--find-hardware", "--min-speed", "10")
    assert text.count("Smallest: ") == text.count("Cheapest: ") == 2
    found = json.loads(run("qwen3.5:35b-a3b", "--find-hardware", "--json"))
    assert found["schema"] == "shoestring.found"
    assert [m["id"] for m in found["models"]] == ["qwen3.5-35b-a3b"]
    table = run("scout", "--hardware", "rtx3090+64g", "--hardware", "mac studio 128")
    assert "rtx3090+64g" in table
    assert "mac studio 128" in table
    several = json.loads(run("scout", "--hardware", "h100", "--hardware", "8xh100", "--json"))
    assert [m["hardware"]["name"] for m in several["machines"]] == ["h100", "8xh100"]
    assert "or with ollama: ollama run" in run("scout", "--hardware", "rtx3090+64g", "--all")
    assert "none runs" not in run("--hardware", "h100", "--hardware", "8xh100")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compare", "scout", "qwen3.5", "--hardware", "h100", "--hardware", "h200"], "given once"),
        (["plan", "--hardware", "h100", "--hardware", "h200", "--html", "x.html", "--json"], "cannot be combined"),
        (["plan", "--find-hardware", "--html", "x.html", "--json"], "cannot be combined"),
        (["plan", "--find-hardware", "--hardware", "h100"], "takes no --hardware"),
    ],
)
def test_refusals(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, RequestError)
    assert said in str(result.exception)


SHOWN = [(("scout",), ["rtx3090+64g", "mac studio 128"]), ((), ["h100", "cpu:4c+8g", "gpu:24g@936+64g"])]


def unrecorded(text: str, claims: list[dict[str, Any]]) -> list[str]:
    """Lines with a sentence that no claim states."""
    left = re.sub(r"\s+", " ", text)
    for claim in sorted(claims, key=lambda claim: -len(claim["text"])):
        assert claim["findings"], claim
        assert all(f["figure"] in claim["text"] for f in claim["findings"])
        left = left.replace(re.sub(r"\s+", " ", claim["text"]), "")
    return re.findall(r"[a-z]{3,} [a-z]{2,}[^.]*[a-z]\.(?:\s|$)", left)


@pytest.mark.parametrize(("models", "hardware"), SHOWN)
def test_every_sentence_on_several_machines_has_a_record(models: tuple[str, ...], hardware: list[str]) -> None:
    words = [*models, *(word for name in hardware for word in ("--hardware", name))]
    found = json.loads(run(*words, "--json"))
    text = run(*words)
    assert unrecorded(text, found["claims"]) == []
    assert unrecorded(text, found["claims"][:1])
    hours = [f["subject"] for claim in found["claims"] for f in claim["findings"] if f["subject"].startswith("an hour")]
    assert hours == [f"an hour of {name}" for name in hardware]


def test_the_printed_command_plans_for_the_same_question() -> None:
    text = run("scout", "--find-hardware", "--for", "agents", "--users", "2", "--min-speed", "12")
    (line,) = [line.strip() for line in text.splitlines() if line.strip().startswith("shoestring plan ")]
    (model,) = json.loads(run(*shlex.split(line)[2:], "--json"))["models"]
    assert (model["context"], model["users"], model["problems"]) == (65_536, 2, [])


@pytest.mark.parametrize("words", [("--min-speed", "10"), ("scout", "--min-speed", "1e6"), ("--for", "agents")])
def test_every_sentence_on_found_machines_has_a_record(words: tuple[str, ...]) -> None:
    found = json.loads(run("--find-hardware", *words, "--json"))
    text = run("--find-hardware", *words)
    assert unrecorded(text, found["claims"]) == []
    assert unrecorded(text, [])


def test_found_machines_suit_the_use_and_the_budget() -> None:
    """An agent's whole step must be fast enough, and the machine within the budget, as for plan."""
    scout = resolve("scout", CATALOGUE)
    for question in (
        Question(use="agents", context=65_536, min_speed=20),
        Question(min_speed=10, money=Money(budget_usd_month=2000.0)),
    ):
        (one,) = find_hardware((scout,), question, CATALOGUE)
        (any_,) = find_hardware((scout,), Question(context=question.context, min_speed=question.min_speed), CATALOGUE)
        assert one.enough < any_.enough
        assert one.smallest is not None
        a = assess(scout, parse_hardware(one.smallest.hardware, CATALOGUE), question, CATALOGUE)
        assert a.suits, a.problems
