"""The data files follow their schema; errors name the file, line and field."""

from __future__ import annotations

import dataclasses
import datetime
import re
from pathlib import Path

import pytest

from shoestring.catalogue.age import outdated
from shoestring.catalogue.load import FILES, FOLDER, builtin_catalogue, load_catalogue
from shoestring.catalogue.schema import KINDS, Catalogue
from shoestring.errors import RequestError
from shoestring.planning.article.check import CHECKS
from shoestring.planning.candidates.candidates import from_row
from shoestring.planning.candidates.formats import TYPES

CATALOGUE = builtin_catalogue()
ROWS = [
    (f.name, row)
    for f in dataclasses.fields(Catalogue)
    if f.name != "sources"
    for row in getattr(CATALOGUE, f.name).values()
]


def test_every_row_has_a_source_a_date_and_a_kind() -> None:
    assert len(ROWS) > 250
    for table, row in ROWS:
        assert row.source in CATALOGUE.sources, (table, row.id)
        assert row.kind in KINDS, (table, row.id)
        assert datetime.date.fromisoformat(row.date) <= datetime.date.today(), (table, row.id)


def test_ids_are_unique_across_tables_so_that_reports_can_link() -> None:
    ids = [row.id for _, row in ROWS]
    assert len(ids) == len(set(ids))


def test_every_source_is_cited() -> None:
    assert {row.source for _, row in ROWS} == set(CATALOGUE.sources)


def test_every_file_on_disk_is_read() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(FILES)
    used = {row.config for row in CATALOGUE.models.values()}
    assert {path.name for path in (FOLDER / "configs").glob("*.json")} == used


@pytest.mark.parametrize("row", CATALOGUE.models.values(), ids=lambda row: row.id)
def test_the_engine_can_run_every_config(row) -> None:  # type: ignore[no-untyped-def]
    candidate = from_row(row)
    assert candidate.config.family == row.family
    assert candidate.text.total <= candidate.total
    for entry in row.quantized:
        assert entry.split()[0] in TYPES


def test_names_lead_to_one_model() -> None:
    names = [n.casefold() for row in CATALOGUE.models.values() for n in (row.id, row.name, *row.aliases)]
    repeated = {n for n in names if names.count(n) > 1}
    owners = {
        n: {r.id for r in CATALOGUE.models.values() if n in map(str.casefold, (r.id, r.name, *r.aliases))}
        for n in repeated
    }
    assert all(len(found) == 1 for found in owners.values()), owners


def test_every_claim_has_its_check() -> None:
    assert {claim.check for claim in CATALOGUE.claims.values()} == set(CHECKS)


def test_a_row_is_old_if_a_newer_one_is_about_the_same() -> None:
    price = next(iter(CATALOGUE.prices.values()))
    later = dataclasses.replace(price, id="later", date="2026-11-28")
    grown = dataclasses.replace(CATALOGUE, prices=CATALOGUE.prices | {"later": later})
    assert outdated(price, grown)
    assert not outdated(later, grown)
    assert not any(outdated(row, CATALOGUE) for _, row in ROWS)


PRICE = """
[[price]]
id = "scout-mine"
model = "llama-4-scout"
provider = "mine"
input_usd = 0.5
output_usd = 1
source = "article"
date = 2026-11-01
kind = "independent"
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_price_file_adds_rows_and_replaces_rows_with_the_same_id(tmp_path: Path) -> None:
    more = load_catalogue(prices=write(tmp_path, PRICE))
    assert more.prices["scout-mine"].output_usd == 1.0
    assert len(more.prices) == len(CATALOGUE.prices) + 1
    first = next(iter(CATALOGUE.prices))
    replaced = load_catalogue(prices=write(tmp_path, PRICE.replace("scout-mine", first)))
    assert len(replaced.prices) == len(CATALOGUE.prices)
    assert replaced.prices[first].provider == "mine"
    assert CATALOGUE.prices[first].provider != "mine"


def test_a_folder_extends_the_catalogue(tmp_path: Path) -> None:
    write(tmp_path, PRICE)
    assert "scout-mine" in load_catalogue(tmp_path).prices
    with pytest.raises(RequestError, match=r"has no \.toml files"):
        load_catalogue(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("change", "line", "said"),
    [
        (("input_usd = 0.5", "input_usd = -1"), 6, "price.input_usd is -1"),
        (("input_usd = 0.5", "input_usd = inf"), 6, "price.input_usd"),
        (("input_usd = 0.5", 'input_usd = "dear"'), 6, "price.input_usd is 'dear': write a value of type float"),
        (("input_usd = 0.5", "input_usd = true"), 6, "price.input_usd is True"),
        (("output_usd = 1\n", ""), 2, "price.output_usd is missing"),
        (('kind = "independent"', 'kind = "rumour"'), 10, "price.kind is 'rumour': write one of vendor-claimed"),
        (("date = 2026-11-01", 'date = "yesterday"'), 9, "price.date"),
        (('provider = "mine"', 'providers = "mine"'), 5, "price.providers is unknown"),
        (("[[price]]", "[[prize]]"), 2, "prize is not a table"),
        (("input_usd = 0.5", "input_usd = "), 6, "is not valid TOML"),
    ],
)
def test_errors_name_file_line_and_field(tmp_path: Path, change: tuple[str, str], line: int, said: str) -> None:
    path = write(tmp_path, PRICE.replace(*change))
    with pytest.raises(RequestError) as caught:
        load_catalogue(prices=path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert said in message
    assert re.search(rf"\bline {line}\b", message), message


@pytest.mark.parametrize(("key", "value"), [("model", "nobody"), ("source", "hearsay")])
def test_references_exist(tmp_path: Path, key: str, value: str) -> None:
    text = re.sub(rf'{key} = ".*"', f'{key} = "{value}"', PRICE)
    with pytest.raises(RequestError, match=value):
        load_catalogue(prices=write(tmp_path, text))
