"""A small client for OpenAI's API, to chat with other servers and measure them.

The key comes only from an environment variable, so that it is in no shell history or process list.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx2

from shoestring import bounded_json
from shoestring.errors import RequestError

#: A timeout for connecting only; an answer may take any time.
_TIMEOUT = httpx2.Timeout(None, connect=10.0)


@dataclass(frozen=True)
class Piece:
    """The text of one chunk. seconds: since the request was sent."""

    kind: Literal["text", "thinking"]
    text: str
    seconds: float


@dataclass(frozen=True)
class End:
    """How an answer ended. Token counts are the server's; None: not reported."""

    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    seconds: float


def base_of(url: str) -> str:
    """The base URL of the API: http://host:port means http://host:port/v1/."""
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise RequestError(f"--url is {url!r}: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise RequestError(f"--url is {url!r}: write http://HOST:PORT or https://HOST/v1")
    path = parsed.path.rstrip("/")
    return str(parsed.copy_with(path=(path or "/v1") + "/"))


def headers(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def async_client(url: str, key: str | None) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=base_of(url), headers=headers(key), timeout=_TIMEOUT)


class Client:
    """A client of one server. Raises RequestError if the server refuses a request or does not answer."""

    def __init__(self, url: str, key: str | None = None, transport: httpx2.BaseTransport | None = None) -> None:
        self.url = base_of(url)
        self._http = httpx2.Client(base_url=self.url, headers=headers(key), timeout=_TIMEOUT, transport=transport)

    def models(self) -> list[str]:
        """Names of the served models."""
        try:
            response = self._http.get("models")
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from None
        if response.status_code != 200:
            raise self._refused(response)
        try:
            return [str(entry["id"]) for entry in response.json()["data"]]
        except (ValueError, KeyError, TypeError):
            raise RequestError(f"{self.url} does not speak OpenAI's API: its model list is malformed") from None

    def chat(self, model: str, messages: Sequence[Mapping[str, Any]], **fields: Any) -> Iterator[Piece | End]:
        """Yield pieces of the answer as they arrive, then its end. fields: more fields of the request."""
        body = {
            "model": model,
            "messages": list(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            **{name: value for name, value in fields.items() if value is not None},
        }
        began = time.perf_counter()
        reason: str | None = None
        usage: dict[str, Any] = {}
        try:
            with self._http.stream("POST", "chat/completions", json=body) as response:
                if response.status_code != 200:
                    response.read()
                    raise self._refused(response)
                for chunk in self._chunks(response):
                    usage = chunk.get("usage") or usage
                    for choice in chunk.get("choices") or ():
                        reason = choice.get("finish_reason") or reason
                        delta = choice.get("delta") or {}
                        thought = delta.get("reasoning_content") or delta.get("reasoning")
                        now = time.perf_counter() - began
                        if thought:
                            yield Piece("thinking", str(thought), now)
                        if delta.get("content"):
                            yield Piece("text", str(delta["content"]), now)
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from None
        details = usage.get("prompt_tokens_details") or {}
        yield End(
            reason,
            usage.get("prompt_tokens"),
            usage.get("completion_tokens"),
            details.get("cached_tokens"),
            time.perf_counter() - began,
        )

    def media_tokens(self, part: Mapping[str, Any]) -> int | None:
        """Tokens of a picture or video, a part of OpenAI's messages; None: this server does not say before it answers.

        An endpoint of ours (docs/vision.md). Raises RequestError if the server cannot read it.
        """
        address = httpx2.URL(self.url).join("../media/tokens")
        try:
            response = self._http.post(address, json={str(part["type"]): part[part["type"]]})
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from None
        if response.status_code in (404, 405):
            return None
        if response.status_code != 200:
            raise self._refused(response)
        try:
            return int(response.json()["tokens"])
        except (ValueError, KeyError, TypeError):
            return None

    def _chunks(self, response: httpx2.Response) -> Iterator[dict[str, Any]]:
        for line in response.iter_lines():
            data = line.removeprefix("data:").strip()
            if not line.startswith("data:") or data == "[DONE]":
                continue
            try:
                chunk = bounded_json.loads(data)
            except ValueError:
                raise RequestError(f"{self.url} does not speak OpenAI's API: an event is not JSON") from None
            if not isinstance(chunk, dict):
                raise RequestError(f"{self.url} does not speak OpenAI's API: an event is not an object")
            if chunk.get("error"):
                raise RequestError(f"{self.url}: {_message(chunk)}")
            yield chunk

    def close(self) -> None:
        self._http.close()

    def _unreachable(self, error: Exception) -> RequestError:
        return RequestError(f"no answer from {self.url} ({error or type(error).__name__}){trust_hint(error)}")

    def _refused(self, response: httpx2.Response) -> RequestError:
        try:
            what = _message(response.json())
        except ValueError:
            what = response.text[:200]
        hint = ": name the variable that holds the key with --api-key-env" if response.status_code == 401 else ""
        return RequestError(f"{self.url} returned {response.status_code}: {what}{hint}")


def trust_hint(error: Exception) -> str:
    """What to do about a certificate that this machine does not trust; "" for other errors."""
    unknown = "CERTIFICATE_VERIFY_FAILED" in str(error)
    return ": name the PEM file of the server's authority in the variable SSL_CERT_FILE" if unknown else ""


def _message(body: Any) -> str:
    error = body.get("error", body) if isinstance(body, dict) else body
    return str(error.get("message", error) if isinstance(error, dict) else error)
