"""docs/plan.md says what the program computes."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "bench"))

from published_speeds import table  # noqa: E402


def test_the_table_of_published_speeds_is_what_the_script_prints() -> None:
    assert table() in (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")


def test_pictures_exist() -> None:
    for name in ("compare-light.png", "compare-phone-dark.png"):
        assert (ROOT / "docs" / "images" / name).read_bytes().startswith(b"\x89PNG")
        assert f"images/{name}" in (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
