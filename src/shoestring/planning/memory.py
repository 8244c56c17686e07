"""Compute a model's memory to the byte, and place its parts on a machine.

Weights are shapes (candidates/shapes.py) in a type (candidates/formats.py). Keys, values and recurrent state follow the
models' own `state_layout`, which the engine also allocates by.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

from shoestring.catalogue.load import builtin_catalogue
from shoestring.catalogue.schema import Upload
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.names.parts import PARTS, Part
from shoestring.kv_types import KVType
from shoestring.models.families import state_layout
from shoestring.models.layout import Demand, Layout
from shoestring.models.workspace import workspace_bytes
from shoestring.planning.candidates.candidates import Candidate, published
from shoestring.planning.candidates.formats import GGUF_TYPES, OWN_TYPES, Sizes, bits, is_gguf, is_mlx, sizes
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.streamed.split import Streamed

#: not resident: multi-token prediction stays in the file until an engine speculates with it
UNUSED: tuple[Part, ...] = ("mtp",)

#: the type of a local file, or of a Hub repository outside the catalogue
AS_STORED = "as stored"

#: fewer parameters than these
SMALL = 15e9
#: parts that uploads keep in files of their own, or leave out
APART: tuple[Part, ...] = ("vision", "mtp")
#: bytes of tokenizer and metadata in a GGUF: what eight uploads in Q8_0 have beyond their tensors
GGUF_HEADER = 11_000_000

#: a type below this is not chosen to keep a model on a GPU
FEWEST_BITS_ON_GPU = 3.0

#: best first
Fit = Literal["gpu", "gpu+ram", "ram", "disk", "no"]


@dataclass(frozen=True)
class Need:
    """Memory of a model in one type, for `users` sequences of `context` tokens each.

    file: bytes of the file, vision tower included. sizes: bytes in memory: as our engine loads them (`own`), or as in
    the file for others. threads: of our engine.
    """

    candidate: Candidate
    file: Sizes
    sizes: Sizes
    context: int
    users: int
    kv_type: KVType
    own: bool = False
    threads: int = 0
    #: the published file whose size is known; None: sizes follow the type's recipe
    upload: Upload | None = None

    @property
    def download(self) -> int:
        """Bytes to download. An upload's size leaves out the vision tower, a file of its own that comes with it."""
        return self.file.total if self.upload is None else self.upload.bytes + self.file.of("vision")

    @property
    def layout(self) -> Layout:
        return _layout(self.candidate.config)

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes per token in layers that attend to the whole past."""
        return self.layout.bytes_per_token(self.kv_type)

    @property
    def chunked_kv_bytes(self) -> int:
        """Maximum bytes of chunk-local layers per sequence."""
        pages = self.layout.demand(2**40).chunk_pages
        return self.layout.nbytes(Demand(chunk_pages=pages), self.kv_type)

    @property
    def state_bytes_per_sequence(self) -> int:
        """Bytes of recurrent and convolution state, for any length."""
        return self.layout.nbytes(Demand(slots=1), self.kv_type)

    @cached_property
    def sequence_bytes(self) -> int:
        """Bytes of one sequence of `context` tokens, in whole pages."""
        return self._sequence_bytes(self.context)

    def _sequence_bytes(self, context: int) -> int:
        return self.layout.sequence_bytes(context, self.kv_type)

    @property
    def sequences_bytes(self) -> int:
        return self.users * self.sequence_bytes

    @cached_property
    def weights_bytes(self) -> int:
        """Bytes of the resident weights."""
        return self.sizes.total - self.sizes.of(*UNUSED)

    @property
    def routed_bytes(self) -> int:
        return self.sizes.of("routed_experts")

    @cached_property
    def looked_up_bytes(self) -> int:
        """Bytes of an embedding that is not also the head: a token reads one row of it."""
        shapes, layers = self.candidate.shapes, self.candidate.config.num_hidden_layers
        both = [s for s in shapes if s.role in ("embedding", "head")]
        if all(s.role != "head" for s in both):
            return 0
        type_ = "BF16" if self.sizes.type == AS_STORED else self.sizes.type
        each = {s.role: sizes((s,), type_, layers, self.own, tied=False).total for s in both}
        return self.sizes.of("embeddings") * each["embedding"] // sum(each.values())

    @property
    def always_bytes(self) -> int:
        """Bytes of the weights that every token or image uses."""
        return self.weights_bytes - self.routed_bytes

    @cached_property
    def workspace_bytes(self) -> int:
        return _workspace(self.candidate.config, self.threads)

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.sequences_bytes + self.workspace_bytes

    def longest_context(self, free: int) -> int:
        """Maximum tokens per sequence, for all users, whose state fits in `free` bytes; 0 if none fits."""
        limit = context_limit(self.candidate)
        low, high = 0, limit
        while low < high:
            middle = (low + high + 1) // 2
            if self.users * self._sequence_bytes(middle) <= free:
                low = middle
            else:
                high = middle - 1
        return low

    def most_users(self, free: int) -> int:
        """Maximum sequences of `context` tokens whose state fits in `free` bytes."""
        return max(0, free // self.sequence_bytes) if self.sequence_bytes else 0


@cache
def _layout(config: Config) -> Layout:
    return Layout(state_layout(config))


@cache
def _workspace(config: Config, threads: int) -> int:
    return workspace_bytes(config, threads)


#: what was computed for one model, context and number of users: by type, whether our engine runs it, and its threads
Needs = dict[tuple[str, bool, int], Need]


def context_limit(candidate: Candidate) -> int:
    """The longest context that the vendor states, including rotary extension."""
    native = candidate.config.max_position_embeddings
    return max(native, candidate.row.extended_context if candidate.row else 0)


@dataclass(frozen=True)
class Placement:
    """Bytes by part in each place; `fit` summarizes them."""

    fit: Fit
    gpu: dict[str, int]
    ram: dict[str, int]
    disk: dict[str, int]
    #: layers on the GPU, and of them those whose routed experts are in RAM (llama.cpp's -ngl and -ncmoe)
    gpu_layers: int
    expert_layers_in_ram: int
    #: missing bytes; 0 if it runs
    missing: int
    #: free bytes in the fastest place, for more context and users
    free: int
    #: the split of our engine, which reads experts from disk; None: all is in memory, or the system pages
    streamed: Streamed | None = None
    #: the least memory with which our engine runs it from disk; 0: it does not
    least: int = 0
    #: bytes that the disk lacks for the file, where our engine would run it from disk; 0: none
    disk_missing: int = 0


def mlx_file(candidate: Candidate, type_: str) -> str:
    """The repository of a model's file in a type of MLX; "" if none is known."""
    files = dict(entry.split(" ") for entry in builtin_catalogue().engines["mlx"].files)
    return f"{files[candidate.id]}-{type_.removeprefix('MLX-')}" if is_mlx(type_) and candidate.id in files else ""


