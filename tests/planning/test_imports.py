"""The rooms of planning stand above one another: no two of them lean on each other, late imports included."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import shoestring.planning


def test_imports_go_one_way() -> None:
    folder = Path(shoestring.planning.__file__).parent
    needs: dict[str, set[str]] = {}
    for path in folder.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        needs[path.stem] = {name.rpartition(".")[2] for name in named if name.startswith("shoestring.planning.")}
    assert needs["speed"] >= {"efficiency", "memory"}
    order = list(TopologicalSorter(needs).static_order())  # raises CycleError
    assert order.index("machine") < order.index("detect") < order.index("parse")
    assert order.index("candidates") < order.index("checkpoints") < order.index("resolve")
