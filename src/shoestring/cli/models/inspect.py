"""`shoestring inspect`: describe a checkpoint from its headers, without the compiled extension."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoestring.cli import options
from shoestring.cli.find import find
from shoestring.cli.say import say
from shoestring.errors import RequestError, TokenizerError
from shoestring.kv_types import KV_TYPES, KVType
from shoestring.printable import printable
from shoestring.sizes import human

if TYPE_CHECKING:
    from shoestring.runtime.opening import Opened

HELP = """Describe MODEL: architecture, parameters, types and bytes, context, chat template, and anything unusual.

With --memory, say what stays in memory if the process may take that much, what streams from disk, and how fast answers
will be."""


def inspect(
    model: options.ModelName,
    kv_type: options.KV = options.KVType.f16,
    memory: options.Memory = None,
    routes: Annotated[
        Path | None,
        typer.Option("--routes", metavar="FILE", help="With --memory: predict from routes that --record-routes wrote."),
    ] = None,
    mmproj: Annotated[
        Path | None,
        typer.Option("--mmproj", metavar="FILE", help="The vision tower's GGUF file. [default: found beside MODEL]"),
    ] = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    from shoestring.cli.models.inspect_memory import streaming_facts, streaming_lines
    from shoestring.cli.models.inspect_vision import vision_facts, vision_lines
    from shoestring.runtime.opening import open_model
    from shoestring.runtime.vision.vision import open_vision

    if routes is not None and memory is None:
        raise RequestError("--routes needs --memory: add it")
    opened = open_model(find(model))
    vision = open_vision(opened.checkpoint, opened.config, mmproj)
    facts = described(opened, kv_type.value) | {"vision": vision_facts(vision)}
    facts["streaming"] = streaming_facts(opened, memory, routes, vision, kv_type.value)
    if json:
        say(json_module.dumps(facts))
        return
    files = f"{len(facts['files'])} file{'s' if len(facts['files']) > 1 else ''}"
    say(f"{printable(facts['path'])} ({facts['format']}, {files}, {human(facts['file_bytes'])})")
    say(f"architecture   {facts['architecture']}, {facts['layers']} layers: {counted(facts['layer_kinds'])}")
    active = f" ({facts['parameters_active']:,} active per token)" if facts["experts"] else ""
    say(f"parameters     {facts['parameters_total']:,}{active}")
    if facts["experts"]:
        say(f"experts        {facts['experts']}, {facts['experts_per_token']} per token")
    for part, types in facts["bytes"].items():
        say(f"  {part:15}" + ", ".join(f"{kind} {human(size)}" for kind, size in types.items()))
    whole, other = facts["sequence_bytes"], "f16" if kv_type == "q8_0" else "q8_0"
    say(
        f"context        {facts['context']:,} tokens, which need {human(whole[kv_type.value])} (KV {kv_type.value}; "
        f"{human(whole[other])} with --kv-type {other})"
    )
    if facts["kv_bytes_per_token"]:
        say(f"  {human(facts['kv_bytes_per_token'])} per token in layers that attend to the whole past")
    if facts["chunk_bytes_per_token"]:
        say(
            f"  {human(facts['chunk_bytes_per_token'])} per token in layers that attend to their chunk of "
            f"{facts['chunk_size']:,} tokens; tokens before the chunk are freed"
        )
    if facts["recurrent_state_bytes"]:
        say(f"  {human(facts['recurrent_state_bytes'])} of recurrent state, for any length")
    say(
        f"memory         {human(facts['weight_bytes'])} of weights, {human(facts['workspace_bytes'])} for the process, "
        f"{human(facts['total_bytes'])} in total with a full context; {human(facts['free_bytes'])} free now"
    )
    for line in streaming_lines(facts["streaming"]):
        say(line)
    tokens = facts["tokenizer_vocabulary"]
    say(f"vocabulary     {facts['vocabulary']:,} (tokenizer: {'missing' if tokens is None else f'{tokens:,}'})")
    say(f"template       {printable(facts['template'] or 'none')}")
    for line in vision_lines(facts["vision"]):
        say(line)
    for note in facts["unusual"]:
        say(f"unusual        {printable(note)}")


def described(opened: Opened, kv_type: KVType = "f16") -> dict[str, Any]:
    """The facts about a checkpoint, as --json prints them, with keys and values in `kv_type`."""
    from shoestring.admission import SNAPSHOTS
    from shoestring.checkpoint.summary import summarize
    from shoestring.models.layout import Demand
    from shoestring.models.state import AttentionState
    from shoestring.runtime.loading import physical_cores
    from shoestring.runtime.memory import free_memory

    config, checkpoint, layout = opened.config, opened.checkpoint, opened.layout
    summary = summarize(config, checkpoint, opened.binding)
    by_part: dict[str, dict[str, int]] = {}
    for (part, kind), size in sorted(summary.source_bytes.items(), key=lambda item: -item[1]):
        by_part.setdefault(part, {})[kind] = size
    kinds: dict[str, int] = {}
    for layer in layout.layers:
        kind = "delta-net"
        if isinstance(layer, AttentionState):
            kind = f"attention in chunks of {layer.chunk_size}" if layer.chunk_size else "full attention"
        kinds[kind] = kinds.get(kind, 0) + 1
    experts = config.num_experts if config.family == "qwen3_5" else config.num_local_experts
    template, vocabulary, unusual = text_side(opened)
    workspace = opened.workspace_bytes(physical_cores())
    whole = layout.capacity(config.max_position_embeddings, snapshots=SNAPSHOTS)
    return {
        "path": str(checkpoint.path),
        "format": checkpoint.format,
        "files": [str(file) for file in checkpoint.files],
        "file_bytes": sum(size for _, _, size, _ in checkpoint.identities),
        "architecture": config.family,
        "layers": config.num_hidden_layers,
        "layer_kinds": kinds,
        "parameters_total": summary.parameters_total,
        "parameters_active": summary.parameters_active,
        "experts": experts,
        "experts_per_token": config.num_experts_per_tok if experts else 0,
        "bytes": by_part,
        "tensor_bytes": summary.total_bytes,
        "weight_bytes": opened.weight_bytes,
        "workspace_bytes": workspace,
        "total_bytes": opened.weight_bytes + workspace + layout.nbytes(whole, kv_type),
        "free_bytes": free_memory(),
        "context": config.max_position_embeddings,
        "kv_type": kv_type,
        "kv_bytes_per_token": layout.bytes_per_token(kv_type),
        "chunk_size": layout.chunk_size,
        "chunk_bytes_per_token": sum(layer.bytes_per_token(kv_type) for layer in layout.chunk_layers),
        "sequence_bytes": {kind: layout.sequence_bytes(config.max_position_embeddings, kind) for kind in KV_TYPES},
        "recurrent_state_bytes": layout.nbytes(Demand(slots=1), kv_type),
        "vocabulary": config.vocab_size,
        "tokenizer_vocabulary": vocabulary,
        "template": template,
        "unusual": [*unusual, *config.notes, *peculiarities(opened, summary.ignored_bytes, summary.widened_bytes)],
    }


def text_side(opened: Opened) -> tuple[str | None, int | None, list[str]]:
    """Source of the chat template, size of the tokenizer, and problems with either."""
    from shoestring.checkpoint.text.chat_template import ChatTemplate
    from shoestring.checkpoint.text.tokenizer import Tokenizer

    try:
        tokenizer = Tokenizer.from_checkpoint(opened.checkpoint)
    except TokenizerError as error:
        return None, None, [str(error)]
    try:
        template = ChatTemplate.from_checkpoint(opened.checkpoint, tokenizer, opened.config.family)
    except TokenizerError as error:
        return None, tokenizer.vocab_size, [str(error)]
    return template.source, tokenizer.vocab_size, []


def peculiarities(opened: Opened, ignored_bytes: int, widened_bytes: int) -> list[str]:
    """Facts that a user might not expect."""
    config, notes = opened.config, []
    if config.tie_word_embeddings:
        notes.append("the head is tied to the embedding")
    if config.rotary.scaling != "none":
        notes.append(f"rotary scaling {config.rotary.scaling}, factor {config.rotary.factor:g}")
    if config.family == "llama4" and not config.use_qk_norm:
        notes.append("queries and keys are not normalized")
    if widened_bytes:
        notes.append(f"{human(widened_bytes)} of float32 from FP8 matrices")
    reasons: dict[str, int] = {}
    for _, reason in opened.binding.ignored:
        reasons[reason] = reasons.get(reason, 0) + 1
    if reasons:
        notes.append(f"{human(ignored_bytes)} of tensors are not used: {counted(reasons)}")
    return notes


def counted(kinds: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())
