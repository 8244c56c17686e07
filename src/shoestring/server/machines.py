"""The machines of a request's answers, and what one delivered token becomes for a client."""

from __future__ import annotations

from shoestring.engine.engine import Delivery
from shoestring.output.form import Form, form_of
from shoestring.output.machine import OutputMachine
from shoestring.runtime.model import Model, Prompt
from shoestring.server.request import ChatRequest, CompletionRequest, Delta, Finished


def stop_ids(model: Model, request: ChatRequest | CompletionRequest) -> frozenset[int]:
    """Tokens that end an answer."""
    return frozenset() if request.options.ignore_eos else model.tokenizer.eos_ids


def output_machines(
    model: Model, prompt: Prompt, request: ChatRequest | CompletionRequest
) -> tuple[OutputMachine, ...]:
    """One machine an answer. Raises RequestError for a form that cannot be honoured."""
    form = _form(model, request)
    return tuple(OutputMachine(form, inside_thinking=prompt.inside_thinking) for _ in range(request.options.n))


def _form(model: Model, request: ChatRequest | CompletionRequest) -> Form:
    options, ends = request.options, stop_ids(model, request)
    # A token that is forced has no log-probability; the answer is the same.
    force = options.sampling.get("logprobs") is None
    if isinstance(request, CompletionRequest):
        return form_of(
            model.tokenizer,
            model.family,
            chat=False,
            constraint=options.constraint,
            stops=options.stop,
            hidden_ids=ends,
            force=force,
        )
    return form_of(
        model.tokenizer,
        model.family,
        tools=request.tools,
        tool_choice=request.tool_choice,
        parallel_tool_calls=request.parallel_tool_calls,
        thinking_budget=request.thinking_budget,
        constraint=options.constraint,
        stops=options.stop,
        hidden_ids=ends,
        force=force,
    )


def taken(machine: OutputMachine, choice: int, delivery: Delivery) -> tuple[Delta, Finished | None]:
    """What a token adds to answer `choice`, and why it is the last that counts, if it is."""
    sampled = delivery.sampled
    events = machine.push(sampled, delivery.finish_reason)
    reason = machine.finish_reason
    finished = None if reason is None else Finished(choice, reason, machine.stop_sequence)
    return Delta(choice, events, (sampled,)), finished
