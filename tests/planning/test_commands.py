"""Suggested commands use only flags, parsers and keys that the engines list.

vLLM 0.32.0: engine/arg_utils.py, entrypoints/launchers/cli_args.py, tool_parsers/ and reasoning/, read on 25 November
2026. llama-server: its README's list of arguments, ggml-org/llama.cpp at 00dc8057ab28, read on the same day.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from functools import cache

import pytest
from typer.main import get_command

from shoestring.catalogue.load import builtin_catalogue
from shoestring.cli.app import app
from shoestring.planning.assess import Assessment, Question, assess
from shoestring.planning.candidates.candidates import from_row
from shoestring.planning.candidates.formats import TYPES
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.hardware.parse import parse_hardware
from shoestring.planning.memory import context_limit

CATALOGUE = builtin_catalogue()

#: flag → pattern of its value; "" for a switch
VLLM = {
    "--tensor-parallel-size": "count", "--pipeline-parallel-size": "count", "--max-model-len": "count",
    "--max-num-seqs": "count", "--reasoning-parser": "parser", "--tool-call-parser": "parser",
    "--enable-auto-tool-choice": "", "--enable-expert-parallel": "",
    "--hf-overrides": "json", "--override-generation-config": "json",
}  # fmt: skip
PARSERS = {"qwen3", "qwen3_coder", "llama4_pythonic"}
LLAMA_SERVER = {
    "-hf": "text", "-m": "text", "-c": "count", "-np": "count", "-ngl": "count", "-ncmoe": "count", "--jinja": "",
    "--rope-scaling": "text", "--rope-scale": "count", "--yarn-orig-ctx": "count", "-ctk": "text", "-ctv": "text",
}  # fmt: skip
MLX = {"mlx_lm.chat": {"--model": "text"}, "mlx_lm.server": {"--model": "text"}}
#: other engines: what their command may say after the program
OTHERS = {
    "ik_llama.cpp": {"-hf": "text", "-c": "count", "-fa": "", "-rtr": "", "-ngl": "count", "--n-cpu-moe": "count"},
    "ktransformers": {
        "-m": "text", "--model": "text", "--kt-weight-path": "text", "--kt-cpuinfer": "count",
        "--kt-num-gpu-experts": "count", "--kt-method": "text", "--tensor-parallel-size": "count",
    },
}  # fmt: skip
MACHINES = (
    "8xh100", "6xh100", "2xa100", "rtx-5090+128g", "3xrtx-4090+256g", "mac-m3-ultra-512g", "cpu:64c-12ch-ddr5+512g",
    "cpu:8c-2ch-ddr5+32g+nvme4",
)  # fmt: skip


@cache
def assessed() -> tuple[tuple[Hardware, Assessment], ...]:
    found = []
    for hardware in MACHINES:
        machine = parse_hardware(hardware, CATALOGUE)
        for row in CATALOGUE.models.values():
            candidate = from_row(row)
            for context, users in ((8192, 4), (min(1_000_000, context_limit(candidate)), 1)):
                found.append((machine, assess(candidate, machine, Question(context=context, users=users), CATALOGUE)))
    return tuple(found)


def words_of(line: str) -> list[str]:
    """The words of a command line, without environment variables."""
    return [word for word in shlex.split(line) if not re.fullmatch(r"VLLM_ALLOW_LONG_MAX_MODEL_LEN=1", word)]


def check(words: list[str], known: dict[str, str]) -> None:
    rest = iter(words)
    for word in rest:
        assert word in known, (word, words)
        kind = known[word]
        value = next(rest) if kind else ""
        if kind == "count":
            assert int(value) >= 0
        elif kind == "parser":
            assert value in PARSERS
        elif kind == "json":
            assert isinstance(json.loads(value), dict)


def test_engines_know_every_flag() -> None:
    engines = set()
    for _, a in assessed():
        for line in a.command.lines:
            program, *words = words_of(line)
            engines.add(program)
            if program == "vllm":
                assert words[0] == "serve"
                check(words[2:], VLLM)
            elif program == "llama-server":
                check(words, LLAMA_SERVER)
            elif program in MLX:
                check(words, MLX[program])
            else:
                assert program == "shoestring"
                command = get_command(app).commands.get(words[0])  # type: ignore[attr-defined]
                if command is not None:
                    flags = {option for parameter in command.params for option in parameter.opts}
                    assert {word for word in words if word.startswith("-")} <= flags, line
    assert engines == {"vllm", "llama-server", "shoestring", *MLX}


def test_other_engines_have_their_commands() -> None:
    engines = set()
    for machine, a in assessed():
        for engine, line in a.command.others:
            engines.add(engine)
            row, words = CATALOGUE.engines[engine], shlex.split(line)
            assert a.candidate.config.family in row.families
            assert engine == "ktransformers" or a.need.sizes.type in row.formats or engine in ("ollama", "lm-studio")
            assert engine != "ktransformers" or machine.gpu is not None
            if engine == "llama.cpp":
                assert a.placement.streamed is not None
                check(words[1:], LLAMA_SERVER)
            elif engine in OTHERS:
                check(words[1:], OTHERS[engine])
            else:
                assert words[:2] == {"ollama": ["ollama", "run"], "lm-studio": ["lms", "get"]}[engine]
                assert len(words) == 3
    assert engines == {"llama.cpp", "ik_llama.cpp", "ollama", "lm-studio", "ktransformers"}


@pytest.mark.parametrize(("model", "repository"), [
    ("qwen3.5-35b-a3b", "mlx-community/Qwen3.5-35B-A3B-4bit"),
    ("llama-4-scout", "mlx-community/Llama-4-Scout-17B-16E-Instruct-4bit"),
])  # fmt: skip
def test_a_mac_runs_mlx(model: str, repository: str) -> None:
    a = assess(from_row(CATALOGUE.models[model]), parse_hardware("mac-m5-max-128g", CATALOGUE), Question(), CATALOGUE)
    assert a.command.lines[-1] == f"mlx_lm.server --model {repository}"
    assert a.need.sizes.type == "MLX-4bit"
    asked = Question(type="Q4_K_M")
    b = assess(from_row(CATALOGUE.models[model]), parse_hardware("mac-m5-max-128g", CATALOGUE), asked, CATALOGUE)
    assert b.command.engine == "llama.cpp"


def test_vllm_uses_every_gpu_and_llama_server_every_layer() -> None:
    for machine, a in assessed():
        for line in a.command.lines:
            words = words_of(line)
            if words[0] == "vllm":
                product = int(words[words.index("--tensor-parallel-size") + 1])
                if "--pipeline-parallel-size" in words:
                    product *= int(words[words.index("--pipeline-parallel-size") + 1])
                assert product == machine.gpus
            if words[0] == "llama-server" and "-ncmoe" in words:
                assert 0 < int(words[words.index("-ncmoe") + 1]) <= a.candidate.config.num_hidden_layers


def test_yarn_goes_into_a_text_models_config() -> None:
    machine = parse_hardware("16xb300", CATALOGUE)
    question = Question(context=1_000_000)
    flat, nested = (
        next(
            json.loads(word)
            for word in shlex.split(
                assess(from_row(CATALOGUE.models[id]), machine, question, CATALOGUE).command.lines[0]
            )
            if word.startswith("{")
        )
        for id in ("qwen3.8-2.4t-a95b", "qwen3.5-397b-a17b")
    )
    assert set(flat) == {"rope_parameters"}
    assert "mrope_section" not in flat["rope_parameters"]
    assert set(nested) == {"text_config"}
    assert nested["text_config"]["rope_parameters"]["mrope_section"] == [11, 11, 10]
    assert flat["rope_parameters"]["factor"] == nested["text_config"]["rope_parameters"]["factor"] == 4.0


@pytest.mark.parametrize("type_", TYPES)
def test_every_type_has_a_repository(type_: str) -> None:
    machine = parse_hardware("16xb300", CATALOGUE)
    for row in CATALOGUE.models.values():
        a = assess(from_row(row), machine, Question(type=type_), CATALOGUE)
        for line in a.command.lines:
            where = words_of(line)[2]
            assert where.count("/") == 1
            assert (":" in where) == line.startswith("llama-server")


def test_images_need_an_engine_that_reads_them() -> None:
    machine = parse_hardware("cpu:16c-4ch-ddr5+64g", CATALOGUE)
    candidate = from_row(CATALOGUE.models["qwen3.5-9b"])
    blind = replace(CATALOGUE.engines["shoestring"], modalities=("text",))
    for engine, images in ((CATALOGUE.engines["shoestring"], "shoestring"), (blind, "llama.cpp")):
        rows = replace(CATALOGUE, engines={**CATALOGUE.engines, "shoestring": engine})
        found = [assess(candidate, machine, Question(use=use), rows).command for use in ("code", "multimodal")]
        assert [command.engine for command in found] == ["shoestring", images]
    assert "images" in found[1].reason
