"""How much of a machine's limits engines reach: rows of catalogue/engines.toml, and which engine runs a placement.

The rows are fits to published speeds. `python bench/speed_points.py --fit` prints them, and without --fit how well they
predict speeds that no fit has seen (see docs/plan.md); a test compares both.
"""

from __future__ import annotations

from shoestring.catalogue.load import builtin_catalogue
from shoestring.catalogue.schema import Efficiency
from shoestring.planning.candidates.formats import OWN_TYPES, is_gguf, is_mlx
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.memory import Need, Placement, our_engine_reads
from shoestring.planning.work import Split, Work

#: kernels per layer: two norms, projections, rotation and cache or convolution and delta rule, output, and
#: gate-up, activation, down; with experts also router, choice, sorting, the experts' three, their sum, the shared one
DENSE_KERNELS, EXPERT_KERNELS = 12, 22
#: per layer split over several GPUs (tensor parallel): after attention and after the experts
EXCHANGES_A_LAYER = 2
#: bytes per exchanged number
EXCHANGED_BYTES = 2
#: assumed
DISK_BANDWIDTH_SHARE = 0.8

VLLM, LLAMA_CPP, MLX, OWN = "vllm", "llama.cpp", "mlx", "shoestring"
#: engines by what they do best: layers shared by all GPUs, whole layers in turn
AT_ONCE = (VLLM,)


def engine_of(n: Need, placed: Placement, machine: Hardware) -> str:
    """The engine that serves a placement best."""
    gpus_alone = placed.fit == "gpu" and machine.gpu is not None and not machine.gpu.unified
    if gpus_alone and not is_gguf(n.sizes.type) and not n.candidate.location.endswith(".gguf"):
        return VLLM
    if is_mlx(n.sizes.type):
        return MLX
    ours = n.sizes.type in OWN_TYPES and our_engine_reads(n.candidate, n.sizes.type, n.context)
    return OWN if placed.streamed is not None or (placed.fit == "ram" and ours) else LLAMA_CPP


def on_gpu(engine: str, machine: Hardware) -> Efficiency:
    """The efficiency of an engine on the machine's GPUs; llama.cpp's there if it has none."""
    vendor = machine.gpu.vendor if machine.gpu is not None else "nvidia"
    return _row(engine, vendor) or _row(LLAMA_CPP, vendor) or efficiency(LLAMA_CPP, "nvidia")


def on_processor(engine: str) -> Efficiency:
    """The efficiency of an engine on processors; llama.cpp's if it has none."""
    return _row(engine, "processor") or efficiency(LLAMA_CPP, "processor")


def efficiency(engine: str, device: str) -> Efficiency:
    """The row of an engine on a kind of device. Raises KeyError if there is none."""
    row = _row(engine, device)
    if row is None:
        raise KeyError((engine, device))
    return row


def _row(engine: str, device: str) -> Efficiency | None:
    rows = builtin_catalogue().efficiencies.values()
    return next((row for row in rows if row.engine == engine and device in row.devices_of), None)


def parallel(heads: int, gpus: int) -> tuple[int, int]:
    """How vLLM splits a model over all GPUs: ways per layer (tensor parallel), and pipeline stages."""
    ways = 1
    while gpus % (ways * 2) == 0 and heads % (ways * 2) == 0:
        ways *= 2
    return ways, gpus // ways


def at_once(w: Work, engine: str, machine: Hardware) -> int:
    """GPUs that work on a token at the same time."""
    return parallel(w.heads, machine.gpus)[0] if engine in AT_ONCE else 1


def compute_share(w: Work, reached: Efficiency) -> float:
    return reached.expert_compute if w.experts else reached.dense_compute


def kernels(w: Work, split: Split) -> tuple[int, int]:
    """Kernels per step on the GPUs and on the processor: whole layers, and experts placed apart from their layer."""
    a_layer = EXPERT_KERNELS if w.experts else DENSE_KERNELS
    moved = min(split.expert_layers_in_ram, split.gpu_layers) * (a_layer - DENSE_KERNELS)
    return split.gpu_layers * a_layer - moved, (w.layers - split.gpu_layers) * a_layer + moved


def exchange_seconds(w: Work, engine: str, machine: Hardware, tokens: int) -> float:
    """Seconds per layer for each GPU to send its part of `tokens` rows to all others; 0 if GPUs take turns."""
    ways = at_once(w, engine, machine)
    if ways == 1 or machine.gpu is None:
        return 0.0
    sent = 2 * (ways - 1) / ways * tokens * w.hidden * EXCHANGED_BYTES
    link = sent / machine.gpu.link_bandwidth if machine.gpu.link_bandwidth else 0.0
    return EXCHANGES_A_LAYER * (on_gpu(engine, machine).exchange_seconds + link)
