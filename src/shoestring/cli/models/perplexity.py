"""`shoestring perplexity`: compute the perplexity of a text."""

from __future__ import annotations

import json as json_module
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from shoestring.cli import options
from shoestring.cli.find import find, load_model
from shoestring.cli.models.run_command import identity
from shoestring.cli.progress import Progress
from shoestring.cli.say import say
from shoestring.cli.shared import tokens
from shoestring.errors import RequestError
from shoestring.files import read_input_text
from shoestring.runtime.scripted import DEMO_SCRIPTED

#: Bytes; WikiText-2, the usual text, has 1.3 MB.
LARGEST_TEXT = 64 << 20

HELP = """Compute the perplexity of a text with llama.cpp's definition, so that figures are comparable.

The text is cut into windows of --context tokens. The second half of each window is scored; the first is context.
With --experts-per-token the text is scored again with the model's own number, to show what the change costs."""


def perplexity(
    model: options.ModelName,
    file: Annotated[Path, typer.Option("--file", "-f", metavar="TEXT", help='UTF-8 text file; "-" reads stdin.')],
    context: Annotated[
        int,
        typer.Option("--context", "-c", metavar="N", help="Tokens per window.", parser=tokens("--context")),
    ] = 512,
    threads: options.Threads = None,
    kv_type: options.KV = options.KVType.f16,
    memory: options.Memory = None,
    experts_per_token: options.ExpertsPerToken = None,
    record_routes: options.RecordRoutes = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    text = read_input_text(file, LARGEST_TEXT)
    if context < 4:
        raise RequestError(f"--context is {context}: perplexity needs windows of at least 4 tokens")
    if model == DEMO_SCRIPTED:
        find(model)  # raises: a script has no perplexity
    loading = options.Loading(context, threads, kv_type, memory, experts_per_token, record_routes)
    loaded = load_model(model, loading=loading)
    with Progress("scoring", "windows") as progress:
        result = loaded.perplexity(text, context, progress)
    facts: dict[str, Any] = {
        "model": model,
        **identity(loaded),
        "perplexity": result.perplexity,
        "standard_error": result.standard_error,
        "context": context,
        "windows": result.windows,
        "tokens_scored": result.tokens_scored,
    }
    if loaded.streaming is not None:
        facts["streaming"] = {"slots": loaded.streaming.slots, "hit_rate": loaded.streaming.totals.hit_rate}
    if not json:
        say(
            f"perplexity {result.perplexity:.4f} ± {result.standard_error:.4f} "
            f"({result.tokens_scored} tokens scored in {result.windows} windows of {context})"
        )
    if loaded.changed_experts is not None:
        loaded.close()  # two models may not fit
        usual = load_model(model, loading=replace(loading, experts_per_token=None, record_routes=None))
        with Progress("scoring with the model's own number of experts", "windows") as progress:
            own = usual.perplexity(text, context, progress)
        facts["own"] = {"perplexity": own.perplexity, "standard_error": own.standard_error}
        if not json:
            say(
                f"perplexity {own.perplexity:.4f} ± {own.standard_error:.4f} with the model's own number of experts a "
                f"token: {experts_per_token} change it by {100 * (result.perplexity / own.perplexity - 1):+.2f} %"
            )
    if json:
        say(json_module.dumps(facts))
