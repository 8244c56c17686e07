"""Commands with less memory than a model needs: the answers of the resident model, what they print, and refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import random_checkpoints
from commands import failed

from shoestring.cli.app import run
from shoestring.cli.find import find
from shoestring.cli.models import demo
from shoestring.planning.measured import folder
from shoestring.runtime import loading
from shoestring.runtime.loading import least_memory
from shoestring.runtime.opening import open_model
from shoestring.sizes import bytes_of

NAME = "demo-llama4"
QUESTION = ["run", NAME, "Once upon a time", "-n", "20", "--temperature", "0", "--json"]
#: Of the experts' 95 MiB
SOME = 45 << 20
STARTS = re.compile(
    r"streams experts: \d+ of 120 in memory \(\d+ %\), context [\d,]+, passes of [\d,]+ rows; "
    r"about [\d.]+ tokens/s predicted\n"
    r"  hit rate \d+ % \(one expert a token: the share in memory\), disk [\d.]+ GB/s \(probed now\)\n"
)


@pytest.fixture(autouse=True)
def _same_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget is meant for what this process has when it is computed; the process may give memory back meanwhile."""
    own = loading.own_memory()
    monkeypatch.setattr(loading, "own_memory", lambda: own)


def budget(more: int = SOME) -> list[str]:
    """--memory for some of the experts. This process has more memory than a command's."""
    least = least_memory(open_model(find(NAME)))
    assert least is not None
    return ["--memory", str(least + more)]


def facts(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> tuple[dict[str, Any], str]:
    """The JSON that a command prints, and its stderr."""
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    found: dict[str, Any] = json.loads(out)
    return found, err


def test_run_gives_the_resident_answer(capsys: pytest.CaptureFixture[str]) -> None:
    resident, silent = facts(capsys, QUESTION)
    streamed, err = facts(capsys, [*QUESTION, *budget()])
    assert silent == ""
    assert STARTS.fullmatch(err)
    assert streamed["tokens"] == resident["tokens"]
    assert len(streamed["tokens"]) == 20
    assert "streaming" not in resident
    assert 0 < streamed["streaming"]["hit_rate"] < 1
    assert streamed["streaming"]["bytes_per_token"] > 0
    assert "changed_experts" not in streamed


def test_run_says_what_was_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*QUESTION[:-1], *budget()]) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(
        r"\[experts: \d+ % in memory, [\d.]+ MB read a token at [\d.]+ of [\d.]+ GB/s, \d+ % of the limit, "
        r"bound by [a-z ]+; \+\d+ MB → [+-][\d.]+ tokens/s, estimated\]",
        last,
    )


def test_chat_says_it_beside_the_rate(typed: Callable[[str | bytes], None], capsys: pytest.CaptureFixture[str]) -> None:
    typed("hi\n")
    assert run(["chat", NAME, "-n", "8", "--temperature", "0", *budget()]) == 0
    err = capsys.readouterr().err
    assert STARTS.match(err)
    assert re.search(r"tokens/s; experts: \d+ % in memory, .* of the limit", err)