def need(
    candidate: Candidate, type_: str, context: int, users: int, kv_type: KVType = "f16", own: bool = False,
    threads: int = 0,
) -> Need:  # fmt: skip
    """The memory of a candidate. own: our engine runs it, with `threads` threads."""
    file, loaded = sizes_of(candidate, type_, False), sizes_of(candidate, type_, own)
    upload = candidate.upload(type_)
    if upload is not None:
        ratio = (upload.bytes - GGUF_HEADER) / (file.total - file.of(*APART))
        file, loaded = _scaled(file, ratio), _scaled(loaded, ratio)
    return Need(candidate, file, loaded, context, users, kv_type, own, threads if own else 0, upload)


def _scaled(s: Sizes, ratio: float) -> Sizes:
    """The sizes of a published file: mixes of some tensors have more bits than the recipe, in every part alike."""
    parts = ((part, size if part in APART else round(ratio * size)) for part, size in s.by_part if part not in UNUSED)
    return Sizes(s.type, tuple(parts))


def sizes_of(candidate: Candidate, type_: str, own: bool) -> Sizes:
    """Bytes by part; the stored ones for a file, unless another type is requested."""
    if candidate.stored and type_ == AS_STORED:
        by_part = dict(candidate.loaded if own else candidate.stored)
        return Sizes(type_, tuple((part, by_part[part]) for part in PARTS if by_part.get(part)))
    if candidate.row is not None and candidate.shapes is published(candidate.row.config)[1]:
        return _published_sizes(candidate.row.config, type_, own)
    return sizes(candidate.shapes, type_, candidate.config.num_hidden_layers, own)


@cache
def _published_sizes(config_name: str, type_: str, own: bool) -> Sizes:
    """Bytes by part of a model of the catalogue, whose config the package carries."""
    config, shapes = published(config_name)
    return sizes(shapes, type_, config.num_hidden_layers, own)


def our_engine_reads(candidate: Candidate, type_: str, context: int) -> bool:
    """Whether our engine computes with the type, and the context needs no extension beyond the file."""
    return type_ in (*OWN_TYPES, "BF16", AS_STORED) and context <= candidate.config.max_position_embeddings


