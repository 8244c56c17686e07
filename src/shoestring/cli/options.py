"""Arguments and options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from shoestring import kv_types
from shoestring.cli.shared import count, option, shown_order, sizes, tokens
from shoestring.errors import RequestError
from shoestring.files import named_path


class KVType(str, Enum):
    """Data type of the KV cache."""

    f16 = "f16"
    f32 = "f32"
    q8_0 = "q8_0"


ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A .gguf file, a Hugging Face folder, a Hub name, a short name like qwen3.5:4b, demo-llama4, "
        "demo-qwen3.5 or demo-scripted.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", "-t", metavar="N", help="Number of compute threads. [default: one per physical core]"),
]
KV = Annotated[
    KVType,
    typer.Option(
        "--kv-type",
        metavar="f16|f32|q8_0",
        help="Data type of the KV cache; affects the output. q8_0: 53% of f16's bytes.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")]
Memory = Annotated[
    int | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="Memory limit of the process, e.g. 12GiB; experts beyond it stream from disk. [default: what is free]",
        parser=sizes("--memory"),
    ),
]
MaxImageTokens = Annotated[
    int | None,
    typer.Option(
        "--max-image-tokens",
        metavar="N",
        help="Maximum tokens of a picture, with its markers. [default: the model's own limit]",
        parser=tokens("--max-image-tokens"),
    ),
]
VideoFps = Annotated[
    float | None,
    typer.Option(
        "--video-fps", metavar="FPS", help="Frames to read per second of video. [default: the model's own, usually 2]"
    ),
]
MaxFrames = Annotated[
    int | None,
    typer.Option(
        "--max-frames",
        metavar="N",
        help="Maximum frames to read of a video. [default: the model's own, usually 768]",
        parser=count("--max-frames"),
    ),
]
ExpertsPerToken = Annotated[
    int | None,
    typer.Option(
        "--experts-per-token",
        metavar="K",
        help="Experts that each token uses; changes the answers. [default: the file's]",
    ),
]
RecordRoutes = Annotated[
    Path | None,
    typer.Option("--record-routes", metavar="FILE", help="Write which experts the tokens use, for bench --replay."),
]
System = Annotated[str | None, typer.Option("--system", "-s", metavar="TEXT", help="System message of the chat.")]


@dataclass(frozen=True)
class Loading:
    """How to load a model."""

    context: int | None = option(
        "N",
        "Maximum tokens per sequence, e.g. 32k. [default: what the model and memory allow]",
        "--context",
        "-c",
        parser=tokens("--context"),
    )
    threads: Threads = None
    kv_type: KV = KVType.f16
    memory: Memory = None
    experts_per_token: ExpertsPerToken = None
    record_routes: RecordRoutes = None
    mmproj: Path | None = option(
        "FILE", "GGUF file of the vision tower. [default: the one beside MODEL that belongs to it]", "--mmproj"
    )
    max_image_tokens: MaxImageTokens = None
    video_fps: VideoFps = None
    max_frames: MaxFrames = None

    def pictures(self) -> dict[str, Any]:
        """How pictures and videos are read, as keyword arguments of shoestring.load."""
        names = ("mmproj", "max_image_tokens", "video_fps", "max_frames")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def kv(self) -> kv_types.KVType:
        """`kv_type` as the library names it."""
        return self.kv_type.value


@dataclass(frozen=True)
class Shown:
    """Pictures and videos of a question."""

    image: list[str] | None = option("FILE", "A picture that the question is about. Repeatable.", "--image")
    video: list[str] | None = option("FILE", "A video that the question is about. Repeatable.", "--video")

    def parts(self) -> list[dict[str, Any]]:
        """The parts of the question's content, in the order of the command line."""
        files = {"image": list(self.image or ()), "video": list(self.video or ())}
        order = shown_order()
        if sorted(order) != sorted(["image"] * len(files["image"]) + ["video"] * len(files["video"])):
            order = ["image"] * len(files["image"]) + ["video"] * len(files["video"])
        return [{"type": kind, kind: named_path(files[kind].pop(0))} for kind in order]


