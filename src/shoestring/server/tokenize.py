"""/tokenize, /detokenize and /apply-template, in the shapes of vLLM (prompt, messages) and llama.cpp (content).

Text that looks like an added token stays text, as in every prompt here, unless parse_special is set. So the endpoints
return a rendered conversation as ids, too: its text alone does not distinguish the two.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from shoestring.server.errors import bad_request
from shoestring.server.http.bodies.route import JsonRoute
from shoestring.server.http.dependencies import service
from shoestring.server.http.fields import Body, Each, Many
from shoestring.server.request import ChatRequest
from shoestring.server.service import Service
from shoestring.server.thinking import thinking_wish

router = APIRouter(tags=["tokens"], route_class=JsonRoute)


class Conversation(Body):
    """The fields of a chat that are part of its prompt."""

    model: str | None = None
    messages: Many[dict[str, Any]] | None = None
    tools: Many[dict[str, Any]] | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    #: whether to end the prompt with the start of the answer
    add_generation_prompt: bool = True


class TokenizeBody(Conversation):
    """POST /tokenize: exactly one of content (llama.cpp), prompt and messages (vLLM)."""

    content: str | None = None
    prompt: str | None = None
    #: prepend the beginning-of-text token, if the model has one; default: only for `prompt`, as in generation
    add_special_tokens: bool | None = None
    #: llama.cpp's name for add_special_tokens
    add_special: bool | None = None
    #: parse added tokens in the text
    parse_special: bool = False
    return_token_strs: bool | None = None
    #: list {"id", "piece"} instead of ids; a piece that is not UTF-8 is a list of bytes
    with_pieces: bool = False


class Tokens(BaseModel):
    tokens: list[int] | list[dict[str, Any]]
    count: int
    max_model_len: int
    token_strs: list[str] | None = None


class DetokenizeBody(Body):
    """POST /detokenize."""

    model: str | None = None
    tokens: Each[int]
    skip_special_tokens: bool = False


class Text(BaseModel):
    """The same text under vLLM's and llama.cpp's names."""

    prompt: str
    content: str


class TemplateBody(Conversation):
    """POST /apply-template."""

    messages: Many[dict[str, Any]]


class RenderedPrompt(BaseModel):
    """prompt: the text. tokens: its ids; only they distinguish the template's special tokens from user text."""

    prompt: str
    tokens: list[int]


@router.post("/tokenize", response_model=Tokens, response_model_exclude_none=True)
async def tokenize(body: TokenizeBody, request: Request) -> Tokens:
    """Tokenize a text or a conversation."""
    served = service(request, body.model)
    if sum(value is not None for value in (body.content, body.prompt, body.messages)) != 1:
        raise bad_request("give exactly one of content, prompt and messages")
    ids = await (rendered(served, body) if body.messages is not None else asyncio.to_thread(text_ids, served, body))
    tokenizer = served.model.tokenizer
    return Tokens(
        tokens=[{"id": id, "piece": _piece(tokenizer.token_bytes(id))} for id in ids] if body.with_pieces else ids,
        count=len(ids),
        max_model_len=served.model.context,
        token_strs=[tokenizer.decode([id]) for id in ids] if body.return_token_strs else None,
    )


@router.post("/detokenize")
async def detokenize(body: DetokenizeBody, request: Request) -> Text:
    """Decode ids; bytes that are not UTF-8 become U+FFFD."""
    served = service(request, body.model)
    most = served.model.tokenizer.vocab_size
    for id in body.tokens:
        if not 0 <= id < most:
            raise bad_request(f"token {id} is outside the vocabulary of {most} tokens", param="tokens")
    text = served.model.tokenizer.decode(body.tokens, skip_special=body.skip_special_tokens)
    return Text(prompt=text, content=text)


@router.post("/apply-template")
async def apply_template(body: TemplateBody, request: Request) -> RenderedPrompt:
    """Render a conversation to its prompt."""
    served = service(request, body.model)
    ids = await rendered(served, body)
    return RenderedPrompt(prompt=served.model.tokenizer.decode(ids), tokens=ids)


async def rendered(served: Service, body: Conversation) -> list[int]:
    """Token ids of the conversation's prompt. Raises ApiError."""
    wish = thinking_wish(effort=body.reasoning_effort, template_arguments=body.chat_template_kwargs)
    prompt = await served.render(
        ChatRequest(
            messages=tuple(body.messages or ()),
            tools=tuple(body.tools or ()),
            thinking=wish.on,
            template_arguments=wish.template_arguments,
        )
    )
    # The last boundary is the end of the last message, before the start of the answer.
    return list(prompt.tokens if body.add_generation_prompt else prompt.tokens[: prompt.boundaries[-1]])


def text_ids(served: Service, body: TokenizeBody) -> list[int]:
    tokenizer = served.model.tokenizer
    text = body.content if body.content is not None else body.prompt
    assert text is not None
    ids = tokenizer.encode(text, allow_special=body.parse_special)
    wishes = (body.add_special_tokens, body.add_special, body.prompt is not None)
    add_bos = next(wish for wish in wishes if wish is not None)
    if add_bos and tokenizer.add_bos and tokenizer.bos_id is not None:
        ids = [tokenizer.bos_id, *ids]
    return ids


def _piece(data: bytes) -> str | list[int]:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return list(data)
