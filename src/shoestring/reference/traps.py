"""Mistakes that engines made with these models, each a switch: a parity test that does not see it is no test."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Traps:
    """All off by default; with one on, the reference computes what an engine with that mistake computes."""

    # Qwen 3.5
    #: the delta rule's q, k norm takes the mean of squares where it means the sum: its eps counts `dim` times
    delta_norm_eps_of_mean: bool = False
    #: norms are stored as w and mean 1 + w
    norm_plus_one: Literal["once", "twice", "never"] = "once"
    #: the delta-net's gated norm is the one that has no + 1
    gated_norm_plus_one: bool = False
    #: value heads grouped taken for tiled, and the other way round
    value_heads_swapped: bool = False
    #: all queries, then all gates; right is head by head
    query_gate_halves: bool = False
    #: chosen experts' weights left as the softmax over all gave them
    router_not_renormalised: bool = False
    #: the shared expert added without its gate
    shared_expert_ungated: bool = False
    #: height and width positions ignored
    rotary_sections_ignored: bool = False
    #: YaRN's factor on cos and sin forgotten
    attention_factor_ignored: bool = False

    # Llama 4
    #: a 1 in `no_rope_layers` means that the layer has rotary positions
    no_rope_layers_inverted: bool = False
    #: the router's sigmoid multiplies the expert's output; right is its input
    sigmoid_scales_output: bool = False
    #: a config key ignored: attention temperature
    temperature_ignored: bool = False
    #: a config key ignored: chunk size
    chunk_ignored: bool = False
    #: the last `chunk` positions; right are those since the chunk's edge
    chunk_slides: bool = False

    # both
    #: the q, k norm's eps is the config's rms_norm_eps; this one instead
    query_key_norm_eps: float | None = None
    #: (i, i + dims/2) taken for (2i, 2i + 1), and the other way round
    rotary_pairs_swapped: bool = False
    #: of experts with equal scores the highest index; right is the lowest
    ties_to_highest: bool = False


NO_TRAPS = Traps()
