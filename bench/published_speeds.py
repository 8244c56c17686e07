"""Compare the planner's estimates with published speeds; print the table of docs/plan.md.

No fit uses these speeds; shoestring.planning.efficiency names the sources of its figures.
"""

from __future__ import annotations

import statistics

from shoestring.catalogue.load import builtin_catalogue
from shoestring.planning.candidates.resolve import resolve
from shoestring.planning.hardware.parse import parse_hardware
from shoestring.planning.memory import need, place
from shoestring.planning.speed import estimate, with_prompts


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


if __name__ == "__main__":
    print(table())
