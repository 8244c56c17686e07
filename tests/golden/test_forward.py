"""The kernels' forward pass on tiny models: close to `transformers`' logits, the same bits in any steps."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_steps import HiddenStates, Loaded, Span, make_step, new_state, run, step_logits
from tiny_models import TINY, Tensors, qwen_tensors

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.names.bind import bind
from shoestring.checkpoint.open import open_checkpoint
from shoestring.kv_types import KV_TYPES, KVType
from shoestring.models.shapes import wanted_shapes
from shoestring.models.weights import load_weights
from shoestring.reference.loading import load_weights as load_reference
from shoestring.reference.model import advance
from shoestring.reference.model import new_state as new_reference_state

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: model.write(tmp_path_factory.mktemp(name)) for name, model in TINY.items()}


@pytest.fixture(scope="module")
def weights(folders: dict[str, Path]) -> dict[str, Loaded]:
    loaded = {}
    for name, folder in folders.items():
        checkpoint = open_checkpoint(folder)
        config = parse_config(checkpoint)
        loaded[name] = load_weights(config, bind(config, checkpoint, wanted_shapes(config)))
    return loaded


def error(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("name", TINY)
def test_agrees_with_transformers(name: str, weights: dict[str, Loaded]) -> None:
    model = TINY[name]
    golden = np.load(HERE / f"{name}.npz")["logits"]
    assert error(run(weights[name], model.tokens(), "f32", None, model.rotary_positions()), golden) < 2e-5
    assert error(run(weights[name], model.tokens(), "f16", None, model.rotary_positions()), golden) < 5e-3


@pytest.mark.parametrize("name", TINY)
def test_q8_0_is_the_reference_with_rounded_keys_and_values(name: str, folders: dict[str, Path]) -> None:
    """Rounding them costs something, and the reference that rounds them too is several times nearer."""
    checkpoint = open_checkpoint(folders[name])
    config = parse_config(checkpoint)
    binding = bind(config, checkpoint, wanted_shapes(config))
    tokens, loaded = TINY[name].tokens(), load_reference(config, binding)
    ours = run(load_weights(config, binding), tokens, "q8_0")
    rounded, exact = (
        advance(loaded, new_reference_state(config, kv_type), tokens.tolist()) for kv_type in ("q8_0", None)
    )

    def of_rows(theirs: np.ndarray) -> float:
        """The median: in another row a router may choose another expert."""
        return float(np.median(np.abs(ours - theirs).max(axis=1)) / np.abs(theirs).max())

    assert of_rows(exact) < 2e-2
    assert of_rows(rounded) < of_rows(exact) / 4


@pytest.mark.parametrize("kv_type", KV_TYPES)
@pytest.mark.parametrize("name", TINY)
def test_same_bits_in_any_chunks(name: str, kv_type: KVType, weights: dict[str, Loaded]) -> None:
    """150 tokens, over pages and attention chunks, in steps of 1, 7, 64 and mixed."""
    tokens = np.tile(TINY[name].tokens(), 4)[:150]
    whole = run(weights[name], tokens, kv_type)
    for chunks in ([1] * 150, [7] * 22, [64] * 3, [5, 1, 1, 90, 53]):
        assert np.array_equal(run(weights[name], tokens, kv_type, chunks), whole)


@pytest.mark.parametrize("name", TINY)
def test_hidden_states_are_those_of_the_reference(name: str, folders: dict[str, Path]) -> None:
    """From the embeddings to the final norm, which the head reads; the same bits in any chunks."""
    checkpoint = open_checkpoint(folders[name])
    config = parse_config(checkpoint)
    binding = bind(config, checkpoint, wanted_shapes(config))
    weights, tokens = load_weights(config, binding), TINY[name].tokens()
    ours, chunked, theirs = HiddenStates(), HiddenStates(), HiddenStates()
    logits = run(weights, tokens, observe=ours)
    run(weights, tokens, chunks=[7] * 20, observe=chunked)
    advance(load_reference(config, binding), new_reference_state(config), tokens.tolist(), observe=theirs)
    assert ours.stacked.shape == (config.num_hidden_layers + 1, len(tokens), config.hidden_size)
    assert ours.stacked.dtype == np.float32
    assert np.array_equal(ours.stacked, chunked.stacked)
    for layer, (hidden, expected) in enumerate(zip(ours.stacked, theirs.stacked, strict=True)):
        assert error(hidden, expected) < 2e-5, layer
    assert np.array_equal(logits, run(weights, tokens))


@pytest.mark.parametrize("name", TINY)
def test_same_bits_in_a_batch(name: str, weights: dict[str, Loaded]) -> None:
    """Three sequences of 1, 30 and 70 tokens in one step, then one token each, give the bits of each alone."""
    w = weights[name]
    tokens = [np.tile(TINY[name].tokens(), 2)[i : i + n + 1] for i, n in enumerate((1, 30, 70))]
    alone = [run(w, t, "f32", [len(t) - 1, 1]) for t in tokens]
    state = new_state(w[0].config, 6, "f32", slots=6)
    pages = [(4,), (0,), (5, 2)]
    first = [Span(t[:-1], 0, page, write_slot=i) for i, (t, page) in enumerate(zip(tokens, pages, strict=True))]
    prompt = np.split(step_logits(w, state, make_step(w[0].config, *first)), [1, 31])
    then = [
        Span(t[-1:], len(t) - 1, page, read_slot=i, write_slot=i + 3)
        for i, (t, page) in enumerate(zip(tokens, pages, strict=True))
    ]
    last = step_logits(w, state, make_step(w[0].config, *then[::-1]))[::-1]
    for i in range(3):
        assert np.array_equal(prompt[i], alone[i][:-1])
        assert np.array_equal(last[i], alone[i][-1])


@pytest.mark.parametrize("name", ["qwen-dense", "qwen-mixture"])
def test_a_snapshot_resumes(name: str, weights: dict[str, Loaded]) -> None:
    """Snapshots after rows 8 and 20 of a step are the states of sequences that end there."""
    w, tokens = weights[name], TINY[name].tokens()
    whole = run(w, tokens)
    state = new_state(w[0].config, 3, "f32", slots=4)
    span = Span(tokens[:30], 0, (1,), write_slot=0, snapshots=((8, 1), (20, 3)))
    assert np.array_equal(step_logits(w, state, make_step(w[0].config, span)), whole[:30])
    for row, slot in ((20, 3), (8, 1)):
        rest = Span(tokens[row + 1 :], row + 1, (1,), read_slot=slot, write_slot=2)
        assert np.array_equal(step_logits(w, state, make_step(w[0].config, rest)), whole[row + 1 :])


@pytest.mark.parametrize("name", TINY)
def test_rows_may_be_embeddings(name: str, weights: dict[str, Loaded]) -> None:
    """A row with an embedding equals the row with its token id."""
    w, model = weights[name], TINY[name]
    tokens = model.tokens()
    table = model.make()["model.embed_tokens.weight"]
    embedded = np.array([0, 3, 4, 39])
    masked = tokens.copy()
    masked[embedded] = -1
    step = make_step(w[0].config, Span(masked, 0, (0,)), embeddings=np.ascontiguousarray(table[tokens[embedded]]))
    assert np.array_equal(step_logits(w, new_state(w[0].config, 1, "f32"), step), run(w, tokens))


@pytest.mark.parametrize("name", ["qwen-mixture", "llama-scout"])
def test_ties_of_the_router_go_to_the_lowest(name: str, tmp_path: Path) -> None:
    """If all experts score equal, the kernels choose the same ones as the reference."""
    model = TINY[name]

    def tied(config: dict[str, object]) -> dict[str, np.ndarray]:
        tensors = model.tensors(config)
        for tensor_name, tensor in tensors.items():
            if tensor_name.endswith(("mlp.gate.weight", "router.weight")):
                tensor[:] = tensor[:1]
        return tensors

    checkpoint = open_checkpoint(replace(model, tensors=tied).write(tmp_path))
    config = parse_config(checkpoint)
    binding = bind(config, checkpoint, wanted_shapes(config))
    ours = run(load_weights(config, binding), model.tokens())
    reference = advance(load_reference(config, binding), new_reference_state(config), model.tokens().tolist())
    assert error(ours, reference) < 2e-5


def tiled(config: dict[str, Any]) -> Tensors:
    """The tensors of a Qwen model with its value heads in GGUF's order: one of each key head in turn."""
    tensors = qwen_tensors(config)
    heads, dim = config["linear_num_value_heads"], config["linear_value_head_dim"]
    keys = config["linear_num_key_heads"]
    order = np.arange(heads).reshape(keys, heads // keys).T.reshape(-1)
    rows = (order[:, None] * dim + np.arange(dim)).reshape(-1)
    first_value = 2 * keys * config["linear_key_head_dim"]
    channels = np.concatenate([np.arange(first_value), first_value + rows])
    for name, tensor in tensors.items():
        if name.endswith(("in_proj_qkv.weight", "conv1d.weight")):
            tensors[name] = tensor[channels]
        elif name.endswith("in_proj_z.weight"):
            tensors[name] = tensor[rows]
        elif name.endswith(("in_proj_a.weight", "in_proj_b.weight", "A_log", "dt_bias")):
            tensors[name] = tensor[order]
        elif name.endswith("linear_attn.out_proj.weight"):
            tensors[name] = tensor[:, rows]
    return tensors


@pytest.mark.parametrize("name", ["qwen-dense", "qwen-mixture"])
def test_value_heads_in_either_order(name: str, tmp_path: Path) -> None:
    """Three value heads per key head, grouped or tiled: the same model for the kernels and the reference."""
    model = replace(TINY[name], config=TINY[name].config | {"linear_num_value_heads": 6})
    tokens = model.tokens()
    logits = []
    for order, tensors in (("grouped", qwen_tensors), ("tiled", tiled)):
        folder = tmp_path / order
        folder.mkdir()
        checkpoint = open_checkpoint(replace(model, tensors=tensors).write(folder))
        config = replace(parse_config(checkpoint), value_head_order=order)  # type: ignore[arg-type]
        binding = bind(config, checkpoint, wanted_shapes(config))
        logits.append(run(load_weights(config, binding), tokens))
        reference = advance(load_reference(config, binding), new_reference_state(config), tokens.tolist())
        assert error(logits[-1], reference) < 2e-5
    assert error(logits[1], logits[0]) < 2e-5
