"""Place a mixture for our engine on a machine that cannot hold it: a budget, split as loading splits it."""

from __future__ import annotations

from functools import cache

from shoestring.admission import Needs, least_streaming, plan_streaming, streaming_workspace
from shoestring.kv_types import KVType
from shoestring.planning.candidates.candidates import Candidate
from shoestring.planning.candidates.formats import OWN_TYPES, gguf_type, is_gguf, tensor_bytes
from shoestring.planning.candidates.shapes import Shape
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.memory import AS_STORED, UNUSED, Need, Placement, ladder, need, our_engine_reads
from shoestring.planning.streamed.split import Streamed
from shoestring.streaming.embedding import RECENT_ROWS
from shoestring.streaming.slots import ExpertBytes, slot_bytes
from shoestring.streaming.store import USUAL_READER_BYTES

#: slots begin at multiples of a cache line
_LINE = 64


def place_streamed(
    candidate: Candidate, machine: Hardware, context: int, users: int, type_: str | None, kv_type: KVType
) -> tuple[Need, Placement] | None:
    """The split of the machine's memory in a type that our engine streams; if it is too small, what is missing.

    type_: None: that of a local file, else the first GGUF type of the machine's ladder. None if our engine does not
    stream the model there: it computes on processors, beside a GPU too, but not in a GPU's own memory.
    """
    if not machine.ram_usable:
        return None
    types = [t for t in ladder(machine, candidate) if t in OWN_TYPES]
    name = type_ or (AS_STORED if candidate.stored else types[0])
    if not our_engine_reads(candidate, name, context):
        return None
    n = need(candidate, name, context, users, kv_type, True, machine.cores)
    placed = _placed(n, machine)
    return None if placed is None else (n, placed)


def _placed(n: Need, machine: Hardware) -> Placement | None:
    layers, embedding, recent = on_disk(n)
    if not layers:
        return None
    config, budget = n.candidate.config, machine.ram_usable
    resident = n.weights_bytes - n.routed_bytes - embedding + recent
    needs = Needs(
        resident,
        USUAL_READER_BYTES,
        lambda rows: streaming_workspace(config, machine.cores, rows, embedding > 0),
    )
    # Without a number of users, the command leaves the engine free to serve several, as far as memory allows.
    sequences = n.users if n.users > 1 else None
    chosen = config.num_experts_per_tok
    least = least_streaming(n.layout, layers, chosen, needs, n.context, n.kv_type, sequences)
    if least > budget:
        return Placement("no", {}, {}, {}, 0, 0, least - budget, 0, least=least)
    if not n.candidate.local and 0 < machine.disk_bytes < n.download:
        missing, short = max(1, n.total_bytes - budget), n.download - machine.disk_bytes
        return Placement("no", {}, {}, {}, 0, 0, missing, 0, least=least, disk_missing=short)
    planned = plan_streaming(
        n.layout, layers, chosen, needs, name=n.candidate.name, free_bytes=budget, budgeted=True,
        model_context=config.max_position_embeddings, context=n.context, kv_type=n.kv_type, sequences=sequences,
    )  # fmt: skip
    assert planned.streaming is not None
    workspace = needs.workspace(planned.streaming.pass_rows) + USUAL_READER_BYTES
    state = n.layout.nbytes(planned.capacity, n.kv_type)
    split = Streamed(planned.streaming, layers, resident, state, workspace, least, budget)
    arena = planned.streaming.slots.arena_bytes
    ram = {str(part): size for part, size in n.sizes.by_part if part not in UNUSED}
    ram |= {"routed_experts": arena, "sequences": state, "workspace": workspace}
    ram["embeddings"] += recent - embedding
    disk = {"routed_experts": n.routed_bytes - arena, "embeddings": embedding - recent}
    disk |= {str(part): size for part, size in n.file.by_part if part in UNUSED}
    return Placement("disk", {}, _some(ram), _some(disk), 0, 0, 0, 0, split, least)


def _some(sizes: dict[str, int]) -> dict[str, int]:
    return {part: size for part, size in sizes.items() if size > 0}


def on_disk(n: Need) -> tuple[tuple[ExpertBytes, ...], int, int]:
    """The experts of each layer; bytes of an embedding whose rows stay on disk, and of those kept in memory."""
    if n.sizes.type == AS_STORED:
        stored = n.candidate.on_disk
        return ((), 0, 0) if stored is None else (stored.layers, stored.embedding_bytes, stored.recent_bytes)
    layers, embedding = _shaped(n.candidate.shapes, n.sizes.type, n.candidate.config.num_hidden_layers)
    # Published files have a little more or less than the recipe, in every part alike.
    stored_total = sum(layer.num_experts * layer.stored_bytes for layer in layers)
    if not stored_total:
        return (), 0, 0
    ratio = n.file.of("routed_experts") / stored_total
    scaled = tuple(
        ExpertBytes(
            layer.layer,
            layer.num_experts,
            round(ratio * layer.slot_bytes / _LINE) * _LINE,
            round(ratio * layer.stored_bytes),
        )
        for layer in layers
    )
    looked_up = n.looked_up_bytes
    recent = min(looked_up, round(ratio * RECENT_ROWS * embedding)) if looked_up else 0
    return scaled, looked_up, recent


@cache
def _shaped(shapes: tuple[Shape, ...], type_: str, layers: int) -> tuple[tuple[ExpertBytes, ...], float]:
    """By the recipe of a type: the experts of each layer, and bytes of a row of the embedding in the file."""
    tied = all(s.role != "head" for s in shapes)
    by_layer: dict[int, dict[str, Shape]] = {}
    for s in shapes:
        if s.part == "routed_experts" and s.layer >= 0:
            by_layer.setdefault(s.layer, {})[s.role] = s
    found = []
    for layer, roles in sorted(by_layer.items()):
        gate, up, down = (roles[role] for role in ("gate", "up", "down"))
        types = [gguf_type(s, type_, layers, tied) if is_gguf(type_) else type_ for s in (gate, up, down)]
        slot = slot_bytes((types[0], types[1], types[2]), gate.columns, gate.rows)
        stored = sum(tensor_bytes(s, type_, layers, tied) for s in (gate, up, down))
        found.append(ExpertBytes(layer, gate.count, slot, stored))
    embedding = next(s for s in shapes if s.role == "embedding")
    return tuple(found), tensor_bytes(embedding, type_, layers, tied) / embedding.rows
