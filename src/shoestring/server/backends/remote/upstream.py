"""Upstream: a server with OpenAI's API, what it serves, and which of our requests' fields it can honour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx2

from shoestring import bounded_json
from shoestring.client import base_of, headers, trust_hint
from shoestring.errors import RequestError
from shoestring.printable import quoted, shortened
from shoestring.server.http.exposure import is_loopback

#: The programs whose extensions of the API are known; "openai": any other one.
Kind = Literal["shoestring", "vllm", "llama.cpp", "sglang", "openai"]

#: `owned_by` in the model list of each.
_OWNERS: Mapping[str, Kind] = {
    "shoestring": "shoestring",
    "vllm": "vllm",
    "llamacpp": "llama.cpp",
    "sglang": "sglang",
}

#: The field of `metadata` that ray.serve.llm has in its model list, and what it lacks of vLLM (Ray 2.60).
_RAY_CONTEXT = "max_request_context_length"
_RAY_LACKS = frozenset({"count_tokens"})

#: OpenAI's own fields.
_STANDARD = frozenset(
    {
        *("temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "seed", "logprobs"),
        *("json_schema", "json_object"),
    }
)
_SERVERS = _STANDARD | {"top_k", "min_p", "repetition_penalty", "ignore_eos", "thinking", "chat_template_kwargs"}

#: What each kind can honour, by our names; the constraints by their kinds.
HONOURED: Mapping[Kind, frozenset[str]] = {
    "openai": _STANDARD,
    "llama.cpp": _SERVERS | {"repeat_last_n", "gbnf"},
    "sglang": _SERVERS | {"regex", "continue_final_message"},
    "vllm": _SERVERS
    | {"regex", "lark", "gbnf", "choice", "continue_final_message", "thinking_budget", "count_tokens", "token_ids"},
    "shoestring": _SERVERS
    | {"regex", "lark", "gbnf", "choice", "continue_final_message", "thinking_budget", "count_tokens", "token_ids"}
    | {"repeat_last_n"},
}

#: Seconds until a connection stands; an answer may take longer.
CONNECT_SECONDS = 10.0
_PROBE_SECONDS = 10.0


@dataclass(frozen=True)
class Upstream:
    """A server, and one model of it. url: the base of its API, ending in /."""

    url: str
    kind: Kind
    model: str
    #: 0: it does not say
    context: int = 0
    family: str = ""
    thinking: bool = False
    #: what it cannot honour although others of its kind can
    lacks: frozenset[str] = frozenset()

    @property
    def root(self) -> str:
        """The URL above /v1, where the endpoints beside OpenAI's are."""
        return self.url.rstrip("/").removesuffix("/v1") + "/"

    def honours(self, field: str) -> bool:
        return field in HONOURED[self.kind] and field not in self.lacks


def http_options(url: str, key: str | None) -> dict[str, Any]:
    """Arguments of a client for this server. The key is the operator's: no client's key ever gets here."""
    local = is_loopback(httpx2.URL(url).host)
    # A proxy for the way to other machines is none for this one.
    return {"headers": {**headers(key), "accept-encoding": "identity"}, "trust_env": not local}


def find_upstream(
    on: str, model: str | None, key: str | None, transport: httpx2.BaseTransport | None = None
) -> Upstream:
    """Ask a server what it serves. model: which of its models, default: the first. Raises RequestError on one line."""
    url = base_of(on)
    timeout = httpx2.Timeout(_PROBE_SECONDS)
    with httpx2.Client(base_url=url, timeout=timeout, transport=transport, **http_options(url, key)) as client:
        try:
            response = client.get("models")
        except httpx2.HTTPError as error:
            why = f"{error or type(error).__name__}{trust_hint(error)}"
            raise RequestError(
                f"--on {on}: no answer from {url} ({why}): start that server, or correct the URL"
            ) from None
    if response.status_code in (401, 403):
        raise RequestError(
            f"--on {on}: {url} wants a key ({response.status_code}): name the variable that has it with --api-key-env"
        )
    if response.status_code != 200:
        raise RequestError(
            f"--on {on}: {url}models returned {response.status_code}: give the base URL of a server with OpenAI's API"
        )
    return _chosen(on, url, _entries(on, url, response), model)


def _entries(on: str, url: str, response: httpx2.Response) -> list[dict[str, Any]]:
    try:
        entries = bounded_json.loads(response.text)["data"]
        found = [entry for entry in entries if isinstance(entry["id"], str)]
    except (ValueError, KeyError, TypeError):
        raise RequestError(f"--on {on}: {url} does not speak OpenAI's API: its model list is malformed") from None
    if not found:
        raise RequestError(f"--on {on}: {url} serves no model")
    return found


def _chosen(on: str, url: str, entries: list[dict[str, Any]], model: str | None) -> Upstream:
    names = [entry["id"] for entry in entries]
    if model is not None and model not in names:
        known = shortened(", ".join(names[:8]), 300)
        raise RequestError(f"--on {on}: {url} does not serve {quoted(model)}: it has {known}")
    entry = entries[0 if model is None else names.index(model)]
    meta = entry.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    # ray.serve.llm, which has vLLM behind it
    ray = entry.get("metadata")
    ray = ray if isinstance(ray, Mapping) and _RAY_CONTEXT in ray else {}
    lengths = (entry.get("max_model_len"), entry.get("context_length"), meta.get("n_ctx_train"), ray.get(_RAY_CONTEXT))
    context = next((length for length in lengths if isinstance(length, int)), 0)
    family = entry.get("family")
    return Upstream(
        url,
        "vllm" if ray else _OWNERS.get(str(entry.get("owned_by")), "openai"),
        entry["id"],
        context,
        family if isinstance(family, str) else "",
        entry.get("thinking") is True,
        _RAY_LACKS if ray else frozenset(),
    )
