"""Tokenizer files that try to crash, stop or fill the process that reads them, by name, with what the error says.

Run with a folder of checkpoints, each read by `run` in a process of its own, it prints a line of JSON for each: exit
code, stderr, seconds of processor time, megabytes at most.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from small_vocabulary import write_folder

File = dict[str, Any]


def _model(**changes: Any) -> Callable[[File], None]:
    return lambda file: file["model"].update(changes)


def _file(**changes: Any) -> Callable[[File], None]:
    return lambda file: file.update(changes)


def _vocab(**changes: Any) -> Callable[[File], None]:
    return lambda file: file["model"]["vocab"].update(changes)


def _added(*texts: str, **changes: Any) -> Callable[[File], None]:
    return lambda file: file["added_tokens"].extend(
        {"id": 900 + number, "content": text, "special": True} | changes for number, text in enumerate(texts)
    )


def _split(pattern: Any, **changes: Any) -> Callable[[File], None]:
    def change(file: File) -> None:
        split = file["pre_tokenizer"]["pretokenizers"][0]
        split["pattern"] = {"Regex": pattern} if isinstance(pattern, str) else pattern
        split.update(changes)

    return change


def _without(token: str) -> Callable[[File], None]:
    return lambda file: file["model"]["vocab"].pop(token)


def _nested(depth: int) -> File:
    part: File = {"type": "NFC"}
    for _ in range(depth):
        part = {"type": "Sequence", "normalizers": [part]}
    return part


_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_PIECE = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}] * 99 + [_BYTE_LEVEL]}

#: name → change of a healthy file, part of the error
CHANGES: dict[str, tuple[Callable[[File], None], str]] = {
    "other model": (_model(type="WordLevel"), "'WordLevel'"),
    "unigram": (_file(model={"type": "Unigram", "unk_id": 10**9, "vocab": []}), "'Unigram'"),
    "no model": (_file(model=None), "model is None"),
    "merge without its token": (_without("he"), "do not match"),
    "merge of unknown tokens": (_model(merges=[["zz", "yy"]]), "do not match"),
    "merge of nothing": (_model(merges=[["", ""]]), "do not match"),
    "merge of three": (_model(merges=["a b c"]), "not two tokens"),
    "merge of numbers": (_model(merges=[[1, 2]]), "not two tokens"),
    "merges that are no list": (_model(merges={"a": "b"}), "merges is not a list"),
    "dropout": (_model(dropout=2.0), "model.dropout"),
    "unknown token": (_model(unk_token="nowhere"), "model.unk_token"),
    "prefix": (_model(continuing_subword_prefix="#" * 99), "continuing_subword_prefix"),
    "suffix": (_model(end_of_word_suffix="</w>"), "end_of_word_suffix"),
    "byte fallback": (_model(byte_fallback=True), "byte_fallback"),
    "id of 32 bits": (_vocab(a=2**32 - 1), "4294967295"),
    "id of 64 bits": (_vocab(a=2**64), "18446744073709551616"),
    "negative id": (_vocab(a=-1), "id -1"),
    "id that is text": (_vocab(a="7"), "id '7'"),
    "id that is a fraction": (_vocab(a=1.5), "id 1.5"),
    "two tokens with one id": (_vocab(a=1, b=1), "one id"),
    "vocabulary that is a list": (_model(vocab=["a"]), "vocab is not an object"),
    "empty vocabulary": (_model(vocab={}, merges=[]), "vocabulary is empty"),
    "token of a megabyte": (_vocab(**{"x" * 2**20: 900}), "1,048,576 characters"),
    "huge id of an added token": (_added("<x>", id=2**32 - 1), "4294967295"),
    "added token with another id": (_added("a", id=950), "in the vocabulary"),
    "added token that is no text": (_added("<x>", content=7), "added_tokens[16]"),
    "many added tokens": (_added(*(f"<{n}>" for n in range(20_000))), "20,016 entries"),
    "long added tokens": (_added(*(f"<{n}{'x' * 1000}>" for n in range(300))), "262,144 characters"),
    "added tokens inside each other": (_added(*("<" + "a" * n for n in range(1, 700))), "beginnings"),
    "lowercase": (_file(normalizer={"type": "Lowercase"}), "'Lowercase'"),
    "precompiled map": (_file(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}), "'Precompiled'"),
    "replacement": (_file(normalizer={"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}), "'Replace'"),
    "nested normalizers": (_file(normalizer=_nested(50)), "more than 16 parts"),
    "metaspace": (_file(pre_tokenizer={"type": "Metaspace", "replacement": "▁"}), "'Metaspace'"),
    "no pre-tokenizer": (_file(pre_tokenizer=None), "byte-level BPE"),
    "many pre-tokenizers": (_file(pre_tokenizer=_PIECE), "more than 16 parts"),
    "prefix space": (_file(pre_tokenizer={**_BYTE_LEVEL, "add_prefix_space": True}), "add_prefix_space"),
    "exponential pattern": (_split("(?:a+)+$|(?:a|aa)+c|."), "cannot be used"),
    "cubic pattern": (_split("a*a*b|a"), "too much time"),
    "backreferences": (_split("(a*)*(a*)*\\1\\2b|."), "cannot be used"),
    "invalid pattern": (_split("("), "cannot be used"),
    "pattern that explodes": (_split("(?:(?:(?:(?:.{999}){999}){999}){999}){999}"), "cannot be used"),
    "endless recursion": (_split("(?<x>\\g<x>a|a)"), "cannot be used"),
    "pattern of a megabyte": (_split("a" * 2**20), "4,096 bytes"),
    "empty pattern": (_split(""), "empty"),
    "pattern that is no text": (_split({"Regex": 7}), "not text"),
    "unknown behavior": (_split("a", behavior="Explode"), "'Explode'"),
    "other decoder": (_file(decoder={"type": "WordPiece", "prefix": "##"}), "'WordPiece'"),
    "other post-processor": (_file(post_processor={"type": "BertProcessing"}), "'BertProcessing'"),
}

#: Faults that the parts never reach: the checkpoint loads and answers.
HARMLESS: dict[str, Callable[[File], None]] = {
    "padding to a terabyte": _file(padding={"strategy": {"Fixed": 10**12}, "pad_token": "a"}),
    "truncation that panics": _file(truncation={"max_length": 2, "stride": 5, "strategy": "LongestFirst"}),
    "template without tokens": _file(post_processor={"type": "TemplateProcessing", "single": [{"SpecialToken": {}}]}),
}

#: name → bytes of tokenizer.json, part of the error
TEXTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "not JSON": (lambda: b"\x00\xff", "JSON"),
    "deep": (lambda: b'{"model":' + b"[" * 200_000, "128"),
    "many values": (lambda: b'{"model":[' + b"0," * 5_000_000 + b"0]}", "values"),
    "endless": (lambda: b" " * (41 << 20), "bytes"),
    "huge number": (lambda: b'{"model":' + b"9" * 2_000_000 + b"}", "JSON"),
}


def write(root: Path, names: Collection[str], checkpoint: Callable[[Path], object]) -> None:
    """One folder for each of these names, and "healthy". checkpoint: writes weights and config into a folder."""

    def folder_of(name: str) -> Path:
        folder = root / name
        checkpoint(folder)
        write_folder(folder)
        return folder

    folder_of("healthy")
    changes = {name: change for name, (change, _) in CHANGES.items()} | HARMLESS
    for name, change in changes.items():
        if name not in names:
            continue
        path = folder_of(name) / "tokenizer.json"
        file = json.loads(path.read_text(encoding="utf-8"))
        change(file)
        path.write_text(json.dumps(file), encoding="utf-8")
    for name, (text, _) in TEXTS.items():
        if name not in names:
            continue
        (folder_of(name) / "tokenizer.json").write_bytes(text())
    if "pipe" in names:
        pipe = folder_of("pipe") / "tokenizer.json"
        pipe.unlink()
        os.mkfifo(pipe)
    if "device" in names:
        device = folder_of("device") / "tokenizer.json"
        device.unlink()
        device.symlink_to("/dev/zero")


def _run(folder: Path) -> dict[str, Any]:
    from shoestring.cli.app import run

    read, written = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.dup2(written, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        os._exit(run(["run", str(folder), "hello", "--max-tokens", "1", "--threads", "1", "--context", "64"]))
    os.close(written)
    error = b"".join(iter(lambda: os.read(read, 1 << 16), b""))
    _, status, usage = os.wait4(child, 0)
    return {
        "name": folder.name,
        "code": os.waitstatus_to_exitcode(status),
        "error": error.decode(),
        "seconds": usage.ru_utime + usage.ru_stime,
        "waited": time.monotonic() - began,
        "megabytes": usage.ru_maxrss / 1024,
    }


def _all(root: Path) -> Iterator[dict[str, Any]]:

    for folder in sorted(root.iterdir()):
        yield _run(folder)


if __name__ == "__main__":
    for result in _all(Path(sys.argv[1])):
        print(json.dumps(result), flush=True)
