"""Compare the planner's estimates with published speeds; print the table of docs/plan.md.

No fit uses these speeds; shoestring.planning.efficiency names the sources of its figures.
"""

from __future__ import annotations

import statistics
from dataclasses import replace

from shoestring.catalogue.load import builtin_catalogue
from shoestring.planning.candidates.resolve import resolve
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.hardware.parse import parse_hardware
from shoestring.planning.memory import Need, Placement, need, place
from shoestring.planning.speed import estimate


def table() -> str:
    """One line per published speed, then the median factor."""
    catalogue = builtin_catalogue()
    lines = ["| what | predicted | published | factor | note |", "|---|---:|---:|---:|---|"]
    factors = []
    for row in catalogue.speeds.values():
        machine = parse_hardware(row.hardware, catalogue)
        n = need(resolve(row.model, catalogue), row.type, row.context, row.users)
        placed = place(n, machine)
        speed = estimate(n, placed, machine, own=False)  # none of them is our engine's
        throughput = with_prompts(n, placed, machine, row.prompt, row.answer) if row.answer else speed.throughput
        predicted = {"decode": speed.decode, "prefill": speed.prefill, "throughput": throughput}[row.phase]
        what = f"{catalogue.models[row.model].name}, {row.type}, {row.phase}, `{row.hardware}`"
        if row.users > 1:
            what += f", {row.users} users"
        if predicted is None:
            lines.append(f"| {what} | – | {row.tokens_per_second:,.4g} | – | {row.note} |")
            continue
        factors.append(predicted / row.tokens_per_second)
        lines.append(f"| {what} | {predicted:,.1f} | {row.tokens_per_second:,.4g} | {factors[-1]:.2f} | {row.note} |")
    lines.append("")
    lines.append(
        f"Median factor {statistics.median(factors):.2f}, from {min(factors):.2f} to {max(factors):.2f}, "
        f"over {len(factors)} points."
    )
    return "\n".join(lines)


def with_prompts(n: Need, placed: Placement, machine: Hardware, prompt: int, answer: int) -> float | None:
    """Tokens per second of all users' answers, if each answer of `answer` tokens starts with its own prompt.

    Other users wait while a prompt is computed. None: no estimate.
    """
    throughput = estimate(n, placed, machine).throughput
    rate = estimate(replace(n, context=2 * prompt), placed, machine).prefill
    if throughput is None or rate is None:
        return None
    return n.users / (n.users / throughput + (n.users - 1) * prompt / rate / answer)


if __name__ == "__main__":
    print(table())
