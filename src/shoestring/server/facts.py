"""What is known of the model that is served: for /v1/models, /api/tags, the page, and a request's `model`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shoestring.runtime.model import Model


@dataclass(frozen=True)
class ServedModel:
    """Facts of one model. aliases: further names that requests may use; "*": any."""

    id: str
    aliases: tuple[str, ...] = ()
    #: Unix time
    created: int = field(default_factory=lambda: int(time.time()))
    family: str = ""
    context: int = 0
    parameters: int | None = None
    quantization: str | None = None
    file_bytes: int | None = None
    path: str | None = None
    #: whether its template can think
    thinking: bool = False
    description: str = ""
    #: source of the chat template, Jinja
    template: str | None = None
    #: the checkpoint's defaults by name
    sampling: Mapping[str, Any] = field(default_factory=dict)

    def answers_to(self, name: str | None) -> bool:
        """Whether a request for `name` means this model; none named means it too."""
        if not name or "*" in self.aliases:
            return True
        names = (self.id, *self.aliases)
        return name in names or name.removesuffix(":latest") in names


def served_model(model: Model, id: str, aliases: tuple[str, ...] = (), **facts: Any) -> ServedModel:
    """The facts that a loaded model tells itself, and those that its file told (`facts`)."""
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
        template=templates.get("default"),
        sampling={name: getattr(sampling, name) for name in names},
        **facts,
    )
