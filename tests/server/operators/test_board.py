"""The Grafana board: it shows all metrics that /metrics has, with their labels, and nothing that does not exist."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from operator_examples import text_of
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from shoestring.server.http.app import create_app
from shoestring.server.http.settings import Settings
from shoestring.server.service import Service
from shoestring.testing import scripted_model

BOARD: dict[str, Any] = json.loads(text_of("grafana.json"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
#: Labels that Prometheus adds.
ADDED = {"instance", "job"}
FUNCTIONS = {"sum", "rate", "histogram_quantile", "by"}


@pytest.fixture(scope="module")
def series() -> dict[str, set[str]]:
    """The name of each sample of /metrics, with its labels."""
    app = create_app(Service(scripted_model(context=2048)), Settings(api_keys=("k",)))
    with TestClient(app, "http://127.0.0.1", headers={"x-api-key": "k"}) as client:
        body = {"messages": [{"role": "user", "content": "hi"}]}
        assert client.post("/v1/chat/completions", json=body).status_code == 200
        text = client.get("/metrics").text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"shoestring_\w+", expression))


def test_every_metric_is_shown(series: dict[str, set[str]]) -> None:
    shown = set().union(*(metrics_in(expression) for _, expression in EXPRESSIONS))
    histograms = {name.removesuffix("_bucket") for name in series if name.endswith("_bucket")}
    derived = {f"{name}_{end}" for name in histograms for end in ("sum", "count")}
    assert shown == set(series) - derived


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS)
def test_an_expression_uses_labels_that_its_metrics_have(
    title: str, expression: str, series: dict[str, set[str]]
) -> None:
    for kind in ("()", "{}", "[]"):
        assert expression.count(kind[0]) == expression.count(kind[1])
    selectors = re.findall(r"(shoestring_\w+)\{([^}]*)\}", expression)
    assert {name for name, _ in selectors} == metrics_in(expression)
    labels = [set(re.findall(r"(\w+)(?:=~|!=|!~|=)\"", selector)) for _, selector in selectors]
    for (name, _), used in zip(selectors, labels, strict=True):
        assert used <= series[name] | ADDED, name
        assert "instance" in used
        # A counter only makes sense as a rate.
        assert name.endswith(("_total", "_bucket")) == (f"rate({name}{{" in expression)
    for group in re.findall(r"by \(([^)]*)\)", expression):
        for label in group.split(", "):
            assert all(label in series[name] for name, _ in selectors), label
    words = set(re.findall(r"\b([a-z_]+) ?\(", re.sub(r"\{[^}]*\}", "", expression)))
    assert words <= FUNCTIONS
    grouped = set(", ".join(re.findall(r"by \(([^)]*)\)", expression)).split(", ")) - {"", "le"}
    (target,) = [t for p in PANELS if p["title"] == title for t in p["targets"] if t["expr"] == expression]
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) == grouped


def test_panels_are_valid() -> None:
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        columns, rows = (range(place[start], place[start] + place[size]) for start, size in (("x", "w"), ("y", "h")))
        cells = {(x, y) for x in columns for y in rows}
        assert cells
        assert not cells & taken, panel["title"]
        assert all(0 <= x < 24 for x, _ in cells), panel["title"]
        taken |= cells
    for panel in PANELS:
        assert panel["type"] in ("timeseries", "stat")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH")[: len(panel["targets"])]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_variables_are_declared() -> None:
    declared = {variable["name"] for variable in BOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(BOARD["panels"])))
    assert used - declared == {"__rate_interval"}
    assert BOARD["schemaVersion"] >= 39
    assert "id" not in BOARD
