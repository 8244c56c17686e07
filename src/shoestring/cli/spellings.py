"""Take the options of llama.cpp and vLLM: their spellings of what we have, and an answer where there is no such thing.

A command's own options come first: `serve -p` is a port, also for those who know `llama-cli -p`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from typer.core import TyperCommand

from shoestring.cli.say import say
from shoestring.cli.shared import note_shown
from shoestring.errors import RequestError

#: Their option → ours, with the same value.
SAME: Mapping[str, str] = {
    "--ctx-size": "--context",
    "--max-model-len": "--context",
    "--num-ctx": "--context",
    "--n-predict": "--max-tokens",
    "--predict": "--max-tokens",
    "--temp": "--temperature",
    "--repeat-penalty": "--repetition-penalty",
    "--reverse-prompt": "--stop",
    "-r": "--stop",
    "--system-prompt": "--system",
    "-sys": "--system",
    "-np": "--parallel",
    "--n-parallel": "--parallel",
    "--max-num-seqs": "--parallel",
    "--cache-type-k": "--kv-type",
    "-ctk": "--kv-type",
    "--cache-type-v": "--kv-type",
    "-ctv": "--kv-type",
    "--kv-cache-dtype": "--kv-type",
    "--served-model-name": "--model-name",
    "-a": "--alias",
    "--n-threads": "--threads",
}

#: Their option whose values are all words that follow it: the first is --model-name, the others are each an --alias.
NAMES = "--served-model-name"

#: Their option → the argument that has no option here.
ARGUMENTS: Mapping[str, str] = {
    "--model": "MODEL",
    "-m": "MODEL",
    "--hf-repo": "MODEL",
    "-hf": "MODEL",
    "-hfr": "MODEL",
    "--prompt": "PROMPT",
    "-p": "PROMPT",
}

_GPU = "Shoestring computes on the CPU alone, so there is no GPU to give layers to"
_KERNELS = "there is one way to compute attention here, which stores no scores"
_MEMORY = (
    "weights are copied into this process's memory when they are loaded, and experts that do not fit into --memory "
    "stream from disk"
)
_EXPERTS = (
    "Shoestring computes all experts on the CPU, and those that do not fit into --memory stream from disk by themselves"
)
_STEPS = "the engine chooses the rows of a step, and no bit of an answer depends on them"
_ONE = "one process computes a model on one machine"
_TEMPLATE = "the chat template comes from the checkpoint, or is its family's"
_TOOLS = "thinking and tool calls are read by the model's family"
_ALWAYS = "this is always on"
_TYPE = "weights have the types of their file, and are computed so"

#: Their option → (why it means nothing here, whether a value follows it).
NOTHING: Mapping[str, tuple[str, bool]] = {
    **dict.fromkeys(("-ngl", "--gpu-layers", "--n-gpu-layers"), (_GPU, True)),
    **dict.fromkeys(("-ncmoe", "--n-cpu-moe", "-ot", "--override-tensor"), (_EXPERTS, True)),
    **dict.fromkeys(("-cmoe", "--cpu-moe"), (_EXPERTS, False)),
    **dict.fromkeys(("-sm", "--split-mode", "-ts", "--tensor-split", "-mg", "--main-gpu"), (_GPU, True)),
    **dict.fromkeys(("-dev", "--device"), (_GPU, True)),
    **dict.fromkeys(("--gpu-memory-utilization", "--swap-space"), (_GPU, True)),
    "--enforce-eager": (_GPU, False),
    **dict.fromkeys(("-b", "--batch-size", "-ub", "--ubatch-size", "--max-num-batched-tokens"), (_STEPS, True)),
    **dict.fromkeys(("-tb", "--threads-batch"), ("prompts and answers use the same threads: --threads", True)),
    **dict.fromkeys(("-tp", "--tensor-parallel-size", "-pp", "--pipeline-parallel-size"), (_ONE, True)),
    **dict.fromkeys(("--chat-template", "--chat-template-file"), (_TEMPLATE, True)),
    **dict.fromkeys(("--dtype", "--quantization", "--load-format"), (_TYPE, True)),
    "--no-mmap": (_MEMORY, False),
    "--mlock": (_MEMORY, False),
    "--mmap": (_MEMORY, False),
}

#: Their option for what is done anyway → (the word, whether a value follows it). They are taken, with a note.
ANYWAY: Mapping[str, tuple[str, bool]] = {
    **dict.fromkeys(("-fa", "--flash-attn"), (_KERNELS, True)),
    **dict.fromkeys(("--jinja", "--metrics", "-cb", "--cont-batching"), (_ALWAYS, False)),
    **dict.fromkeys(
        ("--enable-prefix-caching", "--enable-chunked-prefill", "--enable-auto-tool-choice"), (_ALWAYS, False)
    ),
    **dict.fromkeys(("--tool-call-parser", "--reasoning-parser", "--reasoning-format"), (_TOOLS, True)),
    "--trust-remote-code": ("no code of a checkpoint is run but its chat template, in a sandbox", False),
}


class Command(TyperCommand):
    """A command that takes these spellings."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = translated(args, _taking_values(self))
        note_shown(words)
        return super().parse_args(ctx, words)


