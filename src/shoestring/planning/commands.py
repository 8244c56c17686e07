"""The exact next command of the engine that serves a placement best, ours or not."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from shoestring.catalogue.schema import Catalogue
from shoestring.planning.hardware import Hardware
from shoestring.planning.memory import AS_STORED, Need, Placement
from shoestring.planning.types import is_gguf

#: names of GGUF files where they differ from the block format
FILE_NAMES = {"Q3_K": "Q3_K_M"}
#: Llama 4 scales its queries from here on; vLLM by itself only beyond 32,768
LLAMA4_FLOOR_SCALE = 8192


@dataclass(frozen=True)
class Command:
    engine: str
    #: lines to type, in order; () where nothing runs
    lines: tuple[str, ...]
    #: why this engine, one sentence
    reason: str


def command(n: Need, placed: Placement, machine: Hardware, catalogue: Catalogue) -> Command:
    """How to start a model as placed."""
    if placed.fit == "no":
        return Command("", (), "nothing that we know runs it here")
    gpu_only = placed.fit == "gpu" and machine.gpu is not None and not machine.gpu.unified
    ours = n.sizes.type in (*catalogue.engines["shoestring"].formats, AS_STORED)
    if gpu_only and not is_gguf(n.sizes.type) and not n.candidate.location.endswith(".gguf"):
        return _vllm(n, machine)
    if placed.fit == "ram" and n.users == 1 and ours and not _stretched(n):
        return _shoestring(n)
    return _llama_server(n, placed, machine)


def _location(n: Need) -> str:
    row = n.candidate.row
    if row is None:
        return n.candidate.location
    if is_gguf(n.sizes.type):
        return f"{row.gguf}:{FILE_NAMES.get(n.sizes.type, n.sizes.type)}"
    for entry in row.quantized:
        type_, repository = entry.split(" ", 1)
        if type_ == n.sizes.type:
            return repository
    return row.repository


def _vllm(n: Need, machine: Hardware) -> Command:
    config = n.candidate.config
    parallel = 1
    while parallel * 2 <= machine.gpus and config.num_attention_heads % (parallel * 2) == 0:
        parallel *= 2
    words = ["vllm", "serve", _location(n), "--tensor-parallel-size", str(parallel), "--max-model-len", str(n.context),
             "--max-num-seqs", str(n.users)]  # fmt: skip
    if config.family == "qwen3_5":
        words += ["--reasoning-parser", "qwen3", "--enable-auto-tool-choice", "--tool-call-parser", "qwen3_coder"]
        if _stretched(n):
            words += ["--hf-overrides", _yarn(config.max_position_embeddings, n.context)]
    else:
        words += ["--enable-auto-tool-choice", "--tool-call-parser", "llama4_pythonic"]
        if n.context > LLAMA4_FLOOR_SCALE:
            words += ["--override-generation-config", '{"attn_temperature_tuning": true}']
    reason = "everything fits on the GPUs, where vLLM serves many users at once"
    if config.family == "llama4":
        reason += "; for tools add --chat-template with its examples/tool_chat_template_llama4_pythonic.jinja"
    return Command("vllm", (shlex.join(words),), reason)


def _yarn(native: int, context: int) -> str:
    factor = float(-(-context // native))
    return (
        '{"text_config": {"rope_parameters": {"mrope_interleaved": true, "mrope_section": [11, 11, 10], '
        f'"rope_type": "yarn", "rope_theta": 10000000, "partial_rotary_factor": 0.25, "factor": {factor}, '
        f'"original_max_position_embeddings": {native}}}}}}}'
    )


def _stretched(n: Need) -> bool:
    """Whether the context goes beyond what the config was trained for."""
    return n.context > n.candidate.config.max_position_embeddings


def _shoestring(n: Need) -> Command:
    where = _location(n)
    words = ["shoestring", "chat", where, "--context", str(n.context)]
    lines = (f"shoestring pull {shlex.quote(where)}",) if n.candidate.row else ()
    return Command(
        "shoestring", (*lines, shlex.join(words)), "it fits this memory, and one user at a time is what we do"
    )


def _llama_server(n: Need, placed: Placement, machine: Hardware) -> Command:
    where = _location(n)
    words = ["llama-server", "-hf" if n.candidate.row else "-m", where, "-c", str(n.context * n.users)]
    if n.users > 1:
        words += ["-np", str(n.users)]
    if placed.gpu_layers:
        layers = n.candidate.config.num_hidden_layers
        words += ["-ngl", "99" if placed.gpu_layers == layers else str(placed.gpu_layers)]
        if placed.expert_layers_in_ram:
            words += ["-ncmoe", str(placed.expert_layers_in_ram)]
    else:
        words += ["-ngl", "0"]
    if _stretched(n):
        native = n.candidate.config.max_position_embeddings
        words += [
            "--rope-scaling",
            "yarn",
            "--rope-scale",
            str(-(-n.context // native)),
            "--yarn-orig-ctx",
            str(native),
        ]
    words.append("--jinja")
    if placed.fit == "disk":
        reason = "what memory cannot hold is paged from disk by the system; our own engine does not stream yet"
    elif placed.fit == "gpu+ram":
        reason = "llama.cpp splits it between GPU and RAM"
    elif placed.fit == "gpu":
        reason = f"llama.cpp runs {n.sizes.type} on this GPU" if machine.gpu else ""
    elif _stretched(n):
        reason = "a context beyond the file's own needs YaRN, which our engine takes from the file alone"
    elif n.users > 1:
        reason = "several users at once are not served by our engine yet"
    else:
        reason = f"our engine does not read {n.sizes.type}"
    return Command("llama.cpp", (shlex.join(words),), reason)
