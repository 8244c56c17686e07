"""A random model built and saved by `transformers`, opened by us; their logits and ours side by side."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from fp8_folder import to_fp8
from run_steps import HiddenStates, run

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.names.bind import Binding, bind
from shoestring.checkpoint.open import open_checkpoint
from shoestring.models.shapes import wanted_shapes
from shoestring.models.weights import load_weights
from shoestring.reference.loading import load_weights as load_reference
from shoestring.reference.model import advance, new_state

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

#: Their plainest code paths.
PLAIN = {"attn_implementation": "eager", "experts_implementation": "eager"}


@dataclass(frozen=True)
class Case:
    """A text config, and what is unusual about it."""

    text: dict[str, Any]
    #: saved inside the multimodal wrapper, with a vision tower
    wrapped: bool = False
    dtype: torch.dtype = torch.float32
    rows: int = 70
    #: time, height and width positions differ
    spread_positions: bool = False
    #: rows a step when the engine takes several
    chunks: tuple[int, ...] = (1, 7, 64)
    #: matrices saved as FP8 with scales of 128 × 128 blocks
    fp8: bool = False
    vision: dict[str, Any] = field(default_factory=dict)
    #: another draw, where one has a token whose router is all but undecided: half precision then picks another expert
    seed: int = 0


@dataclass(frozen=True)
class Pair:
    """Their logits and hidden states, and what ours are made from."""

    case: Case
    config: Config
    binding: Binding
    tokens: Int64
    positions: Int64
    theirs: Float64
    #: embeddings, then the output of every layer, the last one normed  [num_hidden_layers + 1, rows, hidden_size]
    hidden: Float64


def randomize(model: torch.nn.Module, seed: int) -> None:
    """Weights under which logits spread and nothing vanishes: deviation 1 / sqrt(inner), norms around their middle."""
    generator = torch.Generator().manual_seed(seed)

    def normal(parameter: torch.Tensor, deviation: float, mean: float = 0.0) -> None:
        parameter.copy_(mean + deviation * torch.randn(parameter.shape, generator=generator))

    qwen = "Qwen" in type(model).__name__
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "visual" in name or "vision" in name or "multi_modal" in name:
                continue
            if name.endswith("norm.weight"):
                centred = qwen and not name.endswith("linear_attn.norm.weight")
                normal(p, 0.2, 0.0 if centred else 1.0)
            elif name.endswith("A_log"):
                normal(p, 0.7, -1.0)
            elif name.endswith(("dt_bias", "conv1d.weight")):
                normal(p, 0.5)
            elif name.endswith("embed_tokens.weight"):
                normal(p, 1.0 if not model.config.get_text_config().tie_word_embeddings else 0.3)
            elif name.endswith("lm_head.weight"):
                normal(p, 3 * p.shape[-1] ** -0.5)
            elif "experts." in name and p.ndim == 3 and not qwen:
                normal(p, 1.5 * p.shape[1] ** -0.5)
            else:
                normal(p, 1.5 * p.shape[-1] ** -0.5)


def build(case: Case, seed: int) -> torch.nn.Module:
    """The text model, or the wrapper around it."""
    kind = case.text["model_type"]
    torch.manual_seed(seed)
    config = transformers.AutoConfig.for_model(**case.text)
    if case.wrapped:
        outer = {"qwen3_5_text": "qwen3_5", "qwen3_5_moe_text": "qwen3_5_moe", "llama4_text": "llama4"}[kind]
        tied = case.text.get("tie_word_embeddings", False)
        config = transformers.AutoConfig.for_model(
            outer, text_config=case.text, vision_config=case.vision, tie_word_embeddings=tied
        )
        model = transformers.AutoModelForImageTextToText.from_config(config, **PLAIN)
    else:
        model = transformers.AutoModelForCausalLM.from_config(config, **PLAIN)
    randomize(model, seed)
    with torch.no_grad():
        for p in model.parameters():  # rounded, not cast: a cast would round the rotary frequencies too
            p.copy_(p.to(case.dtype))
    return model.eval()


def make_pair(case: Case, name: str, folder: Path) -> Pair:
    """Builds, saves, opens; their logits and hidden states in float64 from the weights as saved."""
    seed = case.seed + sum(name.encode())
    model = build(case, seed)
    model.save_pretrained(folder, state_dict={name: p.to(case.dtype) for name, p in model.state_dict().items()})
    if case.fp8:
        model = type(model).from_pretrained(to_fp8(folder), dtype=torch.float32, **PLAIN).eval()
    model = model.double()
    generator = np.random.default_rng(seed)
    tokens = generator.integers(0, case.text["vocab_size"], case.rows)
    time = np.arange(case.rows)
    positions = np.stack([time, time, time], axis=1)
    if case.spread_positions:
        positions = np.stack([time // 9, time // 3 % 7 + time // 9, time % 5 + time // 9], axis=1)
    with torch.no_grad():
        extra = {"position_ids": torch.from_numpy(positions.T.copy())[:, None]} if case.spread_positions else {}
        output = model(input_ids=torch.from_numpy(tokens)[None], use_cache=False, output_hidden_states=True, **extra)
    theirs, hidden = output.logits[0].numpy(), torch.cat(output.hidden_states).numpy()
    checkpoint = open_checkpoint(folder)
    config = parse_config(checkpoint)
    return Pair(case, config, bind(config, checkpoint, wanted_shapes(config)), tokens, positions, theirs, hidden)


def check_reference(pair: Pair) -> float:
    """Largest difference of the float64 reference over the largest logit."""
    weights = load_reference(pair.config, pair.binding)
    hidden = HiddenStates()
    ours = advance(
        weights, new_state(pair.config), pair.tokens.tolist(), rotary_positions=pair.positions, observe=hidden
    )
    check_hidden_states(hidden, pair, 2e-5)
    return relative(ours, pair.theirs)


def check_engine(pair: Pair) -> tuple[float, float]:
    """The same of the engine, at KV f32 and f16; whatever the chunks its bits are the same."""
    weights = load_weights(pair.config, pair.binding)
    hidden = HiddenStates()
    whole = run(weights, pair.tokens, "f32", rotary_positions=pair.positions, observe=hidden)
    check_hidden_states(hidden, pair, 1e-4)
    chunks = [*pair.case.chunks, pair.case.rows]
    assert np.array_equal(run(weights, pair.tokens, "f32", chunks, pair.positions), whole)
    check_top1(whole, pair.theirs)
    half = run(weights, pair.tokens, "f16", rotary_positions=pair.positions)
    return relative(whole, pair.theirs), relative(half, pair.theirs)


def relative(ours: npt.NDArray[Any], theirs: Float64) -> float:
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.5
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def check_hidden_states(ours: HiddenStates, pair: Pair, largest: float) -> None:
    """Every layer's hidden state is theirs, up to `largest` of the layer's largest number."""
    for layer, (state, theirs) in enumerate(zip(ours.stacked, pair.hidden, strict=True)):
        difference = np.abs(state - theirs).max() / np.abs(theirs).max()
        assert difference < largest, f"hidden state {layer}"


def check_top1(ours: npt.NDArray[Any], theirs: Float64) -> None:
    """Teacher-forced top-1 is equal wherever theirs is clear of the second by 1e-3 of the largest logit."""
    best = np.sort(theirs, axis=1)
    clear = best[:, -1] - best[:, -2] > 1e-3 * np.abs(theirs).max()
    assert clear.mean() > 0.5
    assert np.array_equal(ours.argmax(axis=1)[clear], theirs.argmax(axis=1)[clear])
