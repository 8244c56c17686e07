"""The one law in any floating-point mode of the caller. All comparisons use ==."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import caller_modes
import numpy as np
import pytest
import random_models
from caller_modes import MODES, caller_mode, computed, current

from shoestring import ops
from shoestring.models.constants import divided, inverse_square_root
from shoestring.ops.sampling import Sampling
from shoestring.samples.synthetic import write_synthetic

#: 1 / sqrt of 64 and 256 is exact; 1 / sqrt(128) is rounded.
HEAD_SIZES = (64, 128, 256)
FAMILIES = ("qwen3_5", "llama4")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    files = []
    for family in FAMILIES:
        for size in HEAD_SIZES:
            config: random_models.Config = random_models.qwen3_5() if family == "qwen3_5" else random_models.llama4()
            rotary = replace(config.rotary, dims=size if family == "llama4" else size // 2)
            if family == "qwen3_5":
                rotary = replace(rotary, sections=(size // 4 - 10, 5, 5))
            else:
                config = replace(config, floor_scale=64, attention_chunk_size=96)
            kind = "F16" if size == 64 else "Q4_K"
            files.append(folder / f"{family}-{size}.gguf")
            write_synthetic(replace(config, head_dim=size, rotary=rotary), files[-1], kind, seed=size)
    return files


@pytest.fixture(scope="module")
def alone(files: list[Path]) -> list[str]:
    return [computed(path) for path in files]


@pytest.mark.parametrize("mode", MODES)
def test_no_mode_of_the_caller_changes_a_bit(mode: str, files: list[Path], alone: list[str]) -> None:
    with caller_mode(mode):
        found = [computed(path) for path in files]
        after = current()
    assert found == alone
    assert after == mode, "the caller's mode was not restored"
    assert current() == "nearest"


@pytest.mark.parametrize("mode", MODES)
def test_no_mode_at_import_changes_a_bit(mode: str, files: list[Path], alone: list[str], tmp_path: Path) -> None:
    """The constants of the source are compiled in that mode too."""
    program = [sys.executable, str(Path(caller_modes.__file__)), mode, str(tmp_path / "bytecode"), *map(str, files)]
    run = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == alone


def constants() -> tuple[object, ...]:
    """Numbers that loading computes in Python and numpy."""
    halves = np.array([0.1, 0.3], np.float32).tobytes()
    return inverse_square_root(96), float("1e-6"), divided(ops.rope_frequencies(64, 1e7), (1.7,) * 32).tobytes(), halves


def test_arithmetic_is_guarded_where_the_modes_matter() -> None:
    expected = constants()
    unguarded = set()
    for mode in MODES:
        with caller_mode(mode):
            assert current() == mode
            unguarded.add(constants())
            with ops.standard_arithmetic():
                guarded = constants()
        assert guarded == expected
    assert len(unguarded - {expected}) >= 2, "no mode changes these numbers: the test proves nothing"


RANDOM = np.random.default_rng(1).standard_normal((3, 3, 2, 128), np.float32)


def kernels(scale: float) -> bytes:
    """Kernels whose float64 arguments are rounded to float32."""
    ws = ops.Workspace()
    q, k, v = RANDOM
    pages, zeros = np.empty((2, 1, 2, 128, 64), np.float32), np.zeros(3, np.int64)
    place = np.zeros((1, 1), np.int32), zeros[:1], np.array([0, 3], np.int32), np.arange(3)
    past = ops.Past(pages[0], pages[1].reshape(1, 2, 64, 128), *place, zeros)
    ops.store_keys_values(past, k, v)
    attended = ops.attention(ws, q, past, scale).tobytes()
    sampling = Sampling(temperature=0.7, presence_penalty=0.3, repetition_penalty=1.1, seed=3, logprobs=4)
    drawn = ops.sample(q[0, 0], sampling, [1, 2, 3], prompt_length=1, index=0, vocabulary_size=128)
    return attended + repr(drawn).encode()


def test_kernels_guard_themselves() -> None:
    scale = inverse_square_root(128)
    expected = kernels(scale)
    for mode in MODES:
        with caller_mode(mode):
            found = kernels(scale)
        assert found == expected, mode
