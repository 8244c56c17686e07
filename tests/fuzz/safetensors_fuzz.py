"""Fuzzes the safetensors reader and config.json: `python tests/fuzz/safetensors_fuzz.py -max_total_time=600`.

An input is config.json, a zero byte, model.safetensors. Any exception but CheckpointError is a finding.
"""

import sys

import atheris

with atheris.instrument_imports(include=["shoestring"]):
    from fuzzing import answer_or_refuse, run, safetensors_corpus, scratch

_FOLDER = scratch()


def fuzz(data: bytes) -> None:
    config, _, weights = data.partition(b"\0")
    (_FOLDER / "config.json").write_bytes(config)
    (_FOLDER / "model.safetensors").write_bytes(weights)
    answer_or_refuse(_FOLDER)


if __name__ == "__main__":
    run(sys.argv, fuzz, safetensors_corpus())
