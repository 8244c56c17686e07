"""What a model's eyes cost on a machine: the memory of its tower, and the tokens of pictures and video.

The processors are imported late: they need numpy, and most plans do not need them.
"""

from __future__ import annotations

from shoestring.planning.advice.sentences import Finding, Sentence, sentence
from shoestring.planning.assess import Assessment
from shoestring.sizes import human

#: The picture and the video whose tokens are named: pixels, frames a second, seconds.
SIDE = 1024
VIDEO_HEIGHT, VIDEO_WIDTH, VIDEO_FPS, VIDEO_SECONDS = 720, 1280, 30, 60


def pictures(a: Assessment) -> Sentence | None:
    """Memory of the vision tower, tokens of a picture and of a minute of video; None for a model of text alone."""
    tower = a.need.sizes.of("vision")
    if not tower or not any(shape.part == "vision" for shape in a.candidate.shapes):
        return None
    id, memory, each = a.candidate.id, human(tower), picture_tokens(a.candidate.config.family)
    found = [Finding(id, "vision tower", memory), Finding(id, "tokens of a picture", f"{each:,}")]
    text = f"its vision tower takes {memory}; a picture of {SIDE} × {SIDE} pixels takes {each:,} tokens of the context"
    if a.candidate.config.family == "qwen3_5":
        minute = video_tokens()
        found.append(Finding(id, "tokens of a minute of video", f"{minute:,}"))
        text += f", a minute of 720p video {minute:,}"
    return sentence(text, *found)


def picture_tokens(family: str) -> int:
    """Tokens of a picture of SIDE × SIDE with the published processor."""
    from shoestring.media import llama4, qwen3_5
    from shoestring.media.pieces import timestamp_tokens, token_count
    from shoestring.media.settings import LlamaSettings, QwenSettings

    if family == "llama4":
        settings = LlamaSettings()
        pieces = llama4.picture_pieces(llama4.tiling(SIDE, SIDE, settings), settings)
    else:
        pieces = qwen3_5.picture_pieces(qwen3_5.picture_grid(SIDE, SIDE, QwenSettings()), QwenSettings())
    return token_count(pieces, timestamp_tokens)


def video_tokens() -> int:
    """Tokens of a minute of video with Qwen 3.5's published processor."""
    from shoestring.media import qwen3_5
    from shoestring.media.pieces import timestamp_tokens, token_count
    from shoestring.media.settings import QwenSettings

    settings = QwenSettings()
    frames = VIDEO_FPS * VIDEO_SECONDS
    plan = qwen3_5.plan_video(VIDEO_HEIGHT, VIDEO_WIDTH, frames, float(VIDEO_FPS), settings)
    return token_count(qwen3_5.video_pieces(plan, settings), timestamp_tokens)