def _taking_values(command: TyperCommand) -> dict[str, bool]:
    """A command's options and arguments, by every name → whether a value follows."""
    names: dict[str, bool] = {}
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            names[parameter.metavar or ""] = True
            continue
        follows = not (getattr(parameter, "is_flag", False) or getattr(parameter, "count", False))
        names |= dict.fromkeys((*parameter.opts, *parameter.secondary_opts), follows)
    return names


@dataclass
class _Words:
    """The words of a command line in translation."""

    own: Mapping[str, bool]
    plain: list[str] = field(default_factory=list)
    #: MODEL, which comes first, and PROMPT, which comes last
    model: list[str] = field(default_factory=list)
    prompt: list[str] = field(default_factory=list)
    #: whether there are words that are no option and no value
    positional: bool = False
    #: the values of NAMES, of each time that it stands there
    names: list[list[str]] = field(default_factory=list)
    #: our option → (their option, value), of what may be given twice and must agree
    values: dict[str, tuple[str, str]] = field(default_factory=dict)


def translated(arguments: Sequence[str], own: Mapping[str, bool]) -> list[str]:
    """The words of a command line in our spelling.

    own: the command's options → whether a value follows, and its arguments. Raises RequestError for an option that
    means nothing here, with the reason.
    """
    words = _Words(own)
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            rest.insert(0, word)
            break
        name, equals, value = word.partition("=")
        if not word.startswith("-") or name in own:
            words.plain.append(word)
            words.positional |= not word.startswith("-")
            if own.get(name) and word.startswith("-") and not equals and rest:
                words.plain.append(rest.pop(0))
            continue
        _take(words, name, value if equals and name.startswith("--") else None, rest)
    _name(words, has_model=bool(words.model) or words.positional or len(rest) > 1)
    after = words.prompt if not rest else []
    before = [] if not rest else words.prompt
    # A prompt may begin with a dash.
    return [*words.model, *words.plain, *(["--"] if after else []), *after, *rest, *before]


def _take(words: _Words, name: str, value: str | None, rest: list[str]) -> None:
    """Translate one word that is no option of ours, with its value."""
    if name in NOTHING:
        raise RequestError(f"{name} means nothing here: {NOTHING[name][0]}: leave it out")
    if name in ANYWAY:
        reason, follows = ANYWAY[name]
        if follows and value is None and rest and not rest[0].startswith("-"):
            rest.pop(0)
        say(f"{name} changes nothing: {reason}", err=True)
        return
    ours = SAME.get(name, ARGUMENTS.get(name))
    if ours is None or ours not in words.own:
        words.plain.append(name if value is None else f"{name}={value}")
        return
    if value is None:
        if not rest:
            raise RequestError(f"{name} needs a value")
        value = rest.pop(0)
        if name == NAMES:
            words.names.append([value])
            while rest and not rest[0].startswith("-"):
                words.names[-1].append(rest.pop(0))
            return
    if name == NAMES:
        words.names.append([value])
    elif ours == "MODEL":
        words.model.append(value)
    elif ours == "PROMPT":
        words.prompt.append(value)
    else:
        theirs, before = words.values.setdefault(ours, (name, value))
        if ours == "--kv-type" and before != value:
            raise RequestError(f"{theirs} is {before} and {name} is {value}: keys and values have one type, --kv-type")
        words.plain += [ours, value]


def _name(words: _Words, *, has_model: bool) -> None:
    """Translate the values of NAMES. Without a MODEL elsewhere, the last of several is MODEL."""
    if not has_model and words.names and len(words.names[-1]) > 1:
        words.model.append(words.names[-1].pop())
    names = [name for values in words.names for name in values]
    for option, value in zip(["--model-name"] + ["--alias"] * len(names), names, strict=False):
        words.plain += [option, value]
