"""Limits of a request; docs/server.md lists them."""

from __future__ import annotations

from dataclasses import dataclass

#: Bytes of a body. Larger ones wait for each other, not smaller ones for them.
SMALL = 256 << 10


@dataclass(frozen=True)
class Limits:
    """A request beyond these limits is refused before any work."""

    body_bytes: int = 32 << 20
    #: all bodies that are arriving or read, with their parsed values
    bodies: int = 256
    bodies_bytes: int = 128 << 20
    #: tokens of the requests that wait for the engine; one alone may have more
    waiting_bytes: int = 64 << 20
    messages: int = 4096
    tools: int = 512
    schema_characters: int = 256 << 10
    schema_depth: int = 64
    #: answers to one prompt
    answers: int = 16
    #: of a model's name, which some answers repeat in each event
    name_characters: int = 512
    stop_strings: int = 16
    stop_characters: int = 512
    #: pictures and videos of a request that lie on the Web, and the time for each
    remote_media: int = 16
    fetch_seconds: float = 20.0
    #: seconds of the processor that decoding one video may take
    video_cpu_seconds: float = 120.0
    #: time to receive a body
    body_seconds: float = 60.0
    #: time after which a client that does not read is disconnected
    write_seconds: float = 60.0
    #: interval between keep-alives of a stream that has nothing to send
    keep_alive_seconds: float = 5.0
    #: tokens that the endpoints without an answer count, if the context has fewer
    counted_tokens: int = 1 << 20
    #: characters of text that /detokenize returns
    text_characters: int = 8 << 20
