"""Fuzzes the GGUF reader, config and binding with atheris: `python tests/fuzz/gguf_fuzz.py -max_total_time=600`.

Any exception but CheckpointError is a finding. The corpus is made by the builders of the tests.
"""

import sys

import atheris

with atheris.instrument_imports(include=["shoestring"]):
    from fuzzing import answer_or_refuse, gguf_corpus, run, scratch

_FILE = scratch() / "m.gguf"


def fuzz(data: bytes) -> None:
    _FILE.write_bytes(data)
    answer_or_refuse(_FILE)


if __name__ == "__main__":
    run(sys.argv, fuzz, gguf_corpus())
