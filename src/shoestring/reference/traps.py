"""Known mistakes of engines with these models, each a switch. A parity test must fail with any of them."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Traps:
    """All off by default. With one on, the reference computes what an engine with that mistake would."""

    # Qwen 3.5
    #: the delta rule's q, k norm takes the mean of squares instead of the sum, so its eps counts `dim` times
    delta_norm_eps_of_mean: bool = False
    #: how often 1 is added to the norms, which are stored as w and mean 1 + w
    norm_plus_one: Literal["once", "twice", "never"] = "once"
    #: 1 is added to the delta-net's gated norm too, the only norm that is not stored as w
    gated_norm_plus_one: bool = False
    #: grouped value heads are read as tiled, and tiled as grouped
    value_heads_swapped: bool = False
    #: query and gate rows are read as all queries, then all gates; correct: head by head
    query_gate_halves: bool = False
    #: the chosen experts' weights are not renormalised after the softmax over all experts
    router_not_renormalised: bool = False
    #: the shared expert is added without its gate
    shared_expert_ungated: bool = False
    #: height and width positions are ignored
    rotary_sections_ignored: bool = False
    #: cos and sin are not multiplied by YaRN's factor
    attention_factor_ignored: bool = False

    # Llama 4
    #: a 1 in `no_rope_layers` is read as no rotary positions; correct: the layer has them
    no_rope_layers_inverted: bool = False
    #: the router's sigmoid multiplies the expert's output; correct: its input
    sigmoid_scales_output: bool = False
    #: the config's attention temperature is ignored
    temperature_ignored: bool = False
    #: the config's chunk size is ignored
    chunk_ignored: bool = False
    #: attention sees the last `chunk` positions; correct: those since the chunk's edge
    chunk_slides: bool = False

    # both
    #: eps of the q, k norm, in place of the config's rms_norm_eps
    query_key_norm_eps: float | None = None
    #: pairs (i, i + dims/2) are read as (2i, 2i + 1), and the reverse
    rotary_pairs_swapped: bool = False
    #: the highest index wins among experts with equal scores; correct: the lowest
    ties_to_highest: bool = False


NO_TRAPS = Traps()
