"""The base install: small, and without torch."""

import importlib.metadata
import re
from collections.abc import Iterator

import pytest

from shoestring.samples import demo_qwen3_5


def closure(name: str, seen: set[str]) -> Iterator[importlib.metadata.Distribution]:
    """A distribution and everything that it requires without extras."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in seen:
        return
    seen.add(key)
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return  # of another platform or Python
    yield distribution
    for requirement in distribution.requires or ():
        if "extra ==" not in requirement:
            found = re.match(r"[A-Za-z0-9._-]+", requirement)
            assert found
            yield from closure(found.group(), seen)


def base_requirements() -> list[importlib.metadata.Distribution]:
    found = list(closure("shoestring", set()))
    if not found:
        pytest.skip("the package runs from its source tree; `make test` installs it")
    return found


def test_no_torch() -> None:
    names = {distribution.metadata["Name"].lower() for distribution in base_requirements()}
    assert "numpy" in names
    assert not names & {"torch", "transformers", "gguf", "xllamacpp", "scipy"}


def test_under_150_megabytes() -> None:
    """The weights of demo-qwen3.5 apart, which have a limit of their own."""
    sizes = {}
    for distribution in base_requirements():
        files = distribution.files or ()
        paths = (distribution.locate_file(file) for file in files)
        sizes[distribution.metadata["Name"]] = sum(
            p.stat().st_size for p in paths if p.is_file() and p.suffix != ".gguf"
        )
    assert sum(sizes.values()) < 150_000_000, sizes


def test_trained_weights_under_40_megabytes() -> None:
    assert demo_qwen3_5.trained_path().stat().st_size <= 40_000_000
