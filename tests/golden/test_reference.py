"""The float64 reference agrees with the committed logits of `transformers`, and disagrees with a trap switched on."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import TINY

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.names.bind import bind
from shoestring.checkpoint.open import open_checkpoint
from shoestring.models.shapes import wanted_shapes
from shoestring.reference.loading import Loaded, load_weights
from shoestring.reference.model import advance, generate, logits, new_state
from shoestring.reference.traps import NO_TRAPS, Traps

HERE = Path(__file__).parent
#: The tolerance of parity; the error of a trap must exceed it.
PARITY = 1e-4


def golden(name: str) -> np.ndarray:
    return np.load(HERE / f"{name}.npz")["logits"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Loaded]:
    loaded = {}
    for name, model in TINY.items():
        checkpoint = open_checkpoint(model.write(tmp_path_factory.mktemp(name)))
        config = parse_config(checkpoint)
        loaded[name] = load_weights(config, bind(config, checkpoint, wanted_shapes(config)))
    return loaded


def error(name: str, weights: Loaded, traps: Traps = NO_TRAPS) -> float:
    """Largest difference over largest logit."""
    model = TINY[name]
    state = new_state(weights[0].config)
    ours = advance(weights, state, model.tokens(), rotary_positions=model.rotary_positions(), traps=traps)
    theirs = golden(name)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("name", TINY)
def test_agrees_with_transformers(name: str, weights: dict[str, Loaded]) -> None:
    assert error(name, weights[name]) < 2e-6


TRAPS: list[tuple[str, dict[str, Any]]] = [
    ("qwen-dense", {"delta_norm_eps_of_mean": True}),
    ("qwen-dense", {"norm_plus_one": "twice"}),
    ("qwen-dense", {"norm_plus_one": "never"}),
    ("qwen-dense", {"gated_norm_plus_one": True}),
    ("qwen-dense", {"value_heads_swapped": True}),
    ("qwen-dense", {"query_gate_halves": True}),
    ("qwen-dense", {"attention_factor_ignored": True}),
    ("qwen-dense", {"query_key_norm_eps": 1e-6}),
    ("qwen-dense", {"rotary_pairs_swapped": True}),
    ("qwen-mixture", {"router_not_renormalised": True}),
    ("qwen-mixture", {"shared_expert_ungated": True}),
    ("qwen-mixture", {"rotary_sections_ignored": True}),
    ("llama-scout", {"no_rope_layers_inverted": True}),
    ("llama-scout", {"sigmoid_scales_output": True}),
    ("llama-scout", {"temperature_ignored": True}),
    ("llama-scout", {"chunk_ignored": True}),
    ("llama-scout", {"chunk_slides": True}),
    ("llama-scout", {"query_key_norm_eps": 1e-6}),
    ("llama-scout", {"rotary_pairs_swapped": True}),
    ("llama-maverick", {"sigmoid_scales_output": True}),
    ("llama-maverick", {"chunk_ignored": True}),
]


@pytest.mark.parametrize(("name", "trap"), TRAPS, ids=lambda value: str(value))
def test_a_trap_exceeds_the_tolerance(name: str, trap: dict[str, Any], weights: dict[str, Loaded]) -> None:
    assert error(name, weights[name], Traps(**trap)) > 10 * PARITY


def test_every_trap_is_tried() -> None:
    tried = {key for _, trap in TRAPS for key in trap} | {"ties_to_highest"}
    assert tried == {field.name for field in fields(Traps)}


@pytest.mark.parametrize("name", ["qwen-mixture", "llama-scout"])
def test_ties_of_the_router_go_to_the_lowest(name: str, weights: dict[str, Loaded]) -> None:
    """All experts score equal; both families then choose the lowest indices."""
    w, experts = weights[name]
    layers = []
    for layer in w.layers:
        router = np.repeat(layer.mlp.router[:1], len(layer.mlp.router), axis=0)  # type: ignore[union-attr]
        layers.append(replace(layer, mlp=replace(layer.mlp, router=router)))  # type: ignore[type-var, arg-type]
    tied = replace(w, layers=tuple(layers))  # type: ignore[arg-type]
    tokens = TINY[name].tokens()

    class Lowest:
        """Returns only the experts of the correct choice."""

        def fetch(self, layer: int, expert: int) -> Any:
            assert expert < w.config.num_experts_per_tok
            return experts.fetch(layer, expert)

    right = advance((tied, Lowest()), new_state(w.config), tokens)  # type: ignore[arg-type]
    trapped = advance((tied, experts), new_state(w.config), tokens, traps=Traps(ties_to_highest=True))
    assert np.abs(right - trapped).max() > 10 * PARITY * np.abs(right).max()


@pytest.mark.parametrize("name", TINY)
def test_token_by_token_is_the_same(name: str, weights: dict[str, Loaded]) -> None:
    """One token at a time gives the logits of the whole sequence."""
    w, model = weights[name], TINY[name]
    config = w[0].config
    tokens, positions = model.tokens(), model.rotary_positions()
    whole = advance(w, new_state(config), tokens, rotary_positions=positions)
    state = new_state(config)
    rows = [advance(w, state, [t], i, positions[i : i + 1])[0] for i, t in enumerate(tokens.tolist())]
    assert np.abs(np.stack(rows) - whole).max() < 1e-11 * np.abs(whole).max()


def test_generate_is_greedy_by_default(tmp_path: Path) -> None:
    """Each token is the largest logit after all tokens before it."""
    checkpoint = open_checkpoint(TINY["llama-scout"].write(tmp_path))
    config = parse_config(checkpoint)
    binding = bind(config, checkpoint, wanted_shapes(config))
    tokens = [1, 2, 3]
    stream = generate(config, binding, tokens)
    for _ in range(4):
        tokens.append(next(stream))
        assert tokens[-1] == logits(config, binding, tokens[:-1])[-1].argmax()