def test_bench(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", NAME, "-p", "20", "-g", "6", "-r", "1", *budget()]
    found, err = facts(capsys, [*command, "--json"])
    assert STARTS.match(err)
    streaming = found["streaming"]
    assert streaming["experts"] == 120
    assert streaming["slots"] / 120 == streaming["share"]
    assert streaming["slowest_layer_seconds"] > 0
    assert streaming["line"].startswith(f"experts: {100 * streaming['hit_rate']:.0f} % in memory")
    assert not [*folder().glob("*demo-llama4*")], "plan would read it as the rate in memory"
    assert run(command) == 0
    assert "\nexperts: " in capsys.readouterr().out


def test_perplexity_is_the_resident_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Windows share passes; their logits are the same."""
    text = tmp_path / "text"
    text.write_text(" ".join(f"The number {n} follows {n - 1}, and so on." for n in range(1, 120)))
    command = ["perplexity", NAME, "-f", str(text), "-c", "64", "--json"]
    resident, _ = facts(capsys, command)
    streamed, err = facts(capsys, [*command, *budget()])
    numbers = streamed.pop("streaming")
    assert streamed == resident
    assert resident["windows"] > 20
    assert numbers["hit_rate"] < 1
    assert STARTS.match(err)
    changed, err = facts(capsys, [*command, "--experts-per-token", "2"])
    assert changed["changed_experts"] == "2 experts a token instead of 1"
    assert changed["perplexity"] > resident["perplexity"]
    assert changed["own"] == {key: resident[key] for key in ("perplexity", "standard_error")}
    assert "own" not in resident
    assert "uses 2 experts a token instead of 1: the answers are not those" in err
    assert run([*command[:-1], "--experts-per-token", "2"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"perplexity {changed['perplexity']:.4f} ±")
    assert second.startswith(f"perplexity {resident['perplexity']:.4f} ±")
    more = 100 * (changed["perplexity"] / resident["perplexity"] - 1)
    assert second.endswith(f"with the model's own number of experts a token: 2 change it by +{more:.2f} %")


def test_another_number_of_experts_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    own, _ = facts(capsys, [*QUESTION, "--experts-per-token", "1"])
    assert "changed_experts" not in own
    resident, err = facts(capsys, [*QUESTION, "--experts-per-token", "2"])
    streamed, _ = facts(capsys, [*QUESTION, "--experts-per-token", "2", *budget()])
    assert err.count("2 experts a token instead of 1") == 1
    assert resident["changed_experts"] == streamed["changed_experts"] == "2 experts a token instead of 1"
    assert own["tokens"] != resident["tokens"] == streamed["tokens"]
    bench = ["bench", NAME, "-p", "4", "-g", "2", "-r", "1", "--experts-per-token", "2", "--json"]
    assert facts(capsys, bench)[0]["changed_experts"] == "2 experts a token instead of 1"
    assert not [*folder().glob("*demo-llama4*")], "plan would read it as the model's own rate"


@pytest.mark.parametrize("value", ["0", "-1", "5", "1e1", "many", ""])
def test_wrong_numbers_of_experts(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*QUESTION, f"--experts-per-token={value}"]) == 2
    assert "--experts-per-token" in failed(capsys)


@pytest.mark.parametrize("option", [["--experts-per-token", "2"], ["--record-routes", "routes"]])
def test_experts_of_what_has_none(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dense = random_checkpoints.write("qwen3_5-dense", "Q4_0", tmp_path / "dense.gguf")
    for model, more in ((str(dense), []), ("demo-scripted", []), (NAME, ["--reference"])):
        assert run(["run", model, "hi", *option, *more]) == 2
        assert option[0] in failed(capsys)
    assert not (tmp_path / "routes").exists()


def test_a_dense_model_that_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dense = random_checkpoints.write("qwen3_5-dense", "Q4_0", tmp_path / "dense.gguf")
    assert run(["run", str(dense), "hi", "--memory", "40MB"]) == 2
    assert "Only experts can stay on disk, and this model is dense" in failed(capsys)
    assert run(["inspect", str(dense)]) == 0
    assert "all of it must fit: only experts can stay on disk" in capsys.readouterr().out


def test_the_least_memory_is_named_and_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*QUESTION, "--memory", "100MB"]) == 2
    named = re.search(r"so --memory of at least ([\d.]+ \wiB), and --memory leaves", failed(capsys))
    assert named
    assert bytes_of(named[1], "") == pytest.approx(int(budget(0)[1]), abs=16 << 20)
    found, err = facts(capsys, [*QUESTION, *budget(4 << 20)])
    assert re.match(r"streams experts: \d of 120", err)
    assert len(found["tokens"]) == 20


def test_routes_are_recorded_replayed_and_predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    routes = tmp_path / "routes"
    # In a process of its own: the end of the program writes the routes.
    import subprocess

    from commands import PYTHON

    subprocess.run([*PYTHON, *QUESTION, "--record-routes", str(routes)], check=True, capture_output=True)
    replayed, _ = facts(capsys, ["bench", "--replay", str(routes), "--json"])
    assert (replayed["experts"], replayed["tokens"]) == (120, 4 - 1 + 20)
    inspected, _ = facts(capsys, ["inspect", NAME, *budget(), "--routes", str(routes), "--json"])
    streaming = inspected["streaming"]
    assert streaming["hit_rate_source"] == "routes recorded of demo-llama4-r1.gguf"
    rates = sorted((row["share"], row["frequency"]) for row in replayed["sizes"])
    assert rates[0][1] <= streaming["hit_rate"] <= rates[-1][1]


def test_wrong_routes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("text")
    for file, why in (("text", "other contents"), ("none/routes", "cannot write"), ("", "folder")):
        assert run([*QUESTION, "--record-routes", str(tmp_path / file)]) == 2
        assert why in failed(capsys)
    assert (tmp_path / "text").read_text() == "text"
    for file, why in (("text", "no recorded routes"), ("none", "does not exist")):
        assert run(["inspect", NAME, *budget(), "--routes", str(tmp_path / file)]) == 2
        assert why in failed(capsys)
    assert run(["inspect", NAME, "--routes", "x"]) == 2
    assert "--routes needs --memory" in failed(capsys)


def test_routes_of_another_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    from shoestring.streaming.replay import equal_layers
    from shoestring.streaming.routes import RouteRecorder

    recorder = RouteRecorder(tmp_path / "routes", "another", equal_layers(30, 8), 1, [].append)
    recorder.record(0, np.zeros((1, 1), np.int32))
    recorder.save()
    assert run(["inspect", NAME, *budget(), "--routes", str(tmp_path / "routes")]) == 2
    assert "routes of another, a model of another shape" in failed(capsys)


def test_inspect_plans_a_budget(capsys: pytest.CaptureFixture[str]) -> None:
    plain, _ = facts(capsys, ["inspect", NAME, "--json"])
    assert plain["streaming"]["why_not"] is None
    assert plain["streaming"].keys() == {"least_bytes", "why_not"}
    planned, _ = facts(capsys, ["inspect", NAME, *budget(), "--json"])
    streaming = planned["streaming"]
    assert streaming["slots"] / streaming["experts"] == streaming["share"] == streaming["hit_rate"]
    assert streaming["tokens_per_second"] > 0
    assert sum(streaming["resident"].values()) <= streaming["memory"]
    assert run(["inspect", NAME, *budget()]) == 0
    text = capsys.readouterr().out
    assert re.search(r"  \d+ of 120 experts in memory \(\d+ %\), context \d+, passes of \d+ rows\n", text)
    assert "tokens/s predicted: hit rate" in text
    assert run(["inspect", NAME, "--memory", "5GiB"]) == 0
    assert "with --memory 5.00 GiB nothing streams" in capsys.readouterr().out
    assert run(["inspect", NAME, "--memory", "1MB"]) == 2
    assert "--memory of at least" in failed(capsys)


def test_doctor_shows_the_same_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", NAME, "--port", "0", *budget(), "--json"]) == 0
    model = json.loads(capsys.readouterr().out)["checks"][-1]
    assert re.search(r"experts [\d.]+ MiB, .*; streams \d+ of 120 in memory .* tokens/s predicted", model["text"])


def test_the_demo_ends_with_experts_on_disk(capfd: pytest.CaptureFixture[str]) -> None:
    demo.from_disk(NAME, None)
    lines = capfd.readouterr().out.splitlines()
    assert any(re.fullmatch(r"\$ shoestring run demo-llama4 'Once upon a time' .* --memory \d+MiB", x) for x in lines)
    assert any(line.startswith("streams experts: ") for line in lines)
    assert ", the city of Nova Haven was a thriving metropolis" in "\n".join(lines)
    assert re.match(r"\[experts: \d+ % in memory, ", lines[-1])
