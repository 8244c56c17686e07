"""The child process of children.py: decodes a file within limits that it sets itself.

It runs as a script and imports nothing of ours, so that it starts quickly; `upright` serves the caller's process too.
Its argument is the file's descriptor; stdin
has a JSON object of what to do, and the limits. It writes lines of JSON and pixels to stdout. What goes beyond the
limits ends the process.
"""

import errno
import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

#: Decoders of what people and cameras record. FFmpeg has hundreds more, old and little tested.
CODECS = {
    "h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "mjpeg", "prores", "ffv1", "rawvideo", "png",
}  # fmt: skip
#: FFmpeg's demuxers; a file is read by the one that its first bytes name.
DEMUXERS = {"MP4": "mov", "Matroska": "matroska", "AVI": "avi"}
#: Flags of swscale: SWS_BICUBIC, SWS_FULL_CHR_H_INT, SWS_ACCURATE_RND, SWS_BITEXACT. The last one chooses code that
#: gives the same bits on every machine. PyAV before 18 has no names for them.
EXACT = 0x4 | 0x2000 | 0x40000 | 0x80000


#: Pillow's module of each format, before "ImagePlugin".
PLUGINS = {"JPEG": "Jpeg", "PNG": "Png", "GIF": "Gif", "WebP": "WebP", "AVIF": "Avif"}
#: Pixels that `upright` converts at once.
BLOCK_PIXELS = 1 << 18


class RefusedError(Exception):
    """The message is shown to the user."""


def send(answer: dict[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()


def limit(request: dict[str, Any]) -> None:
    """Bound memory and processor time. After the imports, whose address space is not the file's."""
    if sys.platform == "linux":
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + request["memory"],) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.setitimer(signal.ITIMER_PROF, request["cpu_seconds"])  # its signal ends the process


def picture(request: dict[str, Any]) -> None:
    """The picture's size as stored, then its upright rows as RGB."""
    from PIL import Image

    file, found = request["file"], request["format"]
    plugin: Any = importlib.import_module(f"PIL.{PLUGINS[found]}ImagePlugin")
    if found == "AVIF":
        plugin.DEFAULT_MAX_THREADS = 1
    elif found == "PNG" and file.read(25)[-1:] == b"\x10":
        import numpy  # noqa: F401 (for samples of 16 bits; it takes much address space)
    file.seek(0)
    limit(request)
    image = Image.open(file, formats=(found.upper(),))
    send({"size": image.size})
    image.load()
    send({})
    for block in upright(image, request["orientation"]):
        sys.stdout.buffer.write(block.tobytes())


def upright(image: Any, orientation: int) -> Iterator[Any]:
    """The rows of a decoded picture as shown, in blocks: RGB images that are as wide as the picture.

    orientation: EXIF's number. Alpha and transparent colours are blended on white. 16-bit samples become their high
    byte.
    """
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    transparency = image.info.get("transparency")
    clear = "A" in image.getbands() or transparency is not None
    if orientation in turns:
        image = image.transpose(turns[orientation])
    step = max(1, BLOCK_PIXELS // image.width)
    for top in range(0, image.height, step):
        block = image.crop((0, top, image.width, min(top + step, image.height)))
        if block.mode.startswith("I"):
            block = from_16_bits(block, transparency)
        elif clear:
            block = block.convert("RGBA")
            block = Image.alpha_composite(Image.new("RGBA", block.size, (255, 255, 255, 255)), block)
        yield block.convert("RGB")


def from_16_bits(block: Any, transparency: object) -> Any:
    """Grey of 16 bits in 8. transparency: the value that is transparent, if any."""
    import numpy as np
    from PIL import Image

    samples = np.asarray(block)
    grey = (samples >> 8).astype(np.uint8)
    if isinstance(transparency, int):
        grey[samples == transparency] = 255
    return Image.fromarray(grey)


def opened(request: dict[str, Any]) -> Any:
    """The container and its first video stream."""
    import av

    av.logging.set_level(av.logging.PANIC)
    limit(request)
    container = av.open(request["file"], format=DEMUXERS[request["format"]], mode="r")
    if not container.streams.video:
        raise RefusedError("it has no video in it, only sound or nothing")
    stream = container.streams.video[0]
    context = stream.codec_context
    if context is None or context.name not in CODECS:
        raise RefusedError(f"its codec is {context.name if context is not None else 'unknown'}, which is not read")
    if context.width * context.height > request["pixels"]:
        raise RefusedError(f"its frames are {context.width} × {context.height} pixels, which is too large")
    context.thread_count = 1
    return container, stream


def probe(request: dict[str, Any]) -> None:
    """Count the frames without decoding them: headers lie, or do not say. The first one tells the rotation."""
    container, stream = opened(request)
    frames, rotation = 0, None
    for packet in container.demux(stream):
        frames += packet.size > 0
        if frames > request["frames"]:
            raise RefusedError(f"it has more than {request['frames']:,} frames")
        if rotation is None:
            rotation = next((frame.rotation for frame in packet.decode()), None)
    rate: Fraction | None = stream.average_rate or stream.guessed_rate
    context = stream.codec_context
    send(
        {
            "size": [context.width, context.height],
            "frames": frames,
            "fps": float(rate) if rate else None,
            "rotation": rotation or 0,
        }
    )


def frames(request: dict[str, Any]) -> None:
    """The frames of some indices, in order, as RGB: rows, columns, channels."""
    from av.video.reformatter import VideoReformatter

    container, stream = opened(request)
    reformatter = VideoReformatter()
    wanted, sent = request["indices"], 0
    send({})
    for index, frame in enumerate(container.decode(stream)):
        if index == wanted[sent]:
            if [frame.width, frame.height] != request["size"]:
                raise RefusedError("the size of its frames changes")
            rgb = reformatter.reformat(frame, format="rgb24", interpolation=EXACT)
            send({})
            sys.stdout.buffer.write(rgb.to_ndarray().tobytes())
            sent += 1
            if sent == len(wanted):
                return
    raise RefusedError(f"it ends after {index + 1} of {wanted[-1] + 1} frames: it is damaged")


def main() -> None:
    # This folder's files are no modules by themselves.
    sys.path[:] = [folder for folder in sys.path if folder != str(Path(__file__).parent)]
    request = json.load(sys.stdin.buffer)
    request["file"] = os.fdopen(int(sys.argv[1]), "rb")
    try:
        {"picture": picture, "probe": probe, "frames": frames}[request["do"]](request)
        sys.stdout.buffer.flush()
    except BaseException as error:  # a library may raise anything
        no_memory = isinstance(error, MemoryError) or getattr(error, "errno", 0) == errno.ENOMEM
        said = "it needs too much memory" if no_memory else " ".join(str(error).split())
        send({"problem": said or type(error).__name__})
    os._exit(0)  # libraries that ran out of memory need not clean up


if __name__ == "__main__":
    main()
