"""Between file and logits no floating-point arithmetic of numpy, math or libm: its bits change with the CPU.

The test reads the syntax tree of every module on that way (docs/numerics.md). Integer arithmetic on
positions, pages and indices is allowed; what it may not contain is a call of a numpy function that
computes, a true division, a float power, or a product with a float literal.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "shoestring"
ON_THE_WAY = sorted(
    [
        *(PACKAGE / "models").rglob("*.py"),
        *(path for path in (PACKAGE / "ops").glob("*.py") if path.stem != "limits"),  # which measures
        *(PACKAGE / "engine" / f"{name}.py" for name in ("engine", "batch", "runner", "draw")),
        *(PACKAGE / "streaming" / f"{name}.py" for name in ("embedding", "experts", "resident", "sources", "store")),
    ]
)

#: numpy functions that move or make data, or compute on integers only.
HARMLESS = {
    "arange", "array", "asarray", "ascontiguousarray", "concatenate", "copyto", "cumsum", "diff", "dtype", "empty",
    "empty_like",
    "flatnonzero", "float16", "float32", "float64", "frombuffer", "full", "generic", "int32", "int64", "intp",
    "memmap", "ndarray", "repeat", "stack", "uint8", "uint16", "uint32", "zeros", "broadcast_to", "integer", "unique",
    "prod", "searchsorted", "full_like", "count_nonzero", "clip",
}  # fmt: skip


@pytest.mark.parametrize("path", ON_THE_WAY, ids=lambda p: p.stem)
def test_no_float_arithmetic(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        where = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
            assert node.attr in HARMLESS, f"{where}: np.{node.attr}"
        if isinstance(node, ast.Import):
            assert not {"math", "cmath"} & {alias.name for alias in node.names}, f"{where}: import math"
        if isinstance(node, ast.ImportFrom):
            assert node.module not in {"math", "cmath"}, f"{where}: from math"
        if isinstance(node, ast.BinOp):
            assert not isinstance(node.op, ast.Div | ast.MatMult), f"{where}: {ast.unparse(node)}"
            floats = [
                side for side in (node.left, node.right) if isinstance(side, ast.Constant) and type(side.value) is float
            ]
            assert not floats, f"{where}: {ast.unparse(node)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in {"mean", "dot", "std", "var", "softmax"}, f"{where}: {ast.unparse(node)}"
