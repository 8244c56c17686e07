"""Write the exact command of the engine that serves a placement best, ours or another one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace

from shoestring.catalogue.schema import Catalogue
from shoestring.checkpoint.config.types import Config
from shoestring.planning.candidates.candidates import USUAL_TYPE
from shoestring.planning.candidates.formats import UPLOADED_AS, bits, is_gguf
from shoestring.planning.efficiency import MLX, VLLM, engine_of
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.memory import AS_STORED, Need, Placement, mlx_file, need, our_engine_reads, place
from shoestring.planning.sharding import shards

#: Llama 4 scales its queries from here on; vLLM by itself only beyond 32,768
LLAMA4_FLOOR_SCALE = 8192


@dataclass(frozen=True)
class Command:
    engine: str
    #: command lines, in order; () if nothing runs
    lines: tuple[str, ...]
    #: why this engine, one sentence
    reason: str
    #: other engines that run it there, and their commands
    others: tuple[tuple[str, str], ...] = ()


def command(n: Need, placed: Placement, machine: Hardware, catalogue: Catalogue, use: str | None = None) -> Command:
    """The command that starts a placed model, for a use case of the catalogue, and the commands of other engines."""
    best = _best(n, placed, machine, catalogue, use)
    return replace(best, others=tuple(_others(n, placed, machine, best.engine)))


def _best(n: Need, placed: Placement, machine: Hardware, catalogue: Catalogue, use: str | None) -> Command:
    if placed.fit == "no":
        return Command("", (), "no known engine runs it here")
    engine = engine_of(n, placed, machine)
    if engine == VLLM:
        return _vllm(n, machine)
    if engine == MLX:
        return _mlx(n)
    sees = use != "multimodal" or "image" in catalogue.engines["shoestring"].modalities
    if n.own and sees:
        return _shoestring(n, placed)
    missing = "" if sees else "our engine does not read images yet"
    if sees and our_engine_reads(n.candidate, n.sizes.type, n.context):
        missing = "our engine would need more memory than there is"
    return _llama_server(n, placed, machine, missing)


def _location(n: Need) -> str:
    row = n.candidate.row
    if row is None:
        return n.candidate.location
    if file := mlx_file(n.candidate, n.sizes.type):
        return file
    if is_gguf(n.sizes.type):
        return f"{row.gguf}:{UPLOADED_AS.get(n.sizes.type, n.sizes.type)}"
    for entry in row.quantized:
        type_, repository = entry.split(" ", 1)
        if type_ == n.sizes.type:
            return repository
    return row.repository


def _vllm(n: Need, machine: Hardware) -> Command:
    config = n.candidate.config
    split = shards(config, machine.gpus)
    words = ["vllm", "serve", _location(n), *split.words()]
    words += ["--max-model-len", str(n.context), "--max-num-seqs", str(n.users), *vllm_words(config, n.context)]
    if _stretched(n):
        words += ["--hf-overrides", _yarn(n)]
    reason = "everything fits on the GPUs, where vLLM serves many users at once"
    if config.family == "llama4":
        reason += "; for tools add --chat-template with its examples/tool_chat_template_llama4_pythonic.jinja"
    allowed = "VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 " if _stretched(n) else ""
    return Command("vllm", (allowed + shlex.join(words),), reason)


def vllm_words(config: Config, context: int) -> list[str]:
    """The arguments of `vllm serve` that follow from the family: its parsers, and its long contexts."""
    if config.family == "qwen3_5":
        return ["--reasoning-parser", "qwen3", "--enable-auto-tool-choice", "--tool-call-parser", "qwen3_coder"]
    words = ["--enable-auto-tool-choice", "--tool-call-parser", "llama4_pythonic"]
    if context > LLAMA4_FLOOR_SCALE:
        words += ["--override-generation-config", '{"attn_temperature_tuning": true}']
    return words


def _yarn(n: Need) -> str:
    """The rotary parameters of the vendor's card for long contexts, at their place in the checkpoint's config."""
    native = n.candidate.config.max_position_embeddings
    row = n.candidate.row
    text_only = row is not None and row.modalities == ("text",)
    sections = {} if text_only else {"mrope_interleaved": True, "mrope_section": [11, 11, 10]}
    parameters = {
        **sections, "rope_type": "yarn", "rope_theta": 10_000_000, "partial_rotary_factor": 0.25,
        "factor": float(-(-n.context // native)), "original_max_position_embeddings": native,
    }  # fmt: skip
    whole = {"rope_parameters": parameters}
    return json.dumps(whole if text_only else {"text_config": whole})


def _stretched(n: Need) -> bool:
    """Whether the context is longer than the config's."""
    return n.context > n.candidate.config.max_position_embeddings


