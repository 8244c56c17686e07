"""Arguments and options that several commands share, each explained once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Any

import typer

from shoestring.errors import RequestError


class KVType(str, Enum):
    """How keys and values are kept."""

    f16 = "f16"
    f32 = "f32"


_SAMPLING = "from the checkpoint, else the vendor's"

ModelName = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A .gguf file, a Hugging Face folder, a Hub name, or demo-llama4."),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", "-t", metavar="N", help="Threads to compute with. [default: one a physical core]"),
]
Context = Annotated[
    int | None,
    typer.Option(
        "--context", "-c", metavar="N", help="Most tokens of a sequence. [default: what the model and the memory allow]"
    ),
]
KV = Annotated[
    KVType, typer.Option("--kv-type", metavar="f16|f32", help="How keys and values are kept; part of the answer.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead of text.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")]

System = Annotated[str | None, typer.Option("--system", "-s", metavar="TEXT", help="System message of a chat.")]
Thinking = Annotated[
    bool | None,
    typer.Option("--thinking/--no-thinking", help="Let the model think first, or not. [default: as its template does]"),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens", "-n", metavar="N", help="Most tokens of an answer. [default: until the context is full]"
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option("--temperature", metavar="X", help=f"0: always the likeliest token. [default: {_SAMPLING}]"),
]
TopK = Annotated[
    int | None,
    typer.Option("--top-k", metavar="N", help=f"Choose among the N likeliest; 0: all. [default: {_SAMPLING}]"),
]
TopP = Annotated[
    float | None,
    typer.Option(
        "--top-p", metavar="X", help=f"Choose among the likeliest that sum up to X; 1: all. [default: {_SAMPLING}]"
    ),
]
MinP = Annotated[
    float | None,
    typer.Option("--min-p", metavar="X", help=f"Leave out below X times the likeliest; 0: off. [default: {_SAMPLING}]"),
]
PresencePenalty = Annotated[
    float | None,
    typer.Option(
        "--presence-penalty", metavar="X", help=f"Subtracted once from tokens used before. [default: {_SAMPLING}]"
    ),
]
FrequencyPenalty = Annotated[
    float | None,
    typer.Option("--frequency-penalty", metavar="X", help=f"Subtracted for each use before. [default: {_SAMPLING}]"),
]
RepetitionPenalty = Annotated[
    float | None,
    typer.Option(
        "--repetition-penalty",
        metavar="X",
        help=f"Divides logits of tokens seen before; 1: off. [default: {_SAMPLING}]",
    ),
]
LogitBias = Annotated[
    list[str] | None,
    typer.Option("--logit-bias", metavar="ID=X", help="Add X to a token's logit; may be given again."),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", help="The same seed gives the same answer. [default: another each time]"),
]
Stop = Annotated[
    list[str] | None, typer.Option("--stop", metavar="TEXT", help="End before this text; may be given again.")
]
StopId = Annotated[
    list[int] | None, typer.Option("--stop-id", metavar="ID", help="End at this token id; may be given again.")
]


Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Ask a server that speaks OpenAI's API, e.g. http://localhost:8080."),
]
ApiKeyEnv = Annotated[
    str | None,
    typer.Option("--api-key-env", metavar="NAME", help="With --url: the environment variable that holds the key."),
]


def api_key(name: str | None) -> str | None:
    """The key of --api-key-env. Raises RequestError where the variable is not set."""
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise RequestError(f"--api-key-env names {name}, which is not set: export {name}=…")
    return key


def generation_options(
    *,
    max_tokens: int | None,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    presence_penalty: float | None,
    frequency_penalty: float | None,
    repetition_penalty: float | None,
    logit_bias: Sequence[str] | None,
    seed: int | None,
    stop: Sequence[str] | None,
    stop_id: Sequence[int] | None,
    thinking: bool | None,
) -> dict[str, Any]:
    """Keyword arguments of Model.generate, checked before anything is loaded. Raises RequestError."""
    from shoestring.engine.sampler import Sampling

    sampling = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty,
        "repetition_penalty": repetition_penalty,
        "logit_bias": biases(logit_bias or ()),
        "seed": seed,
    }
    given: dict[str, Any] = {name: value for name, value in sampling.items() if value is not None}
    Sampling(**given)
    if max_tokens is not None and max_tokens < 1:
        raise RequestError(f"--max-tokens is {max_tokens}: choose at least 1")
    for token in stop_id or ():
        if token < 0:
            raise RequestError(f"--stop-id is {token}: token ids are not negative")
    if "" in (stop or ()):
        raise RequestError("--stop is empty: give the text that ends an answer")
    return {
        **given,
        "max_tokens": max_tokens,
        "stop": tuple(stop or ()),
        "stop_ids": tuple(stop_id or ()),
        "thinking": thinking,
    }


def biases(texts: Sequence[str]) -> dict[int, float]:
    """ "ID=X" of --logit-bias as token id → bias."""
    found = {}
    for text in texts:
        token, _, bias = text.partition("=")
        try:
            found[int(token)] = float(bias)
        except ValueError:
            raise RequestError(f"--logit-bias is {text!r}: write a token id and a number, like 1234=-5") from None
    return found
