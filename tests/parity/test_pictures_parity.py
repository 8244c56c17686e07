"""Whole models that see, against transformers: token ids, rotary positions and logits of conversations with pictures
and videos between text and across turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import clips
import numpy as np
import numpy.typing as npt
import odd_pictures
import pytest
import torch
import transformers
import vision_models
from live import check_top1, relative
from PIL import Image
from test_media_parity import LLAMA, QWEN_PICTURE, QWEN_VIDEO
from transformers.models.llama4.modeling_llama4 import Llama4ForConditionalGeneration
from transformers.models.llama4.processing_llama4 import Llama4Processor
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.video_utils import VideoMetadata

import shoestring
from shoestring.media.source import Source
from shoestring.runtime.model import Model
from shoestring.runtime.prompt import Prompt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

SMALL, WIDE, TALL = (90, 120), (64, 300), (400, 150)


def picture(size: tuple[int, int], seed: int = 0) -> tuple[dict[str, Any], Image.Image]:
    image = odd_pictures.rgb(*size, seed=seed)
    return Source("image", odd_pictures.saved(image, "PNG")).part, image


def video(count: int) -> tuple[dict[str, Any], list[npt.NDArray[np.uint8]]]:
    return Source("video", clips.clip("ffv1.mkv", count=count)).part, clips.frames(count)


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def conversation(name: str) -> tuple[list[dict[str, Any]], list[Image.Image], list[Any]]:
    """Messages, and their pictures and videos as the reference takes them."""
    a, theirs_a = picture(SMALL)
    b, theirs_b = picture(WIDE, seed=1)
    c, theirs_c = picture(TALL, seed=2)
    match name:
        case "one":
            return [{"role": "user", "content": [a, text("hello")]}], [theirs_a], []
        case "turns":
            return (
                [
                    {"role": "user", "content": [text("think "), b, text(" or "), c]},
                    {"role": "assistant", "content": "hello world"},
                    {"role": "user", "content": [a, text("and?")]},
                ],
                [theirs_b, theirs_c, theirs_a],
                [],
            )
        case "tool":
            call = {"type": "function", "function": {"name": "look", "arguments": {}}}
            return (
                [
                    {"role": "user", "content": "look"},
                    {"role": "assistant", "content": "", "tool_calls": [call]},
                    {"role": "tool", "content": [text("seen: "), a]},
                ],
                [theirs_a],
                [],
            )
        case "video":
            odd, theirs_odd = video(25)
            return [{"role": "user", "content": [text("x"), odd, text("what?")]}], [], [theirs_odd]
    even, theirs_even = video(40)
    return (
        [
            {"role": "user", "content": [even, text(" think "), a]},
            {"role": "assistant", "content": "hello"},
            {"role": "user", "content": [b, text("why?"), even]},
        ],
        [theirs_a, theirs_b],
        [theirs_even, theirs_even],
    )


class Qwen:
    names = ("one", "turns", "tool", "video", "mixed")

    def __init__(self, folder: Path) -> None:
        self.tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        self.processor = Qwen3VLProcessor(QWEN_PICTURE, self.tokenizer, QWEN_VIDEO)
        config = transformers.AutoConfig.from_pretrained(folder)
        ids = self.tokenizer.convert_tokens_to_ids
        config.image_token_id, config.video_token_id = ids("<|image_pad|>"), ids("<|video_pad|>")
        config.vision_start_token_id, config.vision_end_token_id = ids("<|vision_start|>"), ids("<|vision_end|>")
        config._attn_implementation = "eager"
        self.model = transformers.AutoModelForImageTextToText.from_pretrained(folder, config=config).eval().double()

    def inputs(self, rendered: str, pictures: list[Image.Image], videos: list[Any]) -> dict[str, Any]:
        metadata = [VideoMetadata(total_num_frames=len(v), fps=10.0, frames_indices=[*range(len(v))]) for v in videos]
        arrays = [torch.from_numpy(np.stack(frames).transpose(0, 3, 1, 2)) for frames in videos]
        return dict(
            self.processor(
                text=[rendered],
                images=pictures or None,
                videos=arrays or None,
                video_metadata=metadata or None,
                return_tensors="pt",
                return_mm_token_type_ids=True,
            )
        )

    def positions(self, inputs: dict[str, Any]) -> Int64:
        keys = ("input_ids", "mm_token_type_ids", "image_grid_thw", "video_grid_thw", "attention_mask")
        found, _ = self.model.model.get_rope_index(**{key: inputs[key] for key in keys if key in inputs})
        return np.asarray(found[:, 0].T)


class Llama:
    names = ("one", "turns")

    def __init__(self, folder: Path) -> None:
        self.tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(folder / "tokenizer.json"), bos_token="<|begin_of_text|>"
        )
        self.processor = Llama4Processor(LLAMA, self.tokenizer)
        config = transformers.AutoConfig.from_pretrained(folder)
        config.image_token_index = self.tokenizer.convert_tokens_to_ids("<|patch|>")
        config._attn_implementation = "eager"
        transformers.modeling_outputs.MoeCausalLMOutputWithPast.image_outputs = None  # else 5.24 raises
        self.model = Llama4ForConditionalGeneration.from_pretrained(folder, config=config).eval().double()

    def inputs(self, rendered: str, pictures: list[Image.Image], videos: list[Any]) -> dict[str, Any]:
        return dict(self.processor(text=rendered, images=pictures, return_tensors="pt", add_special_tokens=False))

    def positions(self, inputs: dict[str, Any]) -> Int64:
        return np.repeat(np.arange(inputs["input_ids"].shape[1])[:, None], 3, axis=1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeing")
    for family in vision_models.FAMILIES:
        vision_models.write_folder_model(folder / family, family)
    return folder


@pytest.mark.parametrize("family", vision_models.FAMILIES)
def test_whole_conversations(family: vision_models.Family, folders: Path) -> None:
    reference: Any = Qwen(folders / family) if family == "qwen3_5" else Llama(folders / family)
    model = shoestring.load(folders / family, context=2048, kv_type="f32", threads=2)
    for name in reference.names:
        messages, pictures, videos = conversation(name)
        prompt = model.prompt(messages=messages)
        inputs = reference.inputs(rendered(model, messages), pictures, videos)
        assert inputs["input_ids"][0].tolist() == [*prompt.tokens], name
        assert np.array_equal(prompt.rotary_positions, reference.positions(inputs)), name
        theirs = logits(reference.model, inputs)
        ours = model.logits(prompt)
        difference = relative(ours, theirs)
        print(f"| {family} | {name} | {len(prompt.tokens)} | {difference:.1e} |")
        assert difference < 1e-4, name
        check_top1(ours, theirs)
        check_generation(model, prompt, ours)


def rendered(model: Model, messages: list[dict[str, Any]]) -> str:
    """The template's text, with its placeholders."""
    from shoestring.runtime.pictures.messages import for_template

    return model.template.render(for_template(messages)).text  # type: ignore[attr-defined, no-any-return]


def logits(model: torch.nn.Module, inputs: dict[str, Any]) -> Float64:
    doubles = {key: value.double() if value.is_floating_point() else value for key, value in inputs.items()}
    with torch.no_grad():
        return model(**doubles, use_cache=False).logits[0].numpy()  # type: ignore[no-any-return]


def check_generation(model: Model, prompt: Prompt, ours: npt.NDArray[np.float32]) -> None:
    """Logits of a part of the rows, from the cache, have the same bits."""
    assert np.array_equal(model.logits(prompt, rows=[-1], chunk=7), ours[-1:])
