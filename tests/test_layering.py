"""The layout of the program: imports point only downwards, as docs/architecture.md draws it."""

import ast
import re
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "shoestring"

ARCHITECTURE = PACKAGE.parents[1] / "docs" / "architecture.md"


def drawn_layers() -> list[set[str]]:
    """The drawing of docs/architecture.md, lowest layer first: lines of equal indentation are one layer."""
    drawing = ARCHITECTURE.read_text(encoding="utf-8").split("```")[1]
    layers: dict[int, set[str]] = {}
    for line in drawing.splitlines():
        names = re.match(r"( *)((?:[a-z0-9_]+(?:/|\.py)(?: |$))+)", line)
        if names is not None:
            layer = layers.setdefault(len(names[1]), set())
            layer.update(name.removesuffix(".py").rstrip("/") for name in names[2].split())
    return [layers[indentation] for indentation in sorted(layers, reverse=True)]


#: Lower layers never import upper ones. The package itself and `python -m` stand above all.
LAYERS = [*drawn_layers(), {"__init__", "__main__"}]
MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """Dotted name below the package: checkpoint.gguf, __init__ for the package itself."""
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return ".".join(parts)


def layer(name: str) -> int:
    top = name.split(".")[0]
    for number, names in enumerate(LAYERS):
        if top in names:
            return number
    raise AssertionError(f"shoestring.{name} is missing in the drawing of docs/architecture.md")


def imports(path: Path) -> set[str]:
    """Dotted names below the package that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "shoestring" else [module]
        else:
            continue
        found |= {name.removeprefix("shoestring.") for name in names if name.startswith("shoestring.")}
    return found - {"_kernels"}


def test_the_drawing_names_every_folder() -> None:
    drawn = [name for layer in LAYERS for name in layer]
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == {module_name(path).split(".")[0] for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_downwards(path: Path) -> None:
    here = layer(module_name(path))
    for imported in imports(path):
        if imported.split(".")[0] in {"__version__"}:
            continue
        assert layer(imported) <= here, f"{path.name} imports shoestring.{imported}, a layer above its own"


def test_no_import_circles() -> None:
    """Late imports included. Importing a package counts as importing its __init__.py."""
    names = {module_name(path) for path in MODULES}
    needs = {}
    for path in MODULES:
        found = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("shoestring"):
                package = (node.module or "").removeprefix("shoestring").removeprefix(".")
                inside = {f"{package}.{alias.name}".removeprefix(".") for alias in node.names}
                found |= inside & names or {package} & names
        needs[module_name(path)] = found
    assert needs["cli.models.chat"] >= {"cli.models.conversation", "cli.models.remote"}
    list(TopologicalSorter(needs).static_order())  # raises CycleError


def test_no_folder_is_a_drawer() -> None:
    counts = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    crowded = {str(folder.relative_to(PACKAGE)): count for folder, count in counts.items() if count > 15}
    assert not crowded, "more than 15 Python files directly in a folder: group them"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_only_the_door_imports_the_kernels(path: Path) -> None:
    text = path.read_text()
    if not module_name(path).startswith("ops"):
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "shoestring._kernels":
                guarded = any(
                    isinstance(outer, ast.If) and ast.unparse(outer.test) == "TYPE_CHECKING" and node in ast.walk(outer)
                    for outer in ast.walk(tree)
                )
                assert guarded, f"{path.name}:{node.lineno} imports the extension; only ops may"


def test_families_do_not_import_each_other() -> None:
    for family, other in (("qwen3_5", "llama4"), ("llama4", "qwen3_5")):
        for package in ("models", "reference"):
            assert f"{package}.{other}" not in imports(PACKAGE / package / f"{family}.py")


@pytest.mark.parametrize("path", [*MODULES, *(PACKAGE.parents[1] / "kernels").rglob("*.[ch]*")], ids=lambda p: p.name)
def test_one_idea_a_file(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 450
