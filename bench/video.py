"""Measure a video: 60 seconds at 8 frames a second (480 frames), then a second question about it.

    python bench/video.py [--seconds 60] [--fps 8] [--threads 2] [--folder FOLDER] [--json FILE]

The model has Qwen3.5-0.8B's shape in Q8_0 and its tower's (12 layers of 768, BF16), both random; --folder keeps them.
Reports tokens, seconds until the first token and the process's peak memory of a first question, a second one about the
same video, and a question with another beginning, which takes the encoded rows alone from the cache. The last line says
whether the second question's first token comes 20 times sooner; else the exit status is 1.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import cpu, version
from servers import CONFIG

import shoestring
from shoestring.checkpoint.config.vision_types import Qwen3_5VisionConfig
from shoestring.media.source import Source
from shoestring.runtime.model import Model
from shoestring.samples.synthetic import read_config, write_synthetic
from shoestring.samples.synthetic.vision import write_mmproj

#: Required: the second question's first token comes at least this many times sooner.
TIMES_SOONER = 20


@dataclass(frozen=True)
class Question:
    """One request."""

    name: str
    prompt_tokens: int
    cached_tokens: int
    prompt_seconds: float
    first_token_seconds: float
    peak_bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--fps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="of the model's files; written if they are missing")
    parser.add_argument("--json", type=Path, help="also write the samples to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        file = model_file(arguments.folder or Path(temporary))
        part = Source("video", clip(arguments.seconds, arguments.fps), name="the clip").part
        questions = play(file, part, arguments.fps, arguments.threads)
    print(f"{arguments.seconds} s at {arguments.fps} frames/s, {arguments.threads} threads of {cpu()}, {version()}")
    print("| question | tokens | from the cache | prompt ready, s | first token, s | peak memory, GB |")
    print("|---|---|---|---|---|---|")
    for q in questions:
        print(
            f"| {q.name} | {q.prompt_tokens:,} | {q.cached_tokens:,} | {q.prompt_seconds:.2f} | "
            f"{q.first_token_seconds:.2f} | {q.peak_bytes / 1e9:.2f} |"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(question) for question in questions], indent=1))
    times = questions[0].first_token_seconds / questions[1].first_token_seconds
    print(f"the second question's first token comes {times:.0f} times sooner (required: {TIMES_SOONER})")
    sys.exit(times < TIMES_SOONER)


def model_file(folder: Path) -> Path:
    """The model, with its tower beside it."""
    file, tower = folder / "video-model.gguf", folder / "mmproj-BF16.gguf"
    config = read_config(CONFIG)
    if not file.exists():
        write_synthetic(config, file, "Q8_0", vision=True)
    if not tower.exists():
        write_mmproj(
            Qwen3_5VisionConfig(
                num_hidden_layers=12,
                hidden_size=768,
                num_attention_heads=12,
                intermediate_size=3072,
                patch_size=16,
                temporal_patch_size=2,
                spatial_merge_size=2,
                num_position_embeddings=2304,
                out_hidden_size=config.hidden_size,
                layer_norm_eps=1e-6,
                rope_theta=10000.0,
            ),
            tower,
            "BF16",
        )
    return file


def clip(seconds: int, fps: int, height: int = 360, width: int = 640) -> bytes:
    """A video of noise that moves, in H.264."""
    import av

    random = np.random.default_rng(0)
    wide = random.integers(0, 256, (height // 8, width // 4, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(seconds * fps):
            picture = np.ascontiguousarray(wide[:, number % width : number % width + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def play(file: Path, part: dict[str, Any], fps: int, threads: int) -> list[Question]:
    # The cache is as large as a server's.
    with shoestring.load(file, threads=threads, context=16384, cache_memory="share", video_fps=fps) as model:
        return [
            ask(model, "first", [part, text("What happens first?")]),
            ask(model, "second", [part, text("And what is it that happens last?")]),
            ask(model, "another beginning", [text("Look at this:"), part, text("What is it?")]),
        ]


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def ask(model: Model, name: str, content: list[dict[str, Any]]) -> Question:
    began = time.perf_counter()
    stream = model.generate(messages=[{"role": "user", "content": content}], max_tokens=1, ignore_eos=True)
    ready = time.perf_counter()
    next(stream)
    first = time.perf_counter()
    usage = stream.usage
    stream.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return Question(name, usage.prompt_tokens, usage.cached_tokens, ready - began, first - began, peak)


if __name__ == "__main__":
    main()
