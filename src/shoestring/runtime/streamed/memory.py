"""What a planned process takes, part by part, for people."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from shoestring.admission import Plan
from shoestring.kv_types import KVType
from shoestring.models.workspace import PROCESS_BYTES
from shoestring.runtime.memory import free_memory, own_memory
from shoestring.runtime.opening import Opened


@dataclass(frozen=True)
class Memory:
    """Bytes. weights: all, or those beside the experts that stream; experts: slots of these. state: without `cache`.

    process: interpreter, workspace, and buffers of the threads that read. vision: for pictures, of a model that sees.
    """

    weights: int
    experts: int
    state: int
    cache: int
    process: int
    vision: int = 0

    @property
    def total(self) -> int:
        total: int = sum(astuple(self))
        return total


def memory_of(opened: Opened, planned: Plan, threads: int, kv_type: KVType, vision: int = 0) -> Memory:
    """The memory of a plan. vision: bytes for pictures."""
    cache, streaming = planned.cache_bytes or 0, planned.streaming
    state = opened.layout.nbytes(planned.capacity, kv_type) - cache
    if streaming is None:
        return Memory(opened.weight_bytes, 0, state, cache, opened.workspace_bytes(threads), vision)
    process = opened.streaming_bytes(threads, streaming.pass_rows) + streaming.buffer_bytes
    return Memory(opened.resident_bytes, streaming.slots.arena_bytes, state, cache, process, vision)


def spare_memory(needs: Memory, memory: int | None) -> int:
    """Bytes that a plan leaves of free memory, or of the budget `memory`."""
    free, own = free_memory(), own_memory()
    usable = free if memory is None else min(free, max(0, memory - own))
    return max(0, usable + min(own, PROCESS_BYTES) - needs.total)
