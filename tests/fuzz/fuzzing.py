"""What both fuzzers share: where files lie, the corpus, and what counts as an answer."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.names.bind import bind
from shoestring.checkpoint.open import open_checkpoint
from shoestring.errors import CheckpointError
from shoestring.models.shapes import wanted_shapes

sys.path.insert(0, str(Path(__file__).parent.parent / "checkpoint"))


def _new_root() -> Path:
    """Where all files of a run lie, in memory if the machine has room there. A fuzzer ends without cleaning up, so
    that the next run of it does."""
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() else Path(tempfile.gettempdir())
    root = parent / f"shoestring-{Path(sys.argv[0]).stem}"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    return root


_ROOT = _new_root()


def scratch() -> Path:
    """A new folder."""
    return Path(tempfile.mkdtemp(dir=_ROOT))


def answer_or_refuse(path: Path) -> None:
    try:
        checkpoint = open_checkpoint(path)
        config = parse_config(checkpoint)
        bind(config, checkpoint, wanted_shapes(config))
    except CheckpointError:
        pass


def gguf_corpus() -> Iterator[bytes]:
    from tiny_checkpoints import KINDS, gguf_metadata, gguf_tensors, tiny, write_gguf_file

    for kind in KINDS:
        for fused in (False, True):
            model = tiny(kind)
            path = scratch() / "m.gguf"
            metadata = gguf_metadata(model) | {"tokenizer.ggml.tokens": [str(n) for n in range(40)]}
            yield write_gguf_file(path, metadata, gguf_tensors(model, fused=fused)).read_bytes()


def safetensors_corpus() -> Iterator[bytes]:
    from tiny_checkpoints import KINDS, hugging_face_config, hugging_face_tensors, tiny, write_hugging_face

    for kind in KINDS:
        for single in (False, True):
            model = tiny(kind)
            tensors = hugging_face_tensors(model, single_experts=single)
            folder = write_hugging_face(scratch(), hugging_face_config(model), tensors)
            config, weights = ((folder / name).read_bytes() for name in ("config.json", "model.safetensors"))
            yield config + b"\0" + weights


def run(arguments: list[str], fuzz: Callable[[bytes], None], corpus: Iterator[bytes]) -> None:
    """Check that the corpus itself is answered, then hand over to atheris."""
    import atheris

    folder = scratch()
    for number, data in enumerate(corpus):
        fuzz(data)
        (folder / str(number)).write_bytes(data)
    atheris.Setup([*arguments, "-max_len=200000", "-rss_limit_mb=2048", str(folder)], fuzz)
    atheris.Fuzz()
