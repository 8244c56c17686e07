"""`chat --url`: answer with a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shoestring.cli import options
from shoestring.client import Client, End, Piece
from shoestring.errors import RequestError

if TYPE_CHECKING:
    from shoestring.media.source import Source

_MEDIA_TYPES = {
    "JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WebP": "image/webp", "AVIF": "image/avif",
    "MP4": "video/mp4", "Matroska": "video/x-matroska", "AVI": "video/x-msvideo",
}  # fmt: skip
#: Options that are request fields by the same names.
_FIELDS = ("max_tokens", *options.SAMPLING)


@contextmanager
def open_client(server: options.Server, model: str | None) -> Iterator[tuple[Client, str]]:
    """A client and the model to use: `model`, else the first that the server lists."""
    assert server.url is not None
    client = Client(server.url, server.api_key())
    try:
        served = [model] if model is not None else client.models()
        if not served:
            raise RequestError(f"{client.url} serves no model")
        yield client, served[0]
    finally:
        client.close()


class RemoteResponder:
    """Answers with a server."""

    def __init__(self, client: Client, model: str, arguments: dict[str, Any]) -> None:
        if arguments["stop_ids"]:
            raise RequestError("--stop-id does not work with --url: use --stop")
        self._client = client
        self._name = model
        self._fields = {name: arguments[name] for name in _FIELDS if arguments.get(name) is not None}
        if arguments["stop"]:
            self._fields["stop"] = list(arguments["stop"])
        if arguments.get("logit_bias"):
            self._fields["logit_bias"] = {str(token): bias for token, bias in arguments["logit_bias"].items()}
        if arguments["thinking"] is not None:
            self._fields["chat_template_kwargs"] = {"enable_thinking": arguments["thinking"]}

    def describe(self) -> str:
        return f"{self._name} at {self._client.url}"

    def tokens_of(self, source: Source) -> int | None:
        return self._client.media_tokens(openai_part(source))

    def answer(self, messages: list[dict[str, Any]]) -> RemoteAnswer:
        return RemoteAnswer(self._client.chat(self._name, [sent(message) for message in messages], **self._fields))


def sent(message: dict[str, Any]) -> dict[str, Any]:
    """A message as the API takes it: pictures and videos as data URLs."""
    from shoestring.media.source import source_of

    content = message.get("content")
    if not isinstance(content, list):
        return message
    sources = [source_of(part) for part in content]
    parts = [part if source is None else openai_part(source) for part, source in zip(content, sources, strict=True)]
    return {**message, "content": parts}


def openai_part(source: Source) -> dict[str, Any]:
    """The part of a message that shows a picture or video. Raises RequestError for a file that is neither."""
    from shoestring.media.kinds import format_of
    from shoestring.media.source import data_url

    kind, media_type = f"{source.kind}_url", _MEDIA_TYPES[format_of(source.data, source.name)]
    if not media_type.startswith(source.kind):
        raise RequestError(f"{source.name} is {media_type}: /image shows pictures, /video videos")
    return {"type": kind, kind: {"url": data_url(source, media_type)}}


class RemoteAnswer:
    """An answer of a server, with its counts and the times of its pieces."""

    def __init__(self, pieces: Iterator[Piece | End]) -> None:
        self._pieces = pieces
        self._times: list[float] = []
        self._end: End | None = None

    def __iter__(self) -> Iterator[tuple[str, bool]]:
        for piece in self._pieces:
            if isinstance(piece, End):
                self._end = piece
                return
            self._times.append(piece.seconds)
            yield piece.text, piece.kind == "thinking"

    def close(self) -> None:
        self._pieces.close()  # type: ignore[attr-defined]

    def line(self) -> str:
        times, end = self._times, self._end
        facts = [f"first token after {times[0]:.2f} s"] if times else ["no text"]
        if end is not None and end.prompt_tokens is not None:
            facts.insert(0, f"{end.prompt_tokens} prompt tokens")
        if end is not None and end.completion_tokens is not None:
            facts.append(f"{end.completion_tokens} tokens")
            if len(times) > 1 and times[-1] > times[0]:
                facts.append(f"{(end.completion_tokens - 1) / (times[-1] - times[0]):.1f} tokens/s")
        return ", ".join(facts)

    def hint(self) -> str | None:
        return None
