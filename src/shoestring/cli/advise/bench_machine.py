"""`shoestring bench --machine`: the limits of this machine, which no product can pass, and which plan uses."""

from __future__ import annotations

import datetime
import json as json_module
from dataclasses import asdict

import typer

from shoestring.cli.advise.bench_disk import described, measured_disk
from shoestring.cli.progress import Progress

#: Bytes of the temporary file whose random reads are timed
DISK_BYTES = 256 << 20


def bench_machine(threads: int | None, json: bool) -> None:
    """Measure memory, arithmetic and disk; print and keep them. Takes less than 20 s on a machine that is not busy."""
    from shoestring import ops
    from shoestring.ops.limits import FLOATS, memory_to_read, peaks, read_bandwidth, weight_types
    from shoestring.planning.hardware.detect import processor, this_key
    from shoestring.planning.hardware.kept import KeptLimits, remember_limits

    count = threads or processor()[0]
    with Progress("measuring", "steps") as progress:
        memory = memory_to_read()
        ops.set_num_threads(1)
        one = read_bandwidth(memory)
        progress(1, 4)
        ops.set_num_threads(count)
        all_threads = read_bandwidth(memory) if count > 1 else one
        del memory
        progress(2, 4)
        peak = peaks()
        progress(3, 4)
        disk, speed = measured_disk(DISK_BYTES)
        progress(4, 4)
    date = datetime.date.today().isoformat()
    limits = KeptLimits(ops.isa(), count, one, all_threads, peak.fma, peak.dot, peak.signed_dot, date)
    remember_limits(this_key(), limits)
    if json:
        typer.echo(json_module.dumps({**asdict(limits), "disk": {"mount_point": disk, **asdict(speed)}}))
        return
    typer.echo(f"{limits.isa}, {count} threads")
    typer.echo(f"memory   {one / 1e9:.1f} GB/s read by 1 thread, {all_threads / 1e9:.1f} by {count}")
    others = [name for name in weight_types() if name not in (*FLOATS, *peak.signed_types)]
    typer.echo(f"float32  {peak.fma / 1e9:.0f} GFLOP/s: {', '.join(FLOATS)}")
    typer.echo(f"bytes    {peak.dot / 1e9:.0f} GOP/s: {', '.join(others)}")
    typer.echo(f"int8     {peak.signed_dot / 1e9:.0f} GOP/s: {', '.join(peak.signed_types)}")
    typer.echo(f"disk     {described(disk, speed)}")
