"""Facts about the served model, for /v1/models, /api/tags, the page, and the `model` of requests."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shoestring.kv_types import KVType, unusual_kv_type
from shoestring.media.settings import LlamaSettings
from shoestring.runtime.model import Model


@dataclass(frozen=True)
class ServedModel:
    """Facts about one model. aliases: other names that requests may use; "*": any."""

    id: str
    aliases: tuple[str, ...] = ()
    #: Unix time
    created: int = field(default_factory=lambda: int(time.time()))
    family: str = ""
    context: int = 0
    parameters: int | None = None
    quantization: str | None = None
    file_bytes: int | None = None
    format: str = "gguf"
    #: whether the model can think
    thinking: bool = False
    #: whether the model reads pictures, and videos
    sees: bool = False
    reads_video: bool = False
    description: str = ""
    #: Jinja source of the chat template
    template: str | None = None
    #: what --experts-per-token has changed: the answers are another model's; None: nothing
    changed_experts: str | None = None
    #: the type of stored keys and values: answers depend on it
    kv_type: KVType = "f16"
    #: the checkpoint's defaults by name
    sampling: Mapping[str, Any] = field(default_factory=dict)

    @property
    def modalities(self) -> list[str]:
        """What a message may contain."""
        return ["text", *["image"] * self.sees, *["video"] * self.reads_video]

    @property
    def fingerprint(self) -> dict[str, str]:
        """OpenAI's field for what the answers depend on beside the model; none without such a change."""
        parts = [part for part in (self.changed_experts, unusual_kv_type(self.kv_type)) if part is not None]
        return {"system_fingerprint": ", ".join(parts)} if parts else {}

    def answers_to(self, name: str | None) -> bool:
        """Whether a request for `name`, or without a name, means this model."""
        if not name or "*" in self.aliases:
            return True
        names = (self.id, *self.aliases)
        return name in names or name.removesuffix(":latest") in names


def served_model(model: Model, id: str, aliases: tuple[str, ...] = (), **facts: Any) -> ServedModel:
    """Facts about a loaded model; `facts` are those known from its file."""
    thinking = model.tokenizer.thinking is not None
    sampling = model.default_sampling(thinking=thinking)
    names = ("temperature", "top_k", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty")
    templates: Mapping[str, str] = getattr(model.template, "templates", {})
    return ServedModel(
        id,
        aliases,
        family=model.family,
        context=model.context,
        thinking=thinking,
        sees=model.vision.sees,
        reads_video=model.vision.sees and not isinstance(model.vision.settings, LlamaSettings),
        template=templates.get("default"),
        changed_experts=model.changed_experts,
        kv_type=model.engine.kv_type,
        sampling={name: getattr(sampling, name) for name in names},
        **facts,
    )
