"""/v1/models and /v1/models/{id}: OpenAI's shape with some fields of ours; Anthropic's client reads it too."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request

from shoestring.server.errors import model_not_found
from shoestring.server.facts import ServedModel
from shoestring.server.http import dependencies
from shoestring.server.http.fields import Loose

router = APIRouter(tags=["openai"])


class ModelEntry(Loose):
    """A model; the fields from `context_length` on are ours."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "shoestring"
    context_length: int
    family: str
    thinking: bool
    #: what a message may contain: text, image, video
    input_modalities: list[str]
    description: str
    sampling: dict[str, Any]
    parameters: int | None
    quantization: str | None
    changed_experts: str | None
    kv_type: str


class ModelList(Loose):
    object: Literal["list"] = "list"
    data: list[ModelEntry]


@router.get("/v1/models")
async def list_models(request: Request) -> ModelList:
    """The model that is served, under each of its names."""
    info = dependencies.service(request).info
    return ModelList(data=[_entry(info, name) for name in (info.id, *info.aliases) if name != "*"])


@router.get("/v1/models/{name:path}")
async def retrieve_model(name: str, request: Request) -> ModelEntry:
    """One model by its name."""
    info = dependencies.service(request).info
    if not info.answers_to(name):
        raise model_not_found(name, info.id)
    return _entry(info, name)


def _entry(info: ServedModel, name: str) -> ModelEntry:
    return ModelEntry(
        id=name,
        created=info.created,
        context_length=info.context,
        family=info.family,
        thinking=info.thinking,
        input_modalities=info.modalities,
        description=info.description,
        sampling=dict(info.sampling),
        parameters=info.parameters,
        quantization=info.quantization,
        changed_experts=info.changed_experts,
        kv_type=info.kv_type,
    )
