"""Files whose size is known count with it; the others by the recipe of their type, with a margin."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoestring.catalogue.load import builtin_catalogue, load_catalogue
from shoestring.errors import RequestError
from shoestring.planning.advice.details import details
from shoestring.planning.advice.findings import RECIPE_MARGIN, SMALL_RECIPE_MARGIN
from shoestring.planning.candidates.candidates import from_row
from shoestring.planning.candidates.formats import DYNAMIC, bits, is_gguf, type_name
from shoestring.planning.memory import GGUF_HEADER, need, sizes_of
from shoestring.planning.plan import plan

CATALOGUE = builtin_catalogue()


@pytest.mark.parametrize("upload", CATALOGUE.uploads.values(), ids=lambda u: u.id)
def test_a_known_file_counts_with_its_size(upload) -> None:  # type: ignore[no-untyped-def]
    candidate = from_row(CATALOGUE.models[upload.model], CATALOGUE)
    n = need(candidate, upload.type, 8192, 1)
    assert n.upload is upload
    assert n.download == upload.bytes + n.file.of("vision")  # pull brings the mmproj file too
    assert n.file.total - n.file.of("vision") == pytest.approx(upload.bytes - GGUF_HEADER, abs=10)
    recipe = sizes_of(candidate, upload.type, False)
    text = recipe.total - recipe.of("vision", "mtp")
    margin = RECIPE_MARGIN if bits(upload.type) >= 4 else SMALL_RECIPE_MARGIN
    if upload.type != "UD-Q4_K_XL":  # dynamic mixes go below it as well
        assert 0.999 * text <= upload.bytes - GGUF_HEADER <= (1 + margin) * text


@pytest.mark.parametrize("model", [m for m in CATALOGUE.models if f"{m}-q8_0-upload" in CATALOGUE.uploads])
def test_eight_bits_are_the_tensors_to_the_byte(model: str) -> None:
    """A Q8_0 file has one type, so its recipe is exact, and the rest of the file is the header."""
    candidate = from_row(CATALOGUE.models[model], CATALOGUE)
    recipe = sizes_of(candidate, "Q8_0", False)
    header = CATALOGUE.uploads[f"{model}-q8_0-upload"].bytes - (recipe.total - recipe.of("vision", "mtp"))
    assert header == pytest.approx(GGUF_HEADER, abs=50_000)


def test_the_size_of_the_file_that_the_command_pulls_is_printed() -> None:
    p = plan("qwen3.5:35b-a3b", hardware="cpu:8c-2ch-ddr5+64g", quant="Q4_K_M")
    (a,) = p.assessments
    assert a.command.lines[0].endswith("unsloth/Qwen3.5-35B-A3B-GGUF:Q4_K_M")
    said = [s.text for s in details(p, a)]
    assert any("22.9 GB to download with its vision tower (size of 2026-04-09)" in text for text in said)
    assert not any("recipe" in text for text in said)
    assert any(text.startswith("36.0B parameters") or "multi-token prediction" in text for text in said)


def test_the_recipes_margin_is_said() -> None:
    p = plan("qwen3.5:35b-a3b", hardware="cpu:8c-2ch-ddr5+64g", quant="Q6_K")
    assert any("no upload of Q6_K" in s.text and "up to 6% larger" in s.text for s in details(p, p.assessments[0]))


def test_why_403_billion_are_397() -> None:
    p = plan("qwen3.5", hardware="8xh100")
    (said,) = [s.text for s in details(p, p.assessments[0]) if "403.4B parameters" in s.text]
    assert "396.3B of text, which is what names count, 0.46B of vision tower and 6.60B of multi-token" in said


def test_a_users_uploads_count(tmp_path: Path) -> None:
    (tmp_path / "uploads.toml").write_text(
        '[[upload]]\nid = "mine"\nmodel = "qwen3.5-9b"\ntype = "Q6_K"\nrepository = "unsloth/Qwen3.5-9B-GGUF"\n'
        'bytes = 7500000000\nsource = "llamabarn"\ndate = "2026-11-01"\nkind = "independent"\n',
        encoding="utf-8",
    )
    candidate = from_row(CATALOGUE.models["qwen3.5-9b"], load_catalogue(tmp_path))
    n = need(candidate, "Q6_K", 8192, 1)
    assert n.download == 7_500_000_000 + n.file.of("vision")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("Q4", "Q4_K_M"), ("q8", "Q8_0"), ("q6", "Q6_K"), ("Q3_K_M", "Q3_K"), ("ud-q4_k_xl", "UD-Q4_K_XL"),
     ("UD-IQ2_XXS", "UD-IQ2_XXS"), ("q4-k-m", "Q4_K_M"), ("awq", "GPTQ")],
)  # fmt: skip
def test_names_of_types(typed: str, meant: str) -> None:
    assert type_name(typed) == meant


def test_an_unknown_dynamic_type_names_its_neighbours() -> None:
    with pytest.raises(RequestError, match="UD-Q4_K_XL"):
        type_name("UD-Q4_K_XXL")


@pytest.mark.parametrize("name", DYNAMIC)
def test_dynamic_types_are_planned_and_named_in_the_command(name: str) -> None:
    assert is_gguf(name)
    (a,) = plan("scout", hardware="rtx-4090+256g", quant=name).assessments
    assert f"unsloth/Llama-4-Scout-17B-16E-Instruct-GGUF:{name}" in a.command.lines[0]
