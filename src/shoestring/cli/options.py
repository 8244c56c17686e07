"""Arguments and options that several commands share, each explained once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
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
    typer.Argument(
        metavar="MODEL", help="A .gguf file, a Hugging Face folder, a Hub name, demo-llama4 or demo-qwen3.5."
    ),
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


#: Options that are fields of engine.sampler.Sampling as they are.
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


def api_key(name: str | None) -> str | None:
    """The key of --api-key-env. Raises RequestError where the variable is not set."""
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise RequestError(f"--api-key-env names {name}, which is not set: export {name}=…")
    return key


@dataclass(frozen=True)
class Generation:
    """How an answer is drawn and where it ends, as the commands that generate take it."""

    thinking: Thinking = None
    max_tokens: MaxTokens = None
    temperature: Temperature = None
    top_k: TopK = None
    top_p: TopP = None
    min_p: MinP = None
    presence_penalty: PresencePenalty = None
    frequency_penalty: FrequencyPenalty = None
    repetition_penalty: RepetitionPenalty = None
    logit_bias: LogitBias = None
    seed: Seed = None
    stop: Stop = None
    stop_id: StopId = None

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of Model.generate, checked before anything is loaded. Raises RequestError."""
        from shoestring.engine.sampler import Sampling

        sampling = {name: getattr(self, name) for name in SAMPLING}
        given: dict[str, Any] = {name: value for name, value in sampling.items() if value is not None}
        given["logit_bias"] = biases(self.logit_bias or ())
        Sampling(**given)
        if self.max_tokens is not None and self.max_tokens < 1:
            raise RequestError(f"--max-tokens is {self.max_tokens}: choose at least 1")
        for token in self.stop_id or ():
            if token < 0:
                raise RequestError(f"--stop-id is {token}: token ids are not negative")
        if "" in (self.stop or ()):
            raise RequestError("--stop is empty: give the text that ends an answer")
        return {
            **given,
            "max_tokens": self.max_tokens,
            "stop": tuple(self.stop or ()),
            "stop_ids": tuple(self.stop_id or ()),
            "thinking": self.thinking,
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
