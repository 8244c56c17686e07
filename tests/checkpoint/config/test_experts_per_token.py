"""Another number of experts a token is checked, stands in the config, and is never silent."""

from __future__ import annotations

import pytest
import random_models

from shoestring.checkpoint.config.experts import (
    changed_experts,
    own_experts_per_token,
    says_changed_experts,
    with_experts_per_token,
)
from shoestring.errors import RequestError
from shoestring.spelling import command_line


@pytest.mark.parametrize("config", [random_models.qwen3_5(experts=8), random_models.llama4(experts=8)])
def test_every_number_up_to_all_experts(config: random_models.Config) -> None:
    own = config.num_experts_per_tok
    assert changed_experts(config) is None
    for count in range(1, 9):
        changed = with_experts_per_token(config, count)
        assert (changed.num_experts_per_tok, own_experts_per_token(changed)) == (count, own)
        assert (changed == config) == (count == own)
        assert changed_experts(changed) == (f"{count} experts a token instead of {own}" if count != own else None)
        assert says_changed_experts(changed_experts(changed)) == (count != own)
        assert with_experts_per_token(changed, own) == config, "back to the model's own"


def test_what_a_model_cannot_have_is_refused() -> None:
    with pytest.raises(RequestError, match="dense"):
        with_experts_per_token(random_models.qwen3_5(experts=0), 1)
    for count in (0, -1, 9, True, 2.0):
        with pytest.raises(RequestError, match="from 1 to 8; the model's own is 2"):
            with_experts_per_token(random_models.qwen3_5(experts=8), count)  # type: ignore[arg-type]
    with command_line(), pytest.raises(RequestError, match="--experts-per-token is 9"):
        with_experts_per_token(random_models.qwen3_5(experts=8), 9)


def test_other_fingerprints_say_nothing_of_experts() -> None:
    for text in (None, 3, "", "fp_44709d6fcb", "x 2 experts a token instead of 1", "2 experts a token instead of one"):
        assert not says_changed_experts(text)
