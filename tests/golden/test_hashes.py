"""The bits of this numerics version equal the committed hashes on every machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import golden_hashes
import pytest

from shoestring import ops

COMMITTED: dict[str, Any] = json.loads(golden_hashes.FILE.read_text())


def compare(name: str, computed: dict[str, Any]) -> None:
    expected = COMMITTED["hashes"][name]
    assert computed["weights"] == expected["weights"], (
        f"{name}: the random model itself has changed, not the arithmetic: "
        "restore its generator, or regenerate the hashes with tests/golden/golden_hashes.py"
    )
    for what, value in expected.items():
        assert computed[what] == value, (
            f"{name}: {what} differ from those of numerics version {ops.NUMERICS_VERSION}: "
            "an order of summation has changed (docs/numerics.md), or this machine computes wrongly"
        )


def test_the_hashes_are_of_this_numerics_version() -> None:
    assert COMMITTED["numerics_version"] == ops.NUMERICS_VERSION, (
        f"tests/golden/hashes.json is of numerics version {COMMITTED['numerics_version']}, the code of "
        f"{ops.NUMERICS_VERSION}: run tests/golden/golden_hashes.py and commit what it writes"
    )
    assert list(COMMITTED["hashes"]) == golden_hashes.names()
    logits = [value for computed in COMMITTED["hashes"].values() for key, value in computed.items() if "logits" in key]
    assert len(set(logits)) == len(logits), "two models with the same logits prove nothing"
    for computed in COMMITTED["hashes"].values():
        assert len(set(computed["tokens"].split())) > 6


@pytest.mark.parametrize("name", golden_hashes.names())
def test_every_bit_is_as_committed(name: str, tmp_path: Path) -> None:
    compare(name, golden_hashes.hashes(name, tmp_path))


@pytest.mark.parametrize("types", ["Q4_K", pytest.param("all", marks=pytest.mark.deep)])
@pytest.mark.parametrize("isa", [name for name in ops.variants() if name != ops.isa()])
def test_every_bit_is_as_committed_in_other_variants(isa: str, types: str) -> None:
    names = golden_hashes.names() if types == "all" else golden_hashes.names([types])
    command = [sys.executable, golden_hashes.__file__, *names]
    environment = {**os.environ, "SHOESTRING_ISA": isa}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    answer = json.loads(result.stdout)
    assert answer["isa"] == isa
    for name in names:
        compare(name, answer["hashes"][name])
