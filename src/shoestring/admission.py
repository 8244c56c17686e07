"""Admission: check that a model fits into a budget before anything is loaded, and size its state, passes and slots.

Pure functions of numbers: runtime calls them with what is free, planning with the memory of any machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from shoestring.checkpoint.config.types import Config
from shoestring.engine.pools import cache_capacity
from shoestring.errors import CapacityError, RequestError
from shoestring.kv_types import KVType
from shoestring.models.layout import Demand, Layout
from shoestring.models.slices import ANSWER_ROWS
from shoestring.models.workspace import step_bytes, workspace_bytes
from shoestring.sizes import human
from shoestring.spelling import option
from shoestring.streaming.experts import FEW_ROWS
from shoestring.streaming.slots import ExpertBytes, SlotPlan, least_bytes, plan_slots

#: Most requests at once, if memory allows.
MOST_SEQUENCES = 8
#: Snapshots of recurrent state per sequence: at the last boundary, at the prompt's end and one token before it.
SNAPSHOTS = 3
#: A server's prefix cache takes one part in so many of the memory beside the weights, by default.
CACHE_SHARE = 4
#: The smallest context, where none is asked for.
LEAST_CONTEXT = 512
#: Rows of a pass of a model that streams: the least, and the most. More rows read each expert less often.
LEAST_ROWS, MOST_ROWS = 64, 4096
#: Of the memory that experts could use, context and cache get one part in so many, rows of passes one in so many.
STATE_PART, PASS_PART = 8, 3
#: Without a budget, streaming leaves one part in so many of the free memory to others.
MARGIN_PART = 16


@dataclass(frozen=True)
class Plan:
    """Arguments of the engine: tokens of the longest sequence, pages and slots in total, sequences at once."""

    context: int
    capacity: Demand
    sequences: int
    #: limit of the prefix cache; None: what running sequences leave of the capacity
    cache_bytes: int | None
    #: the experts that stay in memory, and the most rows of a pass, of a model that streams; None: all are in memory
    streaming: Streaming | None = None


@dataclass(frozen=True)
class Streaming:
    """How a budget is split between experts and rows of prompts. buffer_bytes: of the threads that read."""

    slots: SlotPlan
    pass_rows: int
    buffer_bytes: int


@dataclass(frozen=True)
class Needs:
    """Bytes that a model which streams needs beside experts and state.

    resident_bytes: weights without experts. buffer_bytes: of the threads that read. workspace: of the process, with
    the most rows of a pass.
    """

    resident_bytes: int
    buffer_bytes: int
    workspace: Callable[[int], int]

    def fixed(self, rows: int) -> int:
        """Everything but experts and state, with passes of so many rows."""
        return self.resident_bytes + self.buffer_bytes + self.workspace(rows)


def streaming_workspace(config: Config, threads: int, rows: int, stored_embedding: bool) -> int:
    """Bytes of a process beside weights and state, if experts stay on disk: with passes of `rows` rows.

    stored_embedding: its rows stay on disk as well.
    """
    logits = 4 * ANSWER_ROWS * config.vocab_size  # counted with the pass, whose rows use the same
    answers = step_bytes(config, ANSWER_ROWS) - logits
    embedded = 4 * rows * config.hidden_size if stored_embedding else 0
    return workspace_bytes(config, threads, rows, FEW_ROWS) + answers + embedded


def plan_state(
    layout: Layout,
    *,
    name: str,
    weight_bytes: int,
    workspace_bytes: int,
    free_bytes: int,
    model_context: int,
    context: int | None,
    kv_type: KVType,
    sequences: int | None = None,
    budgeted: bool = False,
    cache_bytes: int | None = None,
) -> Plan:
    """The state for the requested context, or for the largest that fits (at most the model's own).

    workspace_bytes: of the process, beside weights and state. sequences: at once, each of the whole context; None: as
    many as fit, up to MOST_SEQUENCES, with shared global pages. budgeted: free_bytes is limited by a budget, not by the
    machine. cache_bytes: reserved for the prefix cache; None: only what running sequences leave free, and a few
    snapshots.

    Raises CapacityError with the bytes needed and free, RequestError for values below the least.
    """
    if context is not None and context < 1:
        raise RequestError(f"{option('context')} is {context}: choose at least 1")
    if context is not None and context > model_context:
        raise CapacityError(
            f"{option('context')} is {context} and the model was made for at most {model_context}: choose less"
        )
    if sequences is not None and sequences < 1:
        raise RequestError(f"{option('parallel')} is {sequences}: choose at least 1")
    if cache_bytes is not None and cache_bytes < 0:
        raise RequestError(f"{option('cache_memory')} is {cache_bytes}: choose at least 0")
    snapshots = _snapshots(layout, cache_bytes)
    fixed = weight_bytes + workspace_bytes + (cache_bytes or 0)
    left_bytes = free_bytes - fixed
    cache = cache_capacity(layout, cache_bytes or 0, kv_type)

    def demand(tokens: int) -> Demand:
        return layout.capacity(tokens, sequences or 1, snapshots)

    least = context or min(LEAST_CONTEXT, model_context)
    state_bytes = layout.nbytes(demand(least), kv_type)
    if state_bytes > left_bytes:
        cached = f", {human(cache_bytes)} for {option('cache_memory')}" if cache_bytes else ""
        together = f", {sequences} at once" if sequences else ""
        raise CapacityError(
            f"{name} needs {human(fixed + state_bytes, 'up')} of memory for a context of {least}{together} "
            f"({human(weight_bytes)} for its weights{cached}) and {_limit(free_bytes, budgeted)}, "
            f"choose a smaller {option('context')} or a smaller model"
        )
    tokens = context or _largest(layout, demand, left_bytes * 9 // 10, least, model_context, kv_type)
    if sequences:
        return Plan(tokens, demand(tokens) + cache, sequences, cache_bytes)
    capacity, sequences = _shared(layout, tokens, demand(tokens), left_bytes * 9 // 10, kv_type)
    return Plan(tokens, capacity + cache, sequences, cache_bytes)


def plan_streaming(
    layout: Layout,
    layers: Sequence[ExpertBytes],
    experts_per_token: int,
    needs: Needs,
    *,
    name: str,
    free_bytes: int,
    model_context: int,
    context: int | None,
    kv_type: KVType,
    sequences: int | None = None,
    budgeted: bool = False,
    used_bytes: int = 0,
    cache_bytes: int | Literal["share"] | None = None,
) -> Plan:
    """A fixed split of a budget: the state, rows of passes, and slots of experts, which get the most.

    used_bytes: what the process already has of a budget. Other arguments as for `plan_state`. Raises CapacityError with
    the least that works, RequestError for values below the least.
    """
    tokens = context or min(LEAST_CONTEXT, model_context)
    least_state = _least_state(layout, tokens, sequences, kv_type, cache_bytes)
    least = needs.fixed(LEAST_ROWS) + least_bytes(layers, experts_per_token) + least_state
    usable = free_bytes if budgeted else free_bytes - free_bytes // MARGIN_PART
    if least > usable:
        at_least = f", so {option('memory')} of at least {human(least + used_bytes, 'up')}," if budgeted else ""
        raise CapacityError(
            f"{name} streams its experts from disk and needs at least {human(least, 'up')} of memory "
            f"({human(needs.resident_bytes)} for its other weights, {human(least_state)} for its context){at_least} "
            f"and {_limit(free_bytes, budgeted)}, choose a smaller {option('context')} or a smaller model"
        )
    spare = usable - least
    state_bytes = least_state + (0 if context and sequences else spare // STATE_PART)
    if cache_bytes == "share":
        cache_bytes = spare // STATE_PART // CACHE_SHARE
        state_bytes += cache_bytes
    state = plan_state(
        layout,
        name=name,
        weight_bytes=usable - state_bytes,
        workspace_bytes=0,
        free_bytes=usable,
        model_context=model_context,
        context=context,
        kv_type=kv_type,
        sequences=sequences,
        budgeted=budgeted,
        cache_bytes=cache_bytes,
    )
    left = usable - layout.nbytes(state.capacity, kv_type) - needs.fixed(LEAST_ROWS)
    rows = _pass_rows(
        needs, (left - least_bytes(layers, experts_per_token)) // PASS_PART, state.context * state.sequences
    )
    slots = plan_slots(layers, experts_per_token, left - needs.workspace(rows) + needs.workspace(LEAST_ROWS))
    return dataclasses.replace(state, streaming=Streaming(slots, rows, needs.buffer_bytes))


def least_streaming(
    layout: Layout,
    layers: Sequence[ExpertBytes],
    experts_per_token: int,
    needs: Needs,
    tokens: int,
    kv_type: KVType,
    sequences: int | None = None,
) -> int:
    """Bytes of the least budget that works for a context of `tokens`, with the cache that `load` has by default."""
    state = _least_state(layout, tokens, sequences, kv_type, None)
    return needs.fixed(LEAST_ROWS) + least_bytes(layers, experts_per_token) + state


def _least_state(
    layout: Layout, tokens: int, sequences: int | None, kv_type: KVType, cache_bytes: int | Literal["share"] | None
) -> int:
    """The least state and cache. "share": counted later; what plan_state would keep without a cache is part of it."""
    snapshots, cache = (0, 0) if cache_bytes == "share" else (_snapshots(layout, cache_bytes), cache_bytes or 0)
    return layout.nbytes(layout.capacity(tokens, sequences or 1, snapshots), kv_type) + cache


def _snapshots(layout: Layout, cache_bytes: int | None) -> int:
    return SNAPSHOTS if layout.recurrent_layers and cache_bytes is None else 0


def _limit(free_bytes: int, budgeted: bool) -> str:
    free = human(max(0, free_bytes), "down")
    return f"{option('memory')} leaves {free}: give more" if budgeted else f"{free} are free: free some"


def _pass_rows(needs: Needs, spare: int, most: int) -> int:
    """The most rows of a pass whose workspace takes at most `spare` bytes more than that of LEAST_ROWS.

    most: rows of all sequences together.
    """
    low, high, least = LEAST_ROWS, max(LEAST_ROWS, min(most, MOST_ROWS)), needs.workspace(LEAST_ROWS)
    while low < high:
        middle = (low + high + 1) // 2
        if needs.workspace(middle) - least <= spare:
            low = middle
        else:
            high = middle - 1
    return low


def _largest(
    layout: Layout, demand: Callable[[int], Demand], free_bytes: int, least: int, most: int, kv_type: KVType
) -> int:
    """The longest context that fits, by bisection."""
    low, high = least, most
    while low < high:
        middle = (low + high + 1) // 2
        if layout.nbytes(demand(middle), kv_type) <= free_bytes:
            low = middle
        else:
            high = middle - 1
    return low


def _shared(layout: Layout, tokens: int, one: Demand, free_bytes: int, kv_type: KVType) -> tuple[Demand, int]:
    """Pages and slots for as many sequences as fit. They share the global pages, of which short ones need few.

    Beside a sequence of all `tokens` there is always space for one of tokens ÷ sequences (engine/scheduler.py).
    """
    for sequences in range(MOST_SEQUENCES, 1, -1):
        pages = one.global_pages + layout.demand(-(-tokens // sequences)).global_pages
        capacity = dataclasses.replace(one * sequences, global_pages=pages)
        left = free_bytes - layout.nbytes(capacity, kv_type)
        if left >= 0:
            page = layout.nbytes(Demand(global_pages=1), kv_type)
            pages = min(one.global_pages * sequences, pages + left // page) if page else 0
            return dataclasses.replace(capacity, global_pages=pages), sequences
    return one, 1
