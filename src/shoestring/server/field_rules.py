"""The rule for fields that a request may have and no endpoint acts on, and the table of them.

A field that is off, or asks for what happens anyway, is accepted. So is one without effect on the answer. What would
change the answer and is not supported is refused by name. An unknown field is refused too, unless it is empty; Ollama's
API, and a server with --lenient, ignores it and logs its name once, as Ollama does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shoestring.printable import shortened

log = logging.getLogger("shoestring.server")


@dataclass(frozen=True)
class Refused:
    """A field that would change the answer. why: what to do instead.

    same: values that ask for what happens anyway. off: whether false, 0, "" and [] switch the field off. {} does not:
    for some fields it means their defaults.
    """

    why: str
    same: tuple[Any, ...] = ()
    off: bool = True

    def accepts(self, value: Any) -> bool:
        return any(value == same for same in self.same) or (self.off and (is_empty(value) or value in (False, 0)))


@dataclass(frozen=True)
class Rules:
    """The fields of one kind of object, beside those that it declares. ignores: drops and logs unknown fields."""

    refused: Mapping[str, Refused] = field(default_factory=dict)
    no_effect: frozenset[str] = frozenset()
    ignores: bool = False

    def __or__(self, other: Rules) -> Rules:
        return Rules(self.refused | other.refused, self.no_effect | other.no_effect, self.ignores or other.ignores)  # type: ignore[operator]


def is_empty(value: Any) -> bool:
    """Whether a value says nothing: null, an empty text or list."""
    return value is None or (isinstance(value, str | list) and not value)


# --- names that are ignored

#: Names in the log; more are not logged, because clients choose them.
_MOST_NAMES = 100
_logged: set[str] = set()
_lock = threading.Lock()


def note_ignored(name: str) -> None:
    """Log the name of a field that is ignored, once."""
    with _lock:
        if name in _logged or len(_logged) >= _MOST_NAMES:
            return
        _logged.add(name)
    log.warning("ignored a field that is not known: %s", shortened(name, 100))


# --- the table

_NO_SOUND = Refused("there is no sound: send text, pictures and videos")
_ONE_WAY = "tokens are written as the tokenizer writes them"
_STRUCTURED = {
    name: Refused(f"use structured_outputs: {{{form}}}")
    for name, form in {
        "grammar": "grammar",
        "json_schema": "json",
        "regex": "regex",
        "ebnf": "grammar",
        **{f"guided_{form}": form for form in ("json", "regex", "choice", "grammar")},
    }.items()
}

#: Samplers of llama.cpp that we do not have. The other parameters of a sampler that is off have no effect.
LLAMA_SAMPLERS = Rules(
    {
        "mirostat": Refused("use temperature, top_p and min_p"),
        "typical_p": Refused("use top_p or min_p", same=(1,)),
        "typ_p": Refused("use top_p or min_p", same=(1,)),
        "tfs_z": Refused("use top_p or min_p", same=(1,)),
        "top_n_sigma": Refused("use top_p or min_p", same=(-1,)),
        "dynatemp_range": Refused("use temperature"),
        "xtc_probability": Refused("use top_p or min_p"),
        "dry_multiplier": Refused("use the penalties"),
        "min_keep": Refused("use top_k"),
        "samplers": Refused("the order of the filters is fixed"),
        "adaptive_target": Refused("use temperature", same=(-1,)),
        "penalize_newline": Refused("all tokens are penalized", same=(True,), off=False),
        "penalize_nl": Refused("all tokens are penalized", same=(True,), off=False),
    },
    frozenset(
        (
            *("mirostat_tau", "mirostat_eta", "dynatemp_exponent", "xtc_threshold", "adaptive_decay"),
            *("dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers"),
        )
    ),
)

_LLAMA = Rules(
    {
        "n_predict": Refused("use max_tokens", same=(-1,), off=False),
        "n_probs": Refused("use logprobs"),
        "n_indent": Refused("lines are indented as the model writes them"),
        "t_max_predict_ms": Refused("use max_tokens"),
        "t_max_prompt_ms": Refused("close the connection to stop", same=(-1,)),
        "return_tokens": Refused("use logprobs, or /tokenize"),
        "return_progress": Refused("use stream_options: {include_progress: true}"),
        "timings_per_token": Refused("log lines and /metrics have times"),
        "post_sampling_probs": Refused("logprobs are the model's own"),
        "response_fields": Refused("answers have all fields"),
        "lora": Refused("one model is served"),
        "grammar_lazy": Refused("use tools, or structured_outputs"),
        "reasoning_format": Refused("thinking is in reasoning_content", same=("auto", "deepseek")),
        "reasoning_in_content": Refused("thinking is in reasoning_content"),
        "reasoning_budget": Refused("use thinking_budget", same=(-1,), off=False),
        "thinking_forced_open": Refused("use enable_thinking"),
        "parse_tool_calls": Refused("calls are always parsed", same=(True,), off=False),
        "logit_bias_exp": Refused("use logit_bias", same=({},)),
        "input_prefix": Refused("put it into the prompt"),
        "input_suffix": Refused("put it into the prompt"),
        "antiprompt": Refused("use stop"),
    },
    frozenset(
        (
            *("cache_prompt", "n_cache_reuse", "id_slot", "slot_id", "n_keep", "n_discard", "n_ctx", "num_ctx"),
            *("speculative.n_min", "speculative.n_max", "speculative.p_min", "speculative", "backend_sampling"),
        )
    ),
)

_VLLM = Rules(
    {
        "min_tokens": Refused("use ignore_eos with max_tokens, or a grammar"),
        "stop_token_ids": Refused("use stop"),
        "use_beam_search": Refused("answers are sampled"),
        "length_penalty": Refused("answers are sampled, without beams", same=(1,)),
        "early_stopping": Refused("answers are sampled, without beams"),
        "include_stop_str_in_output": Refused("answers end before the stop string"),
        "skip_special_tokens": Refused("special tokens are not shown", same=(True,), off=False),
        "spaces_between_special_tokens": Refused(_ONE_WAY, same=(True,), off=False),
        "add_special_tokens": Refused("prompts begin as the model expects"),
        "truncate_prompt_tokens": Refused("shorten the prompt: nothing is left out silently", same=(-1,), off=False),
        "prompt_logprobs": Refused("use echo with logprobs in /v1/completions"),
        "allowed_token_ids": Refused("use a grammar, or logit_bias"),
        "bad_words": Refused("use logit_bias"),
        "bad_words_ids": Refused("use logit_bias"),
        "logits_processors": Refused("use logit_bias, or a grammar"),
        "return_tokens_as_token_ids": Refused("use logprobs, or /tokenize"),
        "return_token_ids": Refused("use logprobs, or /tokenize"),
        "return_hidden_states": Refused("use hidden_states in Python"),
        "guided_whitespace_pattern": Refused("whitespace follows the schema"),
        "structural_tag": Refused("use tools, or structured_outputs: {json}"),
        "include_reasoning": Refused("thinking is in a field of its own", same=(True,), off=False),
        "separate_reasoning": Refused("thinking is in a field of its own", same=(True,), off=False),
        "thinking_token_budget": Refused("use thinking_budget", same=(-1,), off=False),
        "documents": Refused("put them into a message"),
        "mm_processor_kwargs": Refused("pictures are read as the model's processor says", same=({},)),
        "media_io_kwargs": Refused("pictures are read as the model's processor says", same=({},)),
        "prompt_embeds": Refused("send the prompt as text or token ids"),
        "cache_salt": Refused("give each client a key of its own: keys do not share the cache"),
        "kv_transfer_params": Refused("one process computes the whole answer", same=({},)),
        "vllm_xargs": Refused("send the fields of docs/api.md", same=({},)),
        "extra_args": Refused("send the fields of docs/api.md", same=({},)),
        "extra_body": Refused("put its fields beside the others", same=({},)),
        "repetition_detection": Refused("use the penalties"),
        "do_sample": Refused("use temperature: 0", same=(True,), off=False),
        "num_beams": Refused("answers are sampled, without beams", same=(1,)),
    },
    frozenset(
        (
            *("request_id", "rid", "priority", "guided_decoding_backend", "stream_reasoning", "no_stop_trim"),
            *("disable_log_stats", "data_parallel_rank"),
        )
    ),
)

#: OpenRouter's fields that many clients send to every server.
_OPENROUTER = Rules(
    {
        "transforms": Refused("shorten the prompt: nothing is left out silently"),
        "plugins": Refused("give the model a tool"),
    },
    frozenset(("provider", "models", "route", "usage", "keep_alive", "session_id", "trace")),
)

#: Both of OpenAI's APIs.
_OPENAI = (
    LLAMA_SAMPLERS
    | _LLAMA
    | _VLLM
    | _OPENROUTER
    | Rules(
        _STRUCTURED,
        frozenset(
            (
                *("user", "metadata", "store", "service_tier", "prompt_cache_key", "prompt_cache_retention"),
                *("prompt_cache_options", "safety_identifier", "prediction"),
            )
        ),
    )
)

OPENAI_CHAT = _OPENAI | Rules(
    {
        "functions": Refused("send tools"),
        "function_call": Refused("send tool_choice", same=("auto", "none")),
        "audio": _NO_SOUND,
        "modalities": Refused("answers are text", same=(["text"],)),
        "web_search_options": Refused("there is no web search: give the model a tool", off=False),
        "verbosity": Refused("ask for it in the system message", same=("medium",)),
        "moderation": Refused("nothing is moderated", off=False),
        "best_of": Refused("use n", same=(1,)),
        "echo": Refused("only /v1/completions can echo the prompt"),
        "suffix": Refused("only the end of a conversation can be continued"),
        "prompt": Refused("send messages, or use /v1/completions"),
        "chat_template": Refused("the checkpoint's template is always used"),
    }
)

OPENAI_MESSAGE = Rules(
    {
        "audio": _NO_SOUND,
        "images": Refused("send parts of type image_url"),
        "function_call": Refused("send tool_calls"),
        "prefix": Refused("send continue_final_message: true beside the messages"),
        "partial": Refused("send continue_final_message: true beside the messages"),
    }
)

OPENAI_COMPLETION = _OPENAI | Rules(
    {
        "suffix": Refused("only the end of a prompt can be continued"),
        "messages": Refused("use /v1/chat/completions"),
        "tools": Refused("use /v1/chat/completions"),
    }
)

#: OpenRouter's `reasoning`.
OPENAI_REASONING = Rules(
    {"exclude": Refused("thinking is sent in a field of its own, which a client may ignore")},
    frozenset(("summary", "generate_summary")),
)

OPENAI_RESPONSE_FORMAT = Rules(no_effect=frozenset(("name", "description", "strict")))

STRUCTURED_OUTPUTS = Rules(
    {
        "structural_tag": Refused("use tools or json"),
        "whitespace_pattern": Refused("whitespace follows the schema"),
        "disable_any_whitespace": Refused("whitespace follows the schema"),
        "disable_fallback": Refused("there is one backend", same=(True,)),
        "disable_additional_properties": Refused("write additionalProperties: false in the schema"),
    },
    frozenset(("backend", "_backend", "_backend_was_auto")),
)

ANTHROPIC = Rules(
    {
        "container": Refused("code execution is not available"),
        "mcp_servers": Refused("connect MCP servers in your client and send their tools in `tools`"),
        "compaction": Refused("summarize the conversation in a request of its own", off=False),
        "thread": Refused("send all messages with each request", off=False),
    },
    frozenset(
        (
            *("cache_control", "speed", "user_profile_id", "workspace_id", "metadata", "service_tier"),
            *("inference_geo", "diagnostics", "betas", "billing_policy", "fallbacks", "fallback_credit_token"),
        )
    ),
)

ANTHROPIC_OUTPUT = Rules({"task_budget": Refused("limit the answer with max_tokens")})

ANTHROPIC_TOOL = Rules(
    {
        "input_examples": Refused("put the examples into the description"),
        "defer_loading": Refused("the model sees all tools from the beginning"),
        "allowed_callers": Refused("only the model itself can call a tool", same=(["direct"],)),
    },
    #: arguments always stream as they are generated
    frozenset(("cache_control", "eager_input_streaming")),
)

ANTHROPIC_BLOCK = Rules(
    {
        "citations": Refused("put the cited text into the message", same=({"enabled": False},)),
        "toolset_name": Refused("toolsets run at Anthropic: send the tools themselves"),
        "transformations": Refused("send the image as it is to be seen"),
    },
    frozenset(("cache_control", "caller")),
)

OLLAMA = Rules(no_effect=frozenset(("keep_alive", "truncate", "shift")), ignores=True)

OLLAMA_GENERATE = OLLAMA | Rules(
    {
        "template": Refused("the checkpoint's own chat template is used; with raw the prompt is used unchanged"),
        "suffix": Refused("only the end of a prompt can be continued"),
        "context": Refused("send the conversation's messages to /api/chat"),
        **dict.fromkeys(("width", "height", "steps"), Refused("no images are generated")),
    }
)

OLLAMA_OPTIONS = (
    LLAMA_SAMPLERS
    | OLLAMA
    | Rules(
        no_effect=frozenset(
            (
                *("num_ctx", "num_keep", "num_batch", "num_gpu", "main_gpu", "num_thread", "numa", "low_vram"),
                *("f16_kv", "logits_all", "vocab_only", "use_mmap", "use_mlock", "embedding_only", "draft_num_predict"),
            )
        )
    )
)