def on_machine(
    candidate: Candidate,
    type_: str,
    context: int,
    users: int,
    kv_type: KVType,
    machine: Hardware,
    needs: Needs | None = None,
) -> tuple[Need, Placement]:
    """Place a model for our engine if it reads the type and all of it fits in RAM as loaded; else for other engines.

    Our engine and llama.cpp store keys and values in q8_0; the types of other engines have them in f16. `needs` keeps
    what was computed for one model, context and number of users.
    """
    needs = {} if needs is None else needs

    def needed(own: bool, threads: int) -> Need:
        if (type_, own, threads) not in needs:
            needs[type_, own, threads] = need(candidate, type_, context, users, kv_type, own, threads)
        return needs[type_, own, threads]

    if machine.gpu is None and our_engine_reads(candidate, type_, context):
        n = needed(True, machine.cores)
        placed = place(n, machine)
        if placed.fit == "ram":
            return n, placed
    if kv_type == "q8_0" and not is_gguf(type_) and type_ != AS_STORED:
        kv_type = "f16"
    n = needed(False, 0)
    return n, place(n, machine)


def place(n: Need, machine: Hardware) -> Placement:
    """Place a model on a machine.

    Fills the GPU with the weights that every token uses, then state, then routed experts. The rest goes to RAM, then
    routed experts to disk. More memory anywhere never makes the fit worse.
    """
    gpu_usable, ram_usable = machine.gpu_usable, machine.ram_usable
    whole = {str(part): size for part, size in n.sizes.by_part if part not in UNUSED and part != "routed_experts"}
    whole |= {"routed_experts": n.routed_bytes, "sequences": n.sequences_bytes, "workspace": n.workspace_bytes}
    layers = n.candidate.config.num_hidden_layers
    unused = {str(part): size for part, size in n.file.by_part if part in UNUSED}
    if n.total_bytes <= gpu_usable:
        return Placement("gpu", _some(whole), {}, unused, layers, 0, 0, gpu_usable - n.total_bytes)
    splittable = can_split(n.sizes.type)
    if gpu_usable and splittable and n.total_bytes <= gpu_usable + ram_usable:
        split = _split(n, machine, whole, unused)
        if split is not None:
            return split
    if not gpu_usable and splittable and n.total_bytes <= ram_usable:
        return Placement("ram", {}, _some(whole), unused, 0, 0, 0, ram_usable - n.total_bytes)
    # Experts stream from disk: everything else stays in memory, and experts use the remaining memory.
    has_disk = machine.disk_known or machine.disk_bytes >= n.file.total
    if n.routed_bytes and n.total_bytes - n.routed_bytes <= gpu_usable + ram_usable and has_disk and splittable:
        return _with_disk(n, machine, whole, unused)
    usable = gpu_usable + ram_usable if splittable else gpu_usable
    return Placement("no", {}, {}, {}, 0, 0, max(1, n.total_bytes - usable), 0)


def _some(sizes_by_part: dict[str, int]) -> dict[str, int]:
    return {name: size for name, size in sizes_by_part.items() if size > 0}


def can_split(type_: str) -> bool:
    """Only GGUF engines keep weights in RAM or on disk; FP8, GPTQ and NVFP4 are served from GPUs."""
    return is_gguf(type_) or type_ in ("BF16", AS_STORED)


