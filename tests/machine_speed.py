"""How fast Python is on this machine just now, for tests that hold a limit of seconds."""

import time

#: Seconds of the loop where the limits are met with space to spare (docs/benchmarks.md: AMD EPYC, Zen 5): a processor
#: on which `plan` takes 1.75 times as long needs 0.133.
_REFERENCE = 0.076


def slowness() -> float:
    """How many times longer a loop takes than on the machine where limits are stated; at least 1."""
    took = []
    for _ in range(3):
        began, total = time.perf_counter(), 0
        for i in range(1_000_000):
            total += i * i & 7
        took.append(time.perf_counter() - began)
    return max(1.0, sorted(took)[1] / _REFERENCE)
