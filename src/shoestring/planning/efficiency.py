"""How much of a machine's limits engines reach: shares of bandwidth and operations, seconds per kernel and exchange.

The figures of GPUs and Macs are least-squares fits to measured points. `python bench/efficiency.py` prints the fits and
how well they predict other machines (see docs/plan.md); a test compares its output with these constants.
"""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.checkpoint.config.types import Config
from shoestring.models.families import expert_layers
from shoestring.planning.candidates.formats import OWN_TYPES, is_gguf
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.memory import Need, Placement

#: kernels per layer: two norms, projections, rotation and cache or convolution and delta rule, output, and
#: gate-up, activation, down; with experts also router, choice, sorting, the experts' three, their sum, the shared one
DENSE_KERNELS, EXPERT_KERNELS = 12, 22
#: per layer split over several GPUs (tensor parallel): after attention and after the experts
EXCHANGES_A_LAYER = 2
#: bytes per exchanged number
EXCHANGED_BYTES = 2


@dataclass(frozen=True)
class Efficiency:
    """An engine on a kind of device."""

    engine: str
    #: share of the stated bandwidth reached when reading weights and state
    bandwidth: float
    #: shares of the stated operations reached in prefill, in a dense model and in one with experts
    dense_compute: float
    expert_compute: float
    kernel_seconds: float = 0.0
    #: latency of an exchange
    exchange_seconds: float = 0.0


#: GPUs that share each layer (tensor parallel); fitted to B200 servers, exchange latency from aiconfigurator-core
SERVED = Efficiency("vLLM", 0.88, 0.41, 0.082, 4.1e-6, 10e-6)
#: GPUs that take turns at whole layers; fitted to the RTX 3090 and 4090
SPLIT = Efficiency("llama.cpp", 0.90, 0.77, 0.15, 7.9e-6)
#: Macs; fitted to the M1 Max and M2 Ultra
METAL = Efficiency("llama.cpp", 0.84, 0.60, 0.12, 19e-6)
#: processors; fitted to the EPYC 9554; operations are half of our engine's, as measured in docs/benchmarks.md
PROCESSOR = Efficiency("llama.cpp", 0.79, 1.0, 1.0, 22.5e-6)
#: our engine. Its integer products exceed the stated peak, which counts float operations: 2.5 times that peak on two
#: cores of a Xeon at 2.3 GHz, of which we use 2; the rest as above
OWN = Efficiency("shoestring", 0.79, 2.0, 2.0, 22.5e-6)
#: assumed
DISK_BANDWIDTH_SHARE = 0.8


def takes_turns(n: Need, placed: Placement, machine: Hardware) -> bool:
    """Whether llama.cpp runs it, with GPUs that take turns; else vLLM runs it on all GPUs at once."""
    gpus_alone = placed.fit == "gpu" and machine.gpu is not None and not machine.gpu.unified
    return not gpus_alone or is_gguf(n.sizes.type) or n.candidate.location.endswith(".gguf")


def on_gpu(n: Need, placed: Placement, machine: Hardware) -> Efficiency:
    """The efficiency of the engine that would run a placement on the machine's GPUs."""
    if machine.gpu is not None and machine.gpu.unified:
        return METAL
    return SPLIT if takes_turns(n, placed, machine) else SERVED


def on_processor(n: Need, placed: Placement) -> Efficiency:
    """The efficiency of the engine for a placement's RAM part: ours if all of it is there, in a type that we read."""
    return OWN if placed.fit == "ram" and n.sizes.type in OWN_TYPES else PROCESSOR


def parallel(config: Config, gpus: int) -> tuple[int, int]:
    """How vLLM splits a model over all GPUs: ways per layer (tensor parallel), and pipeline stages."""
    ways = 1
    while gpus % (ways * 2) == 0 and config.num_attention_heads % (ways * 2) == 0:
        ways *= 2
    return ways, gpus // ways


def at_once(n: Need, placed: Placement, machine: Hardware) -> int:
    """GPUs that work on a token at the same time."""
    return 1 if takes_turns(n, placed, machine) else parallel(n.candidate.config, machine.gpus)[0]


def compute_share(n: Need, reached: Efficiency) -> float:
    return reached.expert_compute if expert_layers(n.candidate.config) else reached.dense_compute


def kernels(n: Need, placed: Placement) -> tuple[int, int]:
    """Kernels per step on the GPUs and on the processor: whole layers, and experts placed apart from their layer."""
    layers = n.candidate.config.num_hidden_layers
    a_layer = EXPERT_KERNELS if expert_layers(n.candidate.config) else DENSE_KERNELS
    moved = min(placed.expert_layers_in_ram, placed.gpu_layers) * (a_layer - DENSE_KERNELS)
    return placed.gpu_layers * a_layer - moved, (layers - placed.gpu_layers) * a_layer + moved


def exchange_seconds(n: Need, placed: Placement, machine: Hardware, tokens: int) -> float:
    """Seconds per layer for each GPU to send its part of `tokens` rows to all others; 0 if GPUs take turns."""
    ways = at_once(n, placed, machine)
    if ways == 1 or machine.gpu is None:
        return 0.0
    sent = 2 * (ways - 1) / ways * tokens * n.candidate.config.hidden_size * EXCHANGED_BYTES
    link = sent / machine.gpu.link_bandwidth if machine.gpu.link_bandwidth else 0.0
    return EXCHANGES_A_LAYER * (SERVED.exchange_seconds + link)
