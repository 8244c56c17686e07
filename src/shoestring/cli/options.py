"""Arguments and options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

import typer

from shoestring.errors import RequestError


class KVType(str, Enum):
    """Data type of the KV cache."""

    f16 = "f16"
    f32 = "f32"


_SAMPLING = "the checkpoint's, else the vendor's"

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A .gguf file, a Hugging Face folder, a Hub name, demo-llama4 or demo-qwen3.5."
    ),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", "-t", metavar="N", help="Number of compute threads. [default: one per physical core]"),
]
Context = Annotated[
    int | None,
    typer.Option(
        "--context", "-c", metavar="N", help="Maximum tokens per sequence. [default: what the model and memory allow]"
    ),
]
KV = Annotated[
    KVType, typer.Option("--kv-type", metavar="f16|f32", help="Data type of the KV cache; affects the output.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")]

System = Annotated[str | None, typer.Option("--system", "-s", metavar="TEXT", help="System message of the chat.")]
Thinking = Annotated[
    bool | None,
    typer.Option(
        "--thinking/--no-thinking", help="Let the model think before it answers. [default: the chat template's]"
    ),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens", "-n", metavar="N", help="Maximum tokens to generate. [default: until the context is full]"
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        metavar="X",
        help=f"Sampling temperature; 0 always picks the likeliest token. [default: {_SAMPLING}]",
    ),
]
TopK = Annotated[
    int | None,
    typer.Option("--top-k", metavar="N", help=f"Sample from the N likeliest tokens; 0: off. [default: {_SAMPLING}]"),
]
TopP = Annotated[
    float | None,
    typer.Option(
        "--top-p", metavar="X", help=f"Sample from the likeliest that sum up to X; 1: off. [default: {_SAMPLING}]"
    ),
]
MinP = Annotated[
    float | None,
    typer.Option(
        "--min-p", metavar="X", help=f"Drop tokens below X times the likeliest; 0: off. [default: {_SAMPLING}]"
    ),
]
PresencePenalty = Annotated[
    float | None,
    typer.Option(
        "--presence-penalty", metavar="X", help=f"Subtract X from tokens generated before. [default: {_SAMPLING}]"
    ),
]
FrequencyPenalty = Annotated[
    float | None,
    typer.Option("--frequency-penalty", metavar="X", help=f"Subtract X for each earlier use. [default: {_SAMPLING}]"),
]
RepetitionPenalty = Annotated[
    float | None,
    typer.Option(
        "--repetition-penalty",
        metavar="X",
        help=f"Divide logits of tokens seen before by X; 1: off. [default: {_SAMPLING}]",
    ),
]
LogitBias = Annotated[
    list[str] | None,
    typer.Option("--logit-bias", metavar="ID=X", help="Add X to the logit of token ID. Repeatable."),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", help="The same seed gives the same answer. [default: a new seed each time]"),
]
Stop = Annotated[list[str] | None, typer.Option("--stop", metavar="TEXT", help="Stop before this text. Repeatable.")]
StopId = Annotated[list[int] | None, typer.Option("--stop-id", metavar="ID", help="Stop at this token id. Repeatable.")]


Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Use this OpenAI-compatible server, e.g. http://localhost:8080."),
]
ApiKeyEnv = Annotated[
    str | None,
    typer.Option("--api-key-env", metavar="NAME", help="With --url: environment variable that holds the API key."),
]


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


def api_key(name: str | None) -> str | None:
    """The key of --api-key-env. Raises RequestError if the variable is not set."""
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise RequestError(f"--api-key-env names {name}, which is not set: export {name}=…")
    return key


@dataclass(frozen=True)
class Generation:
    """Options of all commands that generate: sampling and where an answer ends."""

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
