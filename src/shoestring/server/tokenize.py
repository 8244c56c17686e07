"""/tokenize, /detokenize and /apply-template, in the shapes of vLLM (prompt, messages) and llama.cpp (content).

Text that looks like an added token stays text, as in every prompt here, unless parse_special is set. So the endpoints
return a rendered conversation as ids, too: its text alone does not distinguish the two.

A million ids take a second to write. So each endpoint works beside the event loop up to the JSON text of its answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from shoestring.checkpoint.text.text_work import limited, proceed
from shoestring.runtime.prompt import Prompt
from shoestring.server.errors import bad_request
from shoestring.server.http.bodies.route import JsonRoute
from shoestring.server.http.dependencies import service
from shoestring.server.http.fields import Body, Each, Many
from shoestring.server.http.streaming import unless_gone
from shoestring.server.media.unread import with_media
from shoestring.server.request import ChatRequest
from shoestring.server.service import Service
from shoestring.server.thinking import thinking_wish

#: Ids between two checks whether the client still waits.
_AT_ONCE = 4096

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


@router.post("/tokenize", responses={200: {"model": Tokens}})
async def tokenize(body: TokenizeBody, request: Request) -> Response:
    """Tokenize a text or a conversation."""
    served = service(request, body.model)
    if sum(value is not None for value in (body.content, body.prompt, body.messages)) != 1:
        raise bad_request("give exactly one of content, prompt and messages")
    if body.messages is None:
        return await _beside(request, served.on_text(_tokenized, body, None))
    asked = await served.beside(_request, body)
    return await _beside(request, served.on_prompt(_conversation_tokenized, asked, body))


@router.post("/detokenize", responses={200: {"model": Text}})
async def detokenize(body: DetokenizeBody, request: Request) -> Response:
    """Decode ids; bytes that are not UTF-8 become U+FFFD."""
    served = service(request, body.model)
    return await _beside(request, served.on_text(_detokenized, body))


@router.post("/apply-template", responses={200: {"model": RenderedPrompt}})
async def apply_template(body: TemplateBody, request: Request) -> Response:
    """Render a conversation to its prompt."""
    served = service(request, body.model)
    asked = await served.beside(_request, body)
    return await _beside(request, served.on_prompt(_applied, asked, body))


async def _beside(request: Request, work: Coroutine[Any, Any, bytes]) -> Response:
    """The JSON text that a function writes in a worker thread, where the tokenizer is."""
    return Response(await unless_gone(request.receive, work), media_type="application/json")


def _tokenized(served: Service, body: TokenizeBody, rendered: Sequence[int] | None) -> bytes:
    """rendered: the ids of the conversation; None: there is a text instead."""
    tokenizer = served.model.tokenizer
    ids = _text_ids(served, body) if rendered is None else rendered

    def with_piece(id: int) -> str:
        return json.dumps({"id": id, "piece": _piece(tokenizer.token_bytes(id))})

    fields = {
        "tokens": _listed(ids, with_piece if body.with_pieces else str),
        "count": str(len(ids)),
        "max_model_len": str(served.model.context),
    }
    if body.return_token_strs:
        fields["token_strs"] = _listed(ids, lambda id: json.dumps(tokenizer.decode([id])))
    return _object(fields)


def _detokenized(served: Service, body: DetokenizeBody) -> bytes:
    tokenizer = served.model.tokenizer
    most, most_characters = tokenizer.vocab_size, served.limits.text_characters
    decoder = tokenizer.stream_decoder(skip_special=body.skip_special_tokens)
    pieces: list[str] = []
    characters = 0
    for start in range(0, len(body.tokens), _AT_ONCE):
        ids = body.tokens[start : start + _AT_ONCE]
        for id in ids:
            if not 0 <= id < most:
                raise bad_request(f"token {id} is outside the vocabulary of {most} tokens", param="tokens")
        pieces.append(decoder.push(*ids))
        characters += len(pieces[-1])
        if characters > most_characters:
            raise bad_request(f"the text has more than {most_characters:,} characters: send fewer tokens")
        proceed()
    text = json.dumps("".join(pieces) + decoder.finish())
    return _object({"prompt": text, "content": text})


def _conversation_tokenized(served: Service, prompt: Prompt, body: TokenizeBody) -> bytes:
    return _tokenized(served, body, _asked_for(prompt, body))


def _applied(served: Service, prompt: Prompt, body: TemplateBody) -> bytes:
    ids = _asked_for(prompt, body)
    text = served.model.tokenizer.decode(ids)
    return _object({"prompt": json.dumps(text), "tokens": _listed(ids, str)})


def _asked_for(prompt: Prompt, body: Conversation) -> Sequence[int]:
    """Token ids of the conversation's prompt; a placeholder for each row of a picture."""
    # The last boundary is the end of the last message, before the start of the answer.
    return prompt.tokens if body.add_generation_prompt else prompt.tokens[: prompt.boundaries[-1]]


def _request(body: Conversation) -> ChatRequest:
    wish = thinking_wish(effort=body.reasoning_effort, template_arguments=body.chat_template_kwargs)
    return ChatRequest(
        messages=tuple(with_media(message, number) for number, message in enumerate(body.messages or ())),
        tools=tuple(body.tools or ()),
        thinking=wish.on,
        template_arguments=wish.template_arguments,
    )


def _text_ids(served: Service, body: TokenizeBody) -> list[int]:
    tokenizer = served.model.tokenizer
    text = body.content if body.content is not None else body.prompt
    assert text is not None
    with limited(served.countable):
        ids = tokenizer.encode(text, allow_special=body.parse_special)
    wishes = (body.add_special_tokens, body.add_special, body.prompt is not None)
    add_bos = next(wish for wish in wishes if wish is not None)
    if add_bos and tokenizer.add_bos and tokenizer.bos_id is not None:
        ids = [tokenizer.bos_id, *ids]
    return ids


def _listed(ids: Sequence[int], write: Callable[[int], str]) -> str:
    """A JSON list, written in pieces that give other threads a turn."""
    pieces = []
    for start in range(0, len(ids), _AT_ONCE):
        proceed()
        pieces.append(",".join([write(id) for id in ids[start : start + _AT_ONCE]]))
    return f"[{','.join(pieces)}]"


def _object(fields: dict[str, str]) -> bytes:
    """A JSON object of fields whose values are JSON texts."""
    return f"{{{','.join(f'{json.dumps(name)}:{text}' for name, text in fields.items())}}}".encode()


def _piece(data: bytes) -> str | list[int]:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return list(data)
