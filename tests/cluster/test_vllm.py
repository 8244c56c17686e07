"""vLLM on the CPU behind our front door: small random models of both families with real head sizes.

`make cluster` runs it where vLLM is installed. Every test starts it as users do, with `serve FOLDER --on vllm`.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

if importlib.util.find_spec("vllm") is None:
    pytest.skip("vLLM is not installed", allow_module_level=True)

from vllm_checks import arguments, check_apis, check_tokens, front_door, written


@pytest.fixture(scope="module", params=["qwen3_5", "llama4"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(request.param, tmp_path_factory.mktemp("models"))


def served(folder: Path, *more: str) -> AbstractContextManager[str]:
    """The address of the front door before vLLM with this model."""
    options = ("--on", "vllm", "--vllm-python", sys.executable)
    return front_door(folder.parent / "serve.log", str(folder), *options, *arguments(folder, *more))


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with served(folder) as url:
        yield url


def test_chat_stream_tools_and_schema_on_our_apis(url: str, folder: Path) -> None:
    check_apis(url, folder)


def test_its_likeliest_token_is_ours_where_ours_is_clear(url: str, folder: Path) -> None:
    check_tokens(url, folder)


def test_tensor_parallel_gives_the_same(folder: Path) -> None:
    with served(folder, "--tensor-parallel-size=2") as url:
        check_tokens(url, folder, rows=12)
