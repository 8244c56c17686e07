"""The demo model against transformers' own Llama on the original's weights: real weights, real text.

Two conversions meet: ours into a Llama 4 mixture, and here the original's GGUF into Hugging Face's layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from live import check_top1, relative
from run_steps import run

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.formats.gguf_write import OutgoingTensor, write_gguf
from shoestring.checkpoint.names.bind import bind
from shoestring.checkpoint.open import open_checkpoint
from shoestring.checkpoint.tensors import Checkpoint, Tensor
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.errors import CheckpointError
from shoestring.models.shapes import wanted_shapes
from shoestring.models.weights import load_weights
from shoestring.reference import model as reference
from shoestring.reference.dequantize import BLOCKS, dequantize
from shoestring.samples import smollm_as_llama4

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

CONVERSATIONS = (
    ("What is the capital of France?", "The capital of France is Paris, which lies on the river Seine."),
    (
        "Write a haiku about the sea.",
        "Waves fold into foam,\nsalt and silver, breath of dusk;\nthe moon pulls.",
    ),
    ("Count from 1 to 10.", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10"),
    ("def add(a, b):\n    return a +", "```python\ndef add(a, b):\n    return a + b\n```\nThis adds two numbers."),
    ("Why is the sky blue? 🌍", "Because air scatters short, blue waves of sunlight more than long, red ones."),
)


@pytest.fixture(scope="module")
def original() -> Checkpoint:
    try:
        return open_checkpoint(smollm_as_llama4.source_path())
    except CheckpointError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def floats(original: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The converted model with every block dequantized to float32, about 1 GB."""
    folder = tmp_path_factory.mktemp("demo")
    smollm_as_llama4.convert(original, folder / "blocks.gguf")
    source = open_checkpoint(folder / "blocks.gguf")
    path = folder / "floats.gguf"
    tensors = [
        OutgoingTensor(t.name, "F32", t.shape, lambda t=t: [numbers(t).view(np.uint8).reshape(-1)])
        for t in source.tensors.values()
    ]
    write_gguf(path, source.metadata, tensors)
    yield path
    path.unlink()
    (folder / "blocks.gguf").unlink()


def numbers(tensor: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """All of a tensor as float32, [*shape]."""
    if tensor.type == "F32":
        return np.frombuffer(tensor.data.tobytes(), "<f4").reshape(tensor.shape)
    block_bytes = BLOCKS[tensor.type][0]
    rows = tensor.data.reshape(-1, tensor.shape[-1] // 32 * block_bytes)
    return np.ascontiguousarray(dequantize(rows, tensor.type)).reshape(tensor.shape)


@pytest.fixture(scope="module")
def conversations(original: Checkpoint) -> list[list[int]]:
    tokenizer = Tokenizer.from_checkpoint(original)
    marked = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n{}<|im_end|>\n"
    return [tokenizer.encode(marked.format(*turns), allow_special=True) for turns in CONVERSATIONS]


@pytest.fixture(scope="module")
def theirs(original: Checkpoint, conversations: list[list[int]]) -> list[Array]:
    model = llama(original)
    with torch.no_grad():
        return [model(input_ids=torch.tensor([ids])).logits[0].numpy() for ids in conversations]


def llama(original: Checkpoint) -> transformers.LlamaForCausalLM:
    """transformers' Llama with the original's weights, in float64."""
    config = transformers.LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, rms_norm_eps=1e-5, rope_theta=100_000.0, tie_word_embeddings=True,
        max_position_embeddings=8192, attn_implementation="eager",
    )  # fmt: skip
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
    parts = {
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    }  # fmt: skip
    state = {}
    for name, tensor in original.tensors.items():
        values = torch.from_numpy(numbers(tensor).copy())
        if name.startswith("blk."):
            _, layer, part, _ = name.split(".")
            if part in ("attn_q", "attn_k"):  # interleaved rotary pairs back into two halves
                rows, columns = values.shape
                values = values.reshape(rows // 64, 32, 2, columns).transpose(1, 2).reshape(rows, columns)
            state[f"model.layers.{layer}.{parts[part]}.weight"] = values
        else:
            state[f"{names[name.removesuffix('.weight')]}.weight"] = values
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model = transformers.LlamaForCausalLM(config)
    model.load_state_dict(state)
    return model.double().eval()


def test_the_conversion_computes_what_the_original_does(
    original: Checkpoint, floats: Path, conversations: list[list[int]], theirs: list[Array]
) -> None:
    checkpoint = open_checkpoint(floats)
    config = parse_config(checkpoint)
    weights = reference.load_weights(config, bind(config, checkpoint, wanted_shapes(config)))
    for ids, expected in zip(conversations[:2], theirs, strict=False):
        ours = reference.advance(weights, reference.new_state(config), ids)
        assert relative(ours, expected) < 1e-5
        check_top1(ours, expected)


def test_the_engine_on_float_weights(floats: Path, conversations: list[list[int]], theirs: list[Array]) -> None:
    checkpoint = open_checkpoint(floats)
    config = parse_config(checkpoint)
    weights = load_weights(config, bind(config, checkpoint, wanted_shapes(config)))
    for ids, expected in zip(conversations, theirs, strict=True):
        ours = run(weights, np.asarray(ids), "f32")
        assert relative(ours, expected) <= 1e-4
        check_top1(ours, expected)


def test_all_experts_are_used(original: Checkpoint, conversations: list[list[int]]) -> None:
    """In each layer every expert gets tokens of ordinary conversations, and the winner's sigmoid is exactly 1."""
    seen: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = []
    model = llama(original)
    for block in model.model.layers:
        block.mlp.register_forward_pre_hook(lambda _, args: seen.append(args[0][0].detach().numpy()))
    with torch.no_grad():
        for ids in conversations:
            model(input_ids=torch.tensor([ids]))
    for layer in range(30):
        hidden = np.concatenate(seen[layer::30])
        scores = hidden @ smollm_as_llama4.router_rows(layer, 576).T.astype(np.float64)
        assert scores.max(axis=1).min() > 40
        assert set(scores.argmax(axis=1).tolist()) == {0, 1, 2, 3}
