"""`shoestring plan` and `compare` as programs: exit codes, one-line errors, no extension, no network, one second."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from machine_speed import slowness

import shoestring
from shoestring.cli.advise.plan import people
from shoestring.cli.app import run
from shoestring.errors import RequestError
from shoestring.planning.candidates.candidates import hub_names

#: an interpreter without the extension, torch and the network
ISOLATED = """
import socket, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        heavy = ("torch", "transformers", "huggingface_hub", "tokenizers")
        if name == "shoestring._kernels" or name.split(".")[0] in heavy:
            raise AssertionError(name + " was imported")
sys.meta_path.insert(0, Refuse())
def refuse(*a, **k): raise AssertionError("the network was asked")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from shoestring.cli.app import run
sys.exit(run(sys.argv[1:]))
"""


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    return subprocess.run(
        [sys.executable, "-c", ISOLATED, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan"],
        ["plan", "scout", "--for", "agents", "--explain"],
        ["plan", "--hardware", "8xh100", "--json"],
        ["compare", "qwen3.5:397b-a17b", "scout", "--for", "multimodal", "--eu", "--company-mau", "800M"],
        ["compare", "qwen3.5:35b-a3b", "qwen3.6:35b-a3b", "--hardware", "rtx-4090+64g", "--json"],
        ["plan", "--help"],
    ],
    ids=" ".join,
)
def test_answers_without_extension_network_or_torch(arguments: list[str]) -> None:
    done = program(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    if "--json" in arguments:
        json.loads(done.stdout)


@pytest.mark.parametrize("arguments", [["plan", "--hardware", "8xh100"], ["compare", "qwen3.5", "scout"]], ids=" ".join)
def test_answers_in_a_second(arguments: list[str]) -> None:
    """Uses CPU time, so that other load matters little; the best of three."""
    spent, before_all = [], slowness()
    for _ in range(3):
        before = os.times()
        began = time.perf_counter()
        assert program(*arguments).returncode == 0
        after = os.times()
        used = after.children_user - before.children_user + after.children_system - before.children_system
        spent.append(min(used, time.perf_counter() - began))
    assert min(spent) < 1.0 * max(before_all, slowness())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "scoutt"], "did you mean scout"),
        (["plan", "--hardware", "8xh1000"], "did you mean h100"),
        (["plan", "--for", "cod"], "did you mean code"),
        (["plan", "--for", "gaming"], "choose agents, code, multilingual"),
        (["plan", "--quant", "zzz"], "choose one of BF16, FP8"),
        (["plan", "--users", "many"], "--users is 'many': give a whole number"),
        (["plan", "--context", "0.3k"], "--context is '0.3k': give a number of tokens"),
        (["plan", "--context", "1,5k"], "--context is '1,5k': give a number of tokens"),
        (["plan", "--quant", "Q4_K_X"], "choose Q4_K"),
        (["plan", "scout", "--context", "20000000"], "reads at most 10485760 tokens"),
        (["plan", "--context", "0"], "--context is 0"),
        (["plan", "--users", "-3"], "--users is -3"),
        (["plan", "--min-speed", "-1"], "--min-speed is -1"),
        (["plan", "--budget-usd", "0"], "--budget-usd is 0"),
        (["plan", "--rent-usd-hour", "2", "--purchase-usd", "3"], "cannot be combined"),
        (["plan", "--utilisation", "30"], "--utilisation is 30: give a share from 0 to 1, which is 0.3"),
        (["plan", "--utilisation", "0"], "--utilisation above 0"),
        (["plan", "--owned", "--rent-usd-hour", "2"], "cannot be combined"),
        (["plan", "--provider", "deepinfr"], "did you mean deepinfra"),
        (["plan", "--region", "moon"], "known: cn, eu, sg, us"),
        (["plan", "--input-share", "2"], "which is 0.02"),
        (["plan", "--company-mau", "many"], "--company-mau is 'many'"),
        (["plan", "--prices", "nowhere.toml"], "nowhere.toml cannot be read (No such file"),
        (["plan", "--measured", "nowhere.json"], "nowhere.json cannot be read (No such file"),
        (["compare", "scout", "llama4:scout"], "scout and llama4:scout both mean Llama 4 Scout"),
        (["compare", "qwen3.5", "qwen"], "qwen3.5 and qwen both mean Qwen3.5-397B-A17B"),
        (["compare", "scout"], "Missing argument"),
        (["plan", "--json", "--html", "x.html"], "--html and --json cannot be combined"),
        (["plan", "--html", "no/such/folder/x.html"], "cannot write no/such/folder/x.html"),
        (["plan", "./nothing.gguf"], "neither in the catalogue nor a file"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_bad_input_is_one_line_and_exit_code_two(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_a_hub_name_without_a_network(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.request

    def unreachable(*arguments: object, **options: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    assert run(["plan", "someone/Qwen3.5-Tuned"]) == 2
    assert "cannot be reached" in capsys.readouterr().err


def test_a_report_is_written_atomically(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.html"
    assert run(["compare", "qwen3.5", "scout", "--hardware", "8xh100", "--html", str(path)]) == 0
    assert path.read_text(encoding="utf-8").endswith("</html>\n")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert str(path) in capsys.readouterr().out


def test_user_prices_change_the_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(
        '[[source]]\nid = "list"\ntitle = "our contract"\n'
        '[[price]]\nid = "mine"\nmodel = "qwen3.5-397b-a17b"\nprovider = "mine"\ninput_usd = 0.001\n'
        'output_usd = 0.001\nsource = "list"\ndate = 2026-11-01\nkind = "independent"\n',
        encoding="utf-8",
    )
    arguments = ["compare", "qwen3.5", "scout", "--for", "api", "--hardware", "8xh100", "--json"]
    assert run(arguments) == 0
    before = json.loads(capsys.readouterr().out)
    assert run([*arguments, "--prices", str(path)]) == 0
    after = json.loads(capsys.readouterr().out)
    assert before["verdicts"][0]["ranking"][0]["model"] == "llama-4-scout"
    assert after["verdicts"][0]["ranking"][0]["model"] == "qwen3.5-397b-a17b"
    assert any("mine" in s["rows"] for s in after["choose"][0])


def test_thousands_and_bits_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    """A context counts in steps of 1024, as model cards do; users do not."""
    asked = ["plan", "scout", "--hardware", "8xh100", "--json"]
    assert run([*asked, "--context", "64k", "--users", "2K", "--quant", "4 bits"]) == 0
    question = json.loads(capsys.readouterr().out)["question"]
    assert (question["context"], question["users"], question["type"]) == (65536, 2000, "Q4_K_M")
    assert run([*asked, "--context", "65_536", "--users", "2,000", "--quant", "8-bit"]) == 0
    question = json.loads(capsys.readouterr().out)["question"]
    assert (question["context"], question["users"], question["type"]) == (65536, 2000, "Q8_0")
    assert run([*asked, "--context", "1.5k", "--users", "1.5k"]) == 0  # as every command reads them
    question = json.loads(capsys.readouterr().out)["question"]
    assert (question["context"], question["users"]) == (1536, 1500)


def test_a_page_also_prints_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.html"
    assert run(["compare", "qwen3.5", "scout", "--hardware", "8xh100", "--html", str(path)]) == 0
    wrote, *verdict = capsys.readouterr().out.splitlines()
    assert wrote.startswith("wrote ")
    assert " ".join(verdict).startswith("Run Qwen3.5-397B-A17B, ")
    assert " ".join(verdict).count(". A million tokens ") == 1


def test_all_prints_what_the_short_form_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    for asked, left_out in ((["plan"], "Qwen3.8-2.4T-A95B"), (["compare", "qwen3.5", "scout"], "Tokens per language")):
        asked = [*asked, "--hardware", "rtx-3090+8g"]
        assert run(asked) == 0
        short = capsys.readouterr().out
        assert run([*asked, "--all"]) == 0
        everything = capsys.readouterr().out
        assert left_out not in short
        assert left_out in everything
        assert "--all" in short
        assert len(short) < len(everything) / 2


def test_user_counts_are_parsed() -> None:
    assert people(None) is None
    assert people("800M") == 800_000_000
    assert people("1.5b") == 1_500_000_000
    assert people("1M+3B") == 3_001_000_000
    assert people("250_000") == people("250,000") == people("250k") == 250_000
    with pytest.raises(RequestError, match=r"--company-mau is '1,5M': give a count like 800M, 250,000 or 1M\+3B"):
        people("1,5M")


def test_the_same_from_python() -> None:
    planned = shoestring.plan("scout", hardware="8xh100", use="code")
    assert planned.assessments[0].candidate.id == "llama-4-scout"
    assert callable(shoestring.plan)
    with pytest.raises(shoestring.errors.RequestError):  # type: ignore[attr-defined]
        shoestring.plan("nothing-like-it")


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("qwen3.5:397b-a17b", "unsloth/Qwen3.5-397B-A17B-GGUF:Q4_K_M"),
        ("scout", "unsloth/Llama-4-Scout-17B-16E-Instruct-GGUF:Q4_K_M"),
        ("Maverick", "unsloth/Llama-4-Maverick-17B-128E-Instruct-GGUF:Q4_K_M"),
    ],
)
def test_short_names_resolve_to_repositories(name: str, first: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert hub_names(name)[0] == first
    assert run(["inspect", name]) == 2
    assert f"shoestring pull {name}` to download {first}" in capsys.readouterr().err


def test_other_names_are_not_changed() -> None:
    assert hub_names("someone/scout") == hub_names("model.gguf") == hub_names("demo-llama4") == ()


def benched(monkeypatch: pytest.MonkeyPatch, file: Path, **facts: Any) -> int:
    """Run bench on a file, with these facts in place of a measurement."""
    from shoestring import ops
    from shoestring.cli.advise import bench
    from shoestring.runtime.loading import physical_cores

    usual = {"prefill_tokens_per_second": 90.0, "decode_tokens_per_second": 7.5, "samples": {}, "kv_type": "f16",
             "isa": ops.variants()[-1], "threads": physical_cores()}  # fmt: skip
    monkeypatch.setattr(bench, "measured", lambda name, *rest: {"model": name, **usual, **facts})
    file.write_bytes(b"")
    return run(["bench", str(file), "--json"])


def test_plan_uses_what_bench_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benched(monkeypatch, tmp_path / "Qwen3.5-0.8B-Q8_0.gguf") == 0
    assert capsys.readouterr().err == ""
    assert run(["plan", "qwen3.5:0.8b", "--quant", "Q8_0", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert any("qwen3.5-0.8b, Q8_0, 7.5 tokens/s" in note for note in planned["hardware"]["notes"])
    assert run(["plan", "qwen3.5:0.8b", "--quant", "Q8_0", "--hardware", "cpu:8c-2ch-ddr5+64g", "--json"]) == 0
    assert "7.5 tokens/s" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"changed_experts": "4 experts a token instead of 8"}, "4 experts a token"),
        ({"streaming": {"line": "experts"}}, "experts on disk"),
        ({"isa": "another"}, "the instructions of another"),
        ({"threads": 1000}, "--threads 1000"),
    ],
)
def test_plan_does_not_use_what_bench_measured_with_other_settings(
    facts: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert benched(monkeypatch, tmp_path / "Qwen3.5-0.8B-Q8_0.gguf", **facts) == 0
    err = capsys.readouterr().err
    assert "plan` does not use this: it was measured with" in err
    assert said in err
    assert run(["plan", "qwen3.5:0.8b", "--quant", "Q8_0", "--json"]) == 0
    assert "7.5 tokens/s" not in capsys.readouterr().out
