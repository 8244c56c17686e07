"""Measure experts that stream from disk, beside llama.cpp. `make bench-streaming` runs it.

    PYTHONPATH=bench python -m streaming [--quick] [--rows qwen eight …] [--folder FOLDER] [--llama PYTHON]
                                         [--before SRC] [--keep]

Every run is a process of its own in a control group that is limited to 1.5 times the budget M, page cache included;
beside llama.cpp, M is 100 MB less than the limit of both. This needs root; without it, the runs are not limited, which
the table says. llama.cpp comes from PyPI's llama-cpp-python, built from its source, or xllamacpp, in the environment
whose Python --llama names. The models are random, written one at a time into --folder, and removed after their rows.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from shoestring.samples.synthetic.routing import REALISTIC, UNIFORM
from streaming import group, prediction, rows, shapes
from streaming.curve import curve, mean, router_routes
from streaming.runs import BESIDE, LLAMA, Settings
from streaming.table import HEADER, Line, machine, skipped

#: Limit of the control group beside llama.cpp, for the file of 8.9 GB.
LIMIT = 2_200 * 10**6


def quick(s: Settings) -> Iterator[Line]:
    """All kinds of runs on a small file, in less than a minute."""
    shape = shapes.small(UNIFORM)
    with shapes.written(shape, s.folder, s.keep) as file:
        memory = rows.budget(s, file, 0.25, 528)
        yield from rows.decode(s, shape, file, memory, memory * 3 // 2, case=shape.name, bars=(0, 0), timed=24)
        yield from rows.prefill(s, shape, file, memory, memory * 3 // 2, 512, f"{shape.name}, 512 tokens")
        yield from rows.eight(s, shape, file, f"{shape.name}, 8 sequences", timed=8)
        yield from rows.answer(s, shape, file, 48, f"{shape.name}, one answer", small=False)
        yield from rows.batches(s, file, f"{shape.name}, peak")
        yield from prediction.predictions(s, shape, file, f"{shape.name}, prediction", timed=24)


def qwen(s: Settings) -> Iterator[Line]:
    shape = shapes.qwen(UNIFORM)
    with shapes.written(shape, s.folder, s.keep) as file:
        yield locality(shape, file)
        yield from rows.decode(s, shape, file, LIMIT - BESIDE, LIMIT, case=f"{shape.name}, uniform", bars=(12, 3))
        for tokens in (512, 4096):
            case = f"{shape.name}, prefill of {tokens}"
            yield from rows.prefill(s, shape, file, LIMIT - BESIDE, LIMIT, tokens, case)
        yield from rows.eight(s, shape, file, f"{shape.name}, 8 sequences")
        yield from rows.answer(s, shape, file, 2000, f"{shape.name}, one answer", small=False)
        yield from rows.resident(s, shape, file, f"{shape.name}, resident")


def realistic(s: Settings) -> Iterator[Line]:
    shape = shapes.qwen(REALISTIC)
    with shapes.written(shape, s.folder, s.keep) as file:
        yield locality(shape, file)
        case = f"{shape.name}, realistic"
        yield from rows.decode(s, shape, file, LIMIT - BESIDE, LIMIT, case=case, bars=(6, 2), timed=160)
        yield from prediction.predictions(s, shape, file, f"{shape.name}, prediction", timed=160)


def scout(s: Settings) -> Iterator[Line]:
    free = shutil.disk_usage(s.folder).free
    shape = shapes.scout(free)
    if shape is None:
        yield skipped("Scout", f"{free / 1e9:.0f} GB of disk are free, too few for 4 layers")
        return
    with shapes.written(shape, s.folder, s.keep) as file:
        memory = rows.budget(s, file, 0.15, 512)
        limit = memory + BESIDE
        yield from rows.decode(
            s, shape, file, memory, limit, case=shape.name, bars=(1.5, 1.5), timed=24, llama_timed=6, loads_within=60
        )
        yield from rows.prefill(s, shape, file, memory, limit, 1024, f"{shape.name}, prefill of 1024")


def large(s: Settings) -> Iterator[Line]:
    shape = shapes.large_qwen()
    with shapes.written(shape, s.folder, s.keep) as file:
        memory = rows.budget(s, file, 1 / 8, 512)
        yield from rows.decode(s, shape, file, memory, memory * 3 // 2, case=shape.name, bars=None, whole=60)


def small(s: Settings) -> Iterator[Line]:
    shape = shapes.small(UNIFORM)
    with shapes.written(shape, s.folder, s.keep) as file:
        yield from rows.answer(s, shape, file, 2000, f"{shape.name}, one answer", small=True)


def peak(s: Settings) -> Iterator[Line]:
    shape = shapes.small(UNIFORM)
    with shapes.written(shape, s.folder, s.keep) as file:
        yield from rows.batches(s, file, f"{shape.name}, peak")


ROWS: dict[str, Callable[[Settings], Iterator[Line]]] = {
    "small": small, "peak": peak, "qwen": qwen, "realistic": realistic, "large": large, "scout": scout,
}  # fmt: skip


def locality(shape: shapes.Shape, file: Path) -> Line:
    """The curve of a file's routing, from its routers alone."""
    tokens = rows.token_chain(shape.routing, shape.config.vocab_size, 2000)
    found = mean([curve(routes, shape.experts) for routes in router_routes(file, tokens)])
    return Line(f"{shape.name}, {shape.routing.name}", "locality", str(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small file, few tokens")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--folder", type=Path, help="where the files are written (a temporary folder)")
    parser.add_argument("--keep", action="store_true", help="with --folder: leave the files there, and use them again")
    parser.add_argument("--llama", metavar="PYTHON", help="an interpreter that has llama-cpp-python or xllamacpp")
    parser.add_argument("--before", type=Path, metavar="SRC", help="another version's source tree with its extension")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, help="alternating rounds of each row (3; 1 with --quick)")
    parser.add_argument("--batches", type=float, help="seconds of changing batches (60; 5 with --quick)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that files are removed
    why = group.unavailable()
    if why:
        print(f"WITHOUT LIMITS: {why}; peaks are not measured, and the page cache helps llama.cpp\n")
    llama = arguments.llama and peer(arguments.llama)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        settings = Settings(
            folder=arguments.folder if arguments.keep and arguments.folder else Path(temporary),
            threads=arguments.threads,
            rounds=arguments.rounds or (1 if arguments.quick else 3),
            llama=arguments.llama if llama else None,
            before=arguments.before,
            keep=arguments.keep and arguments.folder is not None,
            quick=arguments.quick,
            batches=arguments.batches or (5 if arguments.quick else 60),
            limited=not why,
        )
        print(machine(settings.folder, f"llama.cpp of {llama}" if llama else "llama.cpp left out: give --llama PYTHON"))
        print(f"\n{HEADER}", flush=True)
        missed = 0
        for name in ["quick"] if arguments.quick else arguments.rows:
            missed += printed(name, settings)
        if settings.peaks:
            print(
                Line(
                    "all limited runs",
                    "largest peak ÷ M",
                    f"{max(settings.peaks):.3f}",
                    "≤ 1.030",
                    max(settings.peaks) <= 1.03,
                )
            )
    if missed:
        raise SystemExit(f"{missed} bars are missed")


def printed(name: str, settings: Settings) -> int:
    """Print the lines of a row as they come. A row that fails is a line, and the others go on. Returns missed bars."""
    missed = 0
    try:
        for line in {**ROWS, "quick": quick}[name](settings):
            print(line, flush=True)
            missed += line.met is False
    except (OSError, group.Failed, RuntimeError, KeyError, ValueError) as error:
        traceback.print_exc()
        print(Line(name, "failed", str(error).splitlines()[-1] if str(error) else repr(error), "", False), flush=True)
        missed += 1
    return missed


def peer(python: str) -> str:
    """The package and version that has llama.cpp; exits if there is none."""
    done = subprocess.run([python, str(LLAMA)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{python} has no llama.cpp: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()


if __name__ == "__main__":
    main()