def _mlx(n: Need) -> Command:
    """MLX's server; one user talks to it in the terminal. It has no option for the context: memory grows with it."""
    where = _location(n)
    lines = [shlex.join(["mlx_lm.chat", "--model", where])] if n.users == 1 else []
    lines.append(shlex.join(["mlx_lm.server", "--model", where]))
    return Command("mlx", tuple(lines), "MLX uses a Mac's GPU best")


def _others(n: Need, placed: Placement, machine: Hardware, engine: str) -> Iterator[tuple[str, str]]:
    """Other engines that run a placed model of the catalogue, and their commands."""
    row, apple = n.candidate.row, machine.gpu is not None and machine.gpu.vendor == "apple"
    if placed.streamed is not None and is_gguf(n.sizes.type):
        yield "llama.cpp", _llama_server(n, placed, machine, "").lines[0]
    if row is None or placed.fit in ("no", "disk") or engine == VLLM or n.sizes.type == AS_STORED:
        return
    where = _location(n)
    if is_gguf(n.sizes.type):
        if placed.ram and not apple:
            split = ["-ngl", "99"] if placed.gpu_layers else []
            moved = ["--n-cpu-moe", str(placed.expert_layers_in_ram)] if placed.expert_layers_in_ram else []
            words = ["llama-server", "-hf", where, "-c", str(n.context * n.users), "-fa", "-rtr", *split, *moved]
            yield "ik_llama.cpp", shlex.join(words)
        yield "ollama", shlex.join(["ollama", "run", f"hf.co/{where}"])
        yield "lm-studio", shlex.join(["lms", "get", f"https://huggingface.co/{row.gguf}@{n.sizes.type}"])
    elif engine == MLX:
        yield "lm-studio", shlex.join(["lms", "get", f"https://huggingface.co/{where}"])
    if n.candidate.config.family == "qwen3_5" and placed.fit == "gpu+ram" and machine.gpu is not None and not apple:
        words = ["python", "-m", "sglang.launch_server", "--model", row.repository, "--kt-weight-path", row.repository,
                 "--kt-cpuinfer", str(machine.cores), "--kt-num-gpu-experts", "1", "--kt-method", "BF16",
                 "--tensor-parallel-size", str(machine.gpus)]  # fmt: skip
        if 2 * n.candidate.total < machine.ram_usable + machine.gpu_usable:
            yield "ktransformers", shlex.join(words)


def _shoestring(n: Need, placed: Placement) -> Command:
    where, split = _location(n), placed.streamed
    limits = ["--context", str(n.context)]
    if n.kv_type != "f16":
        limits += ["--kv-type", n.kv_type]
    if split is not None:
        limits += ["--memory", f"{split.budget_bytes >> 20}MiB"]
    lines = [shlex.join(["shoestring", "pull", where])] if n.candidate.row else []
    if n.users == 1:
        lines.append(shlex.join(["shoestring", "chat", where, *limits]))
    served = ["shoestring", "serve", where, *limits]
    lines.append(shlex.join([*served, "--parallel", str(n.users)] if n.users > 1 else served))
    reason = "it fits in this memory"
    if split is not None:
        reason = "it reads experts that do not fit from disk, and its answers are the same as in memory"
    if n.users > 1:
        reason += f", and the {n.users} users share its steps; each gets the same answer as alone"
    row = n.candidate.row
    if row is not None and is_gguf(n.sizes.type) and "image" in row.modalities:
        reason += "; pull also brings its vision tower, an mmproj file"
    return Command("shoestring", tuple(lines), reason)


def _llama_server(n: Need, placed: Placement, machine: Hardware, missing: str) -> Command:
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
        words += ["--rope-scaling", "yarn", "--rope-scale", str(-(-n.context // native)),
                  "--yarn-orig-ctx", str(native)]  # fmt: skip
    if n.kv_type == "q8_0":
        words += ["-ctk", "q8_0", "-ctv", "q8_0"]
    words.append("--jinja")
    if placed.fit == "disk":
        reason = "the system pages from disk what does not fit in memory"
    elif placed.fit == "gpu+ram":
        reason = "llama.cpp splits it between GPU and RAM"
    elif placed.fit == "gpu":
        reason = f"llama.cpp runs {n.sizes.type} on this GPU"
        if is_gguf(n.sizes.type) and bits(n.sizes.type) < bits(USUAL_TYPE) and machine.ram_bytes:
            usual = need(n.candidate, USUAL_TYPE, n.context, n.users, n.kv_type)
            if place(usual, machine).fit == "gpu+ram":
                reason = f"{n.sizes.type} stays on this GPU, where {USUAL_TYPE} would spill into RAM"
    elif _stretched(n):
        reason = "a context beyond the file's needs YaRN, which our engine takes only from the file"
    else:
        reason = missing or f"our engine does not read {n.sizes.type}"
    return Command("llama.cpp", (shlex.join(words),), reason)
