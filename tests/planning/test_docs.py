"""docs/plan.md says what the program computes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import efficiency  # noqa: E402
from published_speeds import table  # noqa: E402

from shoestring.catalogue.load import builtin_catalogue  # noqa: E402
from shoestring.planning.efficiency import METAL, PROCESSOR, SERVED, SPLIT  # noqa: E402


def test_the_table_of_published_speeds_is_what_the_script_prints() -> None:
    assert table() in (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")


def test_pictures_exist() -> None:
    for name in ("compare-light.png", "compare-phone-dark.png"):
        assert (ROOT / "docs" / "images" / name).read_bytes().startswith(b"\x89PNG")
        assert f"images/{name}" in (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")


def test_token_counts_are_those_of_the_catalogue() -> None:
    text = (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
    facts = [f for f in builtin_catalogue().facts.values() if f.topic == "tokens"]
    assert len(facts) == 8
    for fact in facts:
        said = f"{abs(fact.value):.1f} %"
        assert said in text
        assert said in fact.text


def test_what_engines_reach_is_what_the_script_fits() -> None:
    """Two digits are carried; the table of the document is the script's."""
    found = efficiency.fits()
    for kind, carried in (("served", SERVED), ("cuda", SPLIT), ("metal", METAL), ("cpu", PROCESSOR)):
        for name, value in found[kind].items():
            assert getattr(carried, name) == pytest.approx(value, rel=0.02), (kind, name)
    assert efficiency.table() in (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