def _split(n: Need, machine: Hardware, whole: dict[str, int], unused: dict[str, int]) -> Placement | None:
    """Split `whole` between GPU and RAM by whole layers, as engines do. None if whole layers do not fit."""
    gpu_usable = machine.gpu_usable
    layers = n.candidate.config.num_hidden_layers
    fixed = n.total_bytes - n.routed_bytes
    routing = {s.layer for s in n.candidate.shapes if s.part == "routed_experts" and s.layer >= 0}
    if fixed <= gpu_usable and routing:
        per_layer = -(-n.routed_bytes // len(routing))
        on_gpu = min(len(routing), (gpu_usable - fixed) // per_layer)
        moved = n.routed_bytes - min(n.routed_bytes, on_gpu * per_layer)
        if moved <= machine.ram_usable:
            # -ncmoe counts layers from the first, dense ones included
            ordered = sorted(routing)
            count = ordered[len(ordered) - on_gpu - 1] + 1 if on_gpu < len(ordered) else 0
            gpu = {**whole, "routed_experts": n.routed_bytes - moved}
            return Placement("gpu+ram", _some(gpu), _some({"routed_experts": moved}), unused, layers, count, 0,
                             gpu_usable - sum(gpu.values()))  # fmt: skip
    on_gpu = int(layers * min(1.0, gpu_usable / n.total_bytes))
    share = on_gpu / layers
    gpu = {name: int(size * share) for name, size in whole.items()}
    ram = {name: size - gpu[name] for name, size in whole.items()}
    if sum(ram.values()) > machine.ram_usable:
        return None
    return Placement("gpu+ram", _some(gpu), _some(ram), unused, on_gpu, 0, 0, gpu_usable - sum(gpu.values()))


def _with_disk(n: Need, machine: Hardware, whole: dict[str, int], unused: dict[str, int]) -> Placement:
    """Place everything except experts in memory, GPU first; fill the rest with experts; other experts stay on disk."""
    gpu: dict[str, int] = {}
    ram: dict[str, int] = {}
    fixed, left = {name: size for name, size in whole.items() if name != "routed_experts"}, n.routed_bytes
    for name, size in fixed.items():
        gpu[name] = min(size, machine.gpu_usable - sum(gpu.values()))
        ram[name] = size - gpu[name]
    for sizes_by_part, usable in ((gpu, machine.gpu_usable), (ram, machine.ram_usable)):
        sizes_by_part["routed_experts"] = min(left, usable - sum(sizes_by_part.values()))
        left -= sizes_by_part["routed_experts"]
    layers = n.candidate.config.num_hidden_layers
    on_gpu = layers * sum(gpu[name] for name in fixed) // max(1, sum(fixed.values()))
    return Placement("disk", _some(gpu), _some(ram), {"routed_experts": left, **unused}, on_gpu,
                     layers if on_gpu and ram["routed_experts"] else 0, 0, 0)  # fmt: skip


def ladder(machine: Hardware, candidate: Candidate) -> tuple[str, ...]:
    """Types to try, in order: the best that a fast engine serves on this machine, then smaller ones.

    Small models come in 8 bits, and in 4 where 8 do not fit. Larger ones: on GPUs, 8 bits if they compute in it, then
    4; in RAM, 4 bits, the usual balance of size and loss. Smaller types follow only if nothing larger fits.
    """
    gguf = tuple(GGUF_TYPES[GGUF_TYPES.index("Q4_K_M") :])
    gguf = tuple(t for t in gguf if t not in ("Q4_0", "IQ4_NL"))
    if machine.gpu is None or machine.gpu.unified:
        small = candidate.total < SMALL / 5
        apple = machine.gpu is not None and machine.gpu.vendor == "apple"
        mlx = "MLX-8bit" if small else "MLX-4bit"
        first = (mlx,) if apple and mlx_file(candidate, mlx) else ()
        return first + (("Q8_0",) if small else ()) + gguf
    if candidate.total < SMALL:
        return ("Q8_0", *gguf)
    published = {q.split()[0] for q in candidate.row.quantized} if candidate.row else set()
    eight = ("FP8",) if machine.gpu.flops_8 and "FP8" in published else ()
    four = tuple(t for t in ("NVFP4", "GPTQ") if t in published and (t != "NVFP4" or machine.gpu.flops_4))
    return (*eight, *(("BF16",) if not eight else ()), *four, *gguf)


def choose(
    candidate: Candidate,
    machine: Hardware,
    context: int,
    users: int,
    type_: str | None,
    kv_type: KVType = "f16",
    needs: Needs | None = None,
) -> tuple[Need, Placement]:
    """The requested type, else the first of the ladder that fits in memory, else the first that streams from disk.

    Before a model spills from a GPU into RAM, a smaller type of at least three bits that stays on the GPU is chosen.
    """
    order = (type_,) if type_ else (AS_STORED,) if candidate.stored else ladder(machine, candidate)
    tried: list[tuple[Need, Placement]] = []
    spilled: tuple[Need, Placement] | None = None
    for name in order:
        if spilled is not None and bits(name) < FEWEST_BITS_ON_GPU:
            break
        n, placed = on_machine(candidate, name, context, users, kv_type, machine, needs)
        gpu_only = name == "BF16" and type_ is None
        if placed.fit in ("gpu", "ram"):
            return n, placed
        if placed.fit == "gpu+ram" and not gpu_only:
            spilled = spilled or (n, placed)
            continue
        if placed.fit == "no" or not gpu_only:
            tried.append((n, placed))
    if spilled is not None:
        return spilled
    return min(tried, key=lambda pair: (pair[1].fit == "no", pair[1].missing))
