"""What must hold: the bars of each row, by type."""

from __future__ import annotations

from dataclasses import dataclass

from speed.engines import AVX2, NATIVE

LLAMA_CPP, IK = "llama.cpp", "ik_llama.cpp"


@dataclass(frozen=True)
class Bar:
    """A ratio to a peer that must be reached; roof: or this share of the roof of decode."""

    ratio: float
    roof: float | None = None

    def __str__(self) -> str:
        return f"≥ {self.ratio:.1f}" + ("" if self.roof is None else f", or ≥ {self.roof:.0%} of the roof")

    def met(self, ratio: float, share: float | None) -> bool:
        return ratio >= self.ratio or (self.roof is not None and share is not None and share >= self.roof)


#: (peer, build) → type → bar. A type that is not there is reported without a bar.
PREFILL: dict[tuple[str, str], dict[str, Bar]] = {
    (LLAMA_CPP, AVX2): {"Q4_K_M": Bar(2.5), "Q8_0": Bar(2.2), "Q4_0": Bar(2.5), "BF16": Bar(1.5)},
    (LLAMA_CPP, NATIVE): {"Q4_K_M": Bar(3.5), "Q8_0": Bar(5.0), "Q4_0": Bar(3.5), "BF16": Bar(1.0)},
    (IK, AVX2): {"Q4_K_M": Bar(1.0), "Q8_0": Bar(1.0)},
    (IK, NATIVE): {"Q4_K_M": Bar(1.6), "Q8_0": Bar(1.4)},
}
#: Only (a) and (b) have a bar beside ik_llama.cpp.
PREFILL_BESIDE_IK = ("a", "b")
QUANTIZED = ("Q4_K_M", "Q8_0", "Q4_0")


def prefill(peer: str, build: str, letter: str, kind: str) -> Bar | None:
    if peer == IK and letter not in PREFILL_BESIDE_IK:
        return None
    return PREFILL[peer, build].get(kind)


def decode(peer: str, build: str, kind: str) -> Bar:
    if kind not in QUANTIZED:
        return Bar(1.0, 0.90)
    return Bar(1.0 if peer == IK else 1.2 if build == AVX2 else 1.4, 0.95)


def roof(kind: str, build: str) -> float:
    """The share of the roof that decode reaches on (a), (b), (d), (e)."""
    return 0.80 if build == AVX2 else 0.90 if kind in QUANTIZED else 0.85


def large(kind: str, build: str) -> float:
    """The share of the peak that large products reach."""
    return 0.85 if kind not in QUANTIZED else 0.65 if build == AVX2 else 0.70


def experts(kind: str) -> float:
    """That of experts' products."""
    return 0.60 if kind in QUANTIZED else 0.70
