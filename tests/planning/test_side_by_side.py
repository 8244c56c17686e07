"""`shoestring.compare`: the same comparison as the command's, with the errors of an API."""

from __future__ import annotations

import json
from typing import Any

import pytest

import shoestring
from shoestring.cli.app import run
from shoestring.errors import RequestError
from shoestring.planning.report.json import comparison_json


def test_it_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    compared = shoestring.compare("scout", "qwen3.5:35b-a3b", hardware="rtx-5090+64g", use="agents", context="32k")
    assert run(["compare", "scout", "qwen3.5:35b-a3b", "--hardware", "rtx-5090+64g", "--for", "agents", "-c", "32768",
                "--json"]) == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(comparison_json(compared)))
    assert compared.left.candidate.id == "llama-4-scout"


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"first": "scout", "second": "llama-4-scout"}, RequestError, "compare needs two different models"),
        ({"purpose": "code"}, TypeError, "compare has no option 'purpose'"),
        ({"models": "x"}, TypeError, "compare has no option 'models'"),
        ({"first": 5}, TypeError, "a model is 5"),
        ({"first": "nope"}, RequestError, "model 'nope' is neither"),
        ({"context": 0}, RequestError, "context is 0"),
        ({"context": "long"}, RequestError, "context is 'long': give a number of tokens"),
        ({"users": 0}, RequestError, "users is 0"),
        ({"kv_type": "q8"}, RequestError, "kv_type q8 is"),
        ({"use": "nope"}, RequestError, "use nope is unknown"),
        ({"quant": "nope"}, RequestError, "quant nope is unknown"),
        ({"hardware": "nope"}, RequestError, "hardware nope: device"),
    ],
    ids=str,
)
def test_wrong_arguments_are_named_as_keywords(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=f"^{says}"):
        shoestring.compare(**{"first": "scout", "second": "qwen3.5", "hardware": "8xh100", **arguments})


def test_a_command_names_options() -> None:
    """The same errors, spelled as the user typed them."""
    from shoestring.spelling import command_line, option

    assert option("budget_usd_month") == "budget_usd_month"
    with command_line():
        assert (option("budget_usd_month"), option("use"), option("kv_type")) == ("--budget-usd", "--for", "--kv-type")
    assert option("use") == "use"
