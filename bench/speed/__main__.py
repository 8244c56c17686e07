"""Measure the speed of our engine beside llama.cpp's and ik_llama.cpp's on the same files. `make bench` runs it.

    PYTHONPATH=bench python -m speed [--rows a b c d e long many start float] [--types Q4_K_M …] [--rounds 3] [--quick]
        [--llama NATIVE/llama-bench] [--llama-avx2 AVX2/llama-bench] [--ik …] [--ik-avx2 …] [--torch PYTHON]

The files are random, of each shape in each type; one at a time is written to --folder and removed. A round starts every
engine once on a file, every second round in the other order; figures are medians. A peer that is not given is left out.
ik_llama.cpp runs plain and with -rtr 1; the faster one counts. The rows:

a, b, c, d, e   prompts of 512 and answers of 64: models.py has the shapes; a and b also the products' share of the peak
long            prompts of 8k and 20k, and decode at 16,000 positions, on c
many            8 sequences beside one, 2 threads beside one, on c
start           the first token of a file of about 2 GB
float           float32 beside transformers, in the shape of c
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from machine import Failed, cpu, version
from streaming.table import HEADER, Line

from speed import bars, compare, models, rows
from speed.engines import AVX2, NATIVE, Ours, Peer, variants
from speed.rows import Settings

OTHERS = ("long", "many", "start", "float")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # removes the file that is there
    arguments = parsed()
    with tempfile.TemporaryDirectory(prefix="shoestring-speed-", dir=arguments.folder) as folder:
        settings = Settings(
            folder=Path(folder),
            ours=variants(arguments.variants),
            peers=peers(arguments),
            threads=arguments.threads,
            rounds=1 if arguments.quick else arguments.rounds,
            torch=arguments.torch,
            tiny=arguments.quick,
        )
        print(heading(settings), flush=True)
        missed = failed = 0
        for name in arguments.rows:
            kinds = [k for k in models.ALL[name].types if k in arguments.types] if name in models.ALL else [""]
            for kind in kinds:
                count, ok = printed(name, kind, settings)
                missed, failed = missed + count, failed + (not ok)
    if missed or failed:
        raise SystemExit(f"{missed} bars are missed, {failed} rows failed")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*models.ALL, *OTHERS]
    parser.add_argument("--rows", nargs="+", choices=names, default=names, metavar="ROW")
    parser.add_argument("--types", nargs="+", choices=models.TYPES, default=models.TYPES, metavar="TYPE")
    parser.add_argument("--variants", nargs="+", choices=("best", AVX2), default=["best", AVX2], metavar="VARIANT")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the files are written, up to 7 GB (a temporary folder)")
    parser.add_argument("--quick", action="store_true", help="one round on tiny files, to see that all works")
    for name, text in (("llama", "llama.cpp's"), ("ik", "ik_llama.cpp's")):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"{text} llama-bench, built natively")
        parser.add_argument(f"--{name}-avx2", type=Path, metavar="FILE", help=f"{text} llama-bench, built for AVX2")
        parser.add_argument(f"--{name}-options", default="", metavar="TEXT", help=f"options for {text} native build")
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that has torch and transformers")
    return parser.parse_args()


def peers(arguments: argparse.Namespace) -> list[Peer]:
    found = []
    options = tuple(arguments.llama_options.split())
    for binary, build, given in ((arguments.llama, NATIVE, options), (arguments.llama_avx2, AVX2, ())):
        if binary is not None:
            found.append(Peer(bars.LLAMA_CPP, build, binary, given))
    options = tuple(arguments.ik_options.split())
    for binary, build, given in ((arguments.ik, NATIVE, options), (arguments.ik_avx2, AVX2, ())):
        if binary is not None:
            found += [Peer(bars.IK, build, binary, given), Peer(bars.IK, build, binary, (*given, "-rtr", "1"))]
    for peer in found:
        if not peer.binary.is_file():
            raise SystemExit(f"{peer.binary} is no file: give the llama-bench of {peer.name}")
    return found


def heading(s: Settings) -> str:
    chosen = ", ".join(ours.isa for ours in s.ours)
    beside = ", ".join(dict.fromkeys(f"{peer.name} ({peer.build})" for peer in s.peers)) or "no other engine"
    return (
        f"{cpu()}; {time.strftime('%Y-%m-%d %H:%M')}; shoestring {version()} with {chosen}; beside {beside}; "
        f"{s.threads} threads; medians of {s.rounds} starts each"
    )


def printed(name: str, kind: str, s: Settings) -> tuple[int, bool]:
    """Print what a row gives. One that fails is a line, and the others go on. Returns missed bars, and if it worked."""
    missed, ok, began = 0, True, time.perf_counter()
    try:
        for line in measured(name, kind, s):
            print(line, flush=True)
            missed += isinstance(line, Line) and line.met is False
    except (OSError, Failed, RuntimeError, KeyError, ValueError) as error:
        traceback.print_exc()
        print(Line(f"{name} {kind}".strip(), "failed", str(error).replace("\n", " ")[-200:]), flush=True)
        ok = False
    print(f"{name} {kind} took {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return missed, ok


def measured(name: str, kind: str, s: Settings) -> Iterator[Line | str]:
    if name in models.ALL:
        yield from model(models.ALL[name], kind, s)
        return
    yield f"\n{HEADER}"
    if name == "float":
        with models.written(models.SMALL, "F32", s.folder, tiny=s.tiny) as file:
            yield from rows.floats(s, file, models.SMALL.name)
    elif name == "start":
        with models.written(models.LLAMA, "Q8_0", s.folder, tiny=s.tiny) as file:
            yield from rows.start(s, file, models.LLAMA.name)
    else:
        with models.written(models.SMALL, "Q8_0", s.folder, tiny=s.tiny) as file:
            yield from {"long": rows.long, "many": rows.many}[name](s, file, f"{models.SMALL.name}, Q8_0")


def model(shape: models.Shape, kind: str, s: Settings) -> Iterator[Line | str]:
    """Both tables of a model in a type."""
    case, work = f"({shape.letter}) {shape.name}, {kind}", s.work(512, 64)
    engines: list[Ours | Peer] = [*s.ours, *s.peers]
    with models.written(shape, kind, s.folder, tiny=s.tiny) as file:
        results = compare.measure(file, engines, work, s.rounds)
        yield f"\n{compare.SPEEDS}"
        yield from compare.speeds_table(case, results)
        yield f"\n{HEADER}"
        yield from compare.lines(case, shape.letter, kind, results, work)
        if shape.letter in bars.PREFILL_BESIDE_IK:
            yield from rows.shares(s, file, case, kind)


if __name__ == "__main__":
    main()