@dataclass(frozen=True)
class Server:
    """Another server to use instead of a model in this process."""

    url: str | None = option("URL", "Use this OpenAI-compatible server, e.g. http://localhost:8080.")
    api_key_env: str | None = option("NAME", "With --url: environment variable that holds the API key.")

    def api_key(self) -> str | None:
        """The key of --api-key-env. Raises RequestError if the variable is not set."""
        name = self.api_key_env
        if name is None:
            return None
        key = os.environ.get(name, "").strip()
        if not key:
            raise RequestError(f"--api-key-env names {name}, which is not set: export {name}=…")
        return key


#: Options that are fields of ops.sampling.Sampling, by the same names.
SAMPLING = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "seed",
)


def _sampling(metavar: str, help: str) -> Any:
    return option(metavar, f"{help} [default: the checkpoint's, else the vendor's]")


@dataclass(frozen=True)
class Generation:
    """Options of all commands that generate: sampling and where an answer ends."""

    thinking: bool | None = option(
        None, "Let the model think before it answers. [default: the chat template's]", "--thinking/--no-thinking"
    )
    max_tokens: int | None = option(
        "N",
        "Maximum tokens to generate. [default: until the context is full]",
        "--max-tokens",
        "-n",
        parser=tokens("--max-tokens"),
    )
    temperature: float | None = _sampling("X", "Sampling temperature; 0 always picks the likeliest token.")
    top_k: int | None = _sampling("N", "Sample from the N likeliest tokens; 0: off.")
    top_p: float | None = _sampling("X", "Sample from the likeliest tokens whose probabilities sum to X; 1: off.")
    min_p: float | None = _sampling("X", "Drop tokens less likely than X times the likeliest; 0: off.")
    presence_penalty: float | None = _sampling("X", "Subtract X from the logits of tokens generated before.")
    frequency_penalty: float | None = _sampling("X", "Subtract X from a token's logit for each time it was generated.")
    repetition_penalty: float | None = _sampling("X", "Divide logits of tokens seen before by X; 1: off.")
    logit_bias: list[str] | None = option("ID=X", "Add X to the logit of token ID. Repeatable.")
    seed: int | None = option("N", "The same seed gives the same answer. [default: a new seed each time]")
    stop: list[str] | None = option("TEXT", "Stop before this text. Repeatable.")
    stop_id: list[int] | None = option("ID", "Stop at this token id. Repeatable.")

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for Model.generate, checked before anything is loaded. Raises RequestError."""
        from shoestring.ops.sampling import Sampling

        sampling = {name: getattr(self, name) for name in SAMPLING}
        options: dict[str, Any] = {name: value for name, value in sampling.items() if value is not None}
        options["logit_bias"] = biases(self.logit_bias or ())
        Sampling(**options)
        if self.max_tokens is not None and self.max_tokens < 1:
            raise RequestError(f"--max-tokens is {self.max_tokens}: choose at least 1")
        for token in self.stop_id or ():
            if token < 0:
                raise RequestError(f"--stop-id is {token}: give a token id of at least 0")
        if "" in (self.stop or ()):
            raise RequestError("--stop is empty: give the text that ends an answer")
        return {
            **options,
            "max_tokens": self.max_tokens,
            "stop": tuple(self.stop or ()),
            "stop_ids": tuple(self.stop_id or ()),
            "thinking": self.thinking,
        }


def biases(texts: Sequence[str]) -> dict[int, float]:
    """Parse the "ID=X" of --logit-bias to token id → bias. Raises RequestError."""
    by_token = {}
    for text in texts:
        token, _, bias = text.partition("=")
        try:
            by_token[int(token)] = float(bias)
        except ValueError:
            raise RequestError(f"--logit-bias is {text!r}: write a token id and a number, like 1234=-5") from None
    return by_token
