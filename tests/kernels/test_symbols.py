"""A variant's object exports its table and nothing else: what the linker could merge would run on the wrong CPU.

An inline function or template of an object compiled for AVX2 may replace the same function everywhere. Debug
builds inline least, so they are looked at too.
"""

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AVX2 = ["-mavx2", "-mfma", "-mf16c"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"]
FLAGS = {
    "scalar": [],
    "avx2": AVX2,
    "avxvnni": [*AVX2, "-mavxvnni"],
    "avx512": AVX512,
    "avx512vnni": [*AVX512, "-mavx512vnni"],
    "amx": [*AVX512, "-mavx512vnni", "-mamx-tile", "-mamx-int8"],
    "neon": ["-march=armv8.2-a+dotprod"],
    "i8mm": ["-march=armv8.2-a+dotprod+i8mm"],
}
ARM = ("neon", "i8mm")
#: only products use matrix instructions
MATRICES = ("amx", "i8mm")
FAMILIES = ["matmul", "sequence", "rows", "pack", "vision"]
OBJECTS = [(family, name) for name in FLAGS for family in FAMILIES if name not in MATRICES or family == "matmul"]
#: what they add to others is a line or two (ARM: for another machine), and every object takes seconds
SELDOM = ("avxvnni", "avx512", *ARM)
SANITIZED = "-O1 -fsanitize=address,undefined"
COMPILERS = [name for name in ("g++", "clang++") if shutil.which(name)]
ON_ARM = platform.machine() in ("aarch64", "arm64")


def compiler_for(variant: str, compiler: str) -> list[str]:
    """The command that compiles a variant; skips the test where it belongs to another architecture."""
    if variant == "scalar" or (variant in ARM) == ON_ARM:
        return [compiler]
    if variant not in ARM:
        pytest.skip("compilers of this machine make no code for x86")
    cross = "aarch64-linux-gnu-g++"
    if shutil.which(cross) is None:
        pytest.skip("no cross compiler: apt-get install g++-aarch64-linux-gnu")
    return [cross] if compiler == "g++" else [compiler, "--target=aarch64-linux-gnu"]


def test_every_variant_is_named_wherever_they_are_listed() -> None:
    source = (ROOT / "kernels" / "dispatch.cpp").read_text()
    offered = set(re.findall(r"push_back\(SHOESTRING_(?:MATMUL_)?VARIANT_OF\((\w+)", source)) | {"scalar"}
    assert offered == set(FLAGS)
    built = (ROOT / "CMakeLists.txt").read_text()
    named = {name for line in re.findall(r"(?i)variants ((?:\w+ ?)+)\)", built) for name in line.split()}
    assert named == set(FLAGS)
    for name, flags in FLAGS.items():
        assert f"`{name}`" in (ROOT / "docs" / "architecture.md").read_text()
        assert name == "scalar" or flags[-1] in re.findall(rf"set\(FLAGS_{name} (.*)\)", built)[0]


@pytest.mark.parametrize(
    ("family", "variant"),
    [pytest.param(*names, marks=pytest.mark.deep if names[1] in SELDOM else ()) for names in OBJECTS],
)
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("mode", ["-O0 -g", pytest.param(SANITIZED, marks=pytest.mark.deep)])
def test_one_exported_symbol(family: str, variant: str, compiler: str, mode: str, tmp_path: Path) -> None:
    built = tmp_path / "variant.o"
    common = [
        "-std=c++20",
        "-ffp-contract=off",
        "-fno-math-errno",
        "-fno-exceptions",
        "-I",
        str(ROOT / "kernels"),
        *mode.split(),
    ]
    if compiler == "clang++" and mode == SANITIZED:
        common.append("-fno-sanitize=function")  # its type descriptions are weak data
    source = ROOT / "kernels" / "variants" / f"{family}.cpp"
    chosen = [*FLAGS[variant], f"-DSHOESTRING_VARIANT={variant}"]
    subprocess.run([*compiler_for(variant, compiler), *common, *chosen, "-c", source, "-o", built], check=True)
    assert exported(built) == [f"shoestring_{family}_{variant}"]


def test_release_objects_if_built() -> None:
    objects = sorted((ROOT / "build" / "release").glob("CMakeFiles/*_*.dir/kernels/variants/*.o"))
    if not objects:
        pytest.skip("no build/release: `make build`")
    for built in objects:
        name = built.parts[-4].removesuffix(".dir")
        assert exported(built) == [f"shoestring_{name}"]


def exported(built: Path) -> list[str]:
    """Names of all defined symbols that are not local, weak ones with a mark; the sanitizer's own are left out.

    So are `$d` and `$x`, by which ARM marks data and code.
    """
    lines = subprocess.run(["nm", "--defined-only", built], check=True, capture_output=True, text=True).stdout
    symbols = [line.split()[-2:] for line in lines.splitlines()]
    return [
        name if kind not in "WwVvu" else f"weak {name}"
        for kind, name in symbols
        if (kind.isupper() or kind in "wvu") and not name.startswith(("__odr_asan.", "$"))
    ]
