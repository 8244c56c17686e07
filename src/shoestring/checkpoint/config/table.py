"""The parts of a table of config fields: a row per field, a cell per format, a form that reads and writes the value.

The forms that both families use are here. The tables are in `qwen3_5`, `llama4` and `rotary`; `parse` uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shoestring.checkpoint.config.fields import LARGEST_COUNT, MOST_EXPERTS, MOST_LAYERS, REQUIRED, Fields, Ignored
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.tensors import Checkpoint


@dataclass
class Reading:
    """A checkpoint whose config is being read."""

    checkpoint: Checkpoint
    #: the object around `fields` in config.json; the same as `fields` in GGUF files and text-only folders
    outer: Fields
    fields: Fields
    #: the rows read so far, by our names
    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def is_gguf(self) -> bool:
        return self.checkpoint.format == "gguf"


@dataclass(frozen=True)
class Form:
    """How a file stores a value.

    read(reading, key, value if absent) → the checked value. write(config, is_gguf, key) → the keys that store it;
    None: the key with the value itself, omitted from GGUF if readers assume that value.
    """

    read: Callable[[Reading, str, Any], Any]
    write: Callable[[Any, bool, str], Mapping[str, Any]] | None = None


class Key(NamedTuple):
    """A key that may be absent. `absent` is the value that it then has, or a function of the rows above."""

    name: str
    absent: Any = REQUIRED

    def assumed(self, values: Mapping[str, Any]) -> Any:
        return self.absent(values) if callable(self.absent) else self.absent


@dataclass(frozen=True)
class Row:
    """One field. A plain string is a required key; "": the format has no key for it."""

    ours: str
    hugging_face: str | Key
    gguf: str | Key
    form: Form

    def cell(self, is_gguf: bool) -> Key:
        cell = self.gguf if is_gguf else self.hugging_face
        return cell if isinstance(cell, Key) else Key(cell)


def read_rows(rows: tuple[Row, ...], reading: Reading) -> None:
    """Fill `reading.values`, in the order of the rows. Raises CheckpointError for a missing or wrong value."""
    for row in rows:
        cell = row.cell(reading.is_gguf)
        reading.values[row.ours] = row.form.read(reading, cell.name, cell.assumed(reading.values))


def write_rows(rows: tuple[Row, ...], values: Mapping[str, Any], config: Config, is_gguf: bool) -> dict[str, Any]:
    """The keys that store `values`, a part of `config`."""
    keys: dict[str, Any] = {}
    for row in rows:
        cell = row.cell(is_gguf)
        if cell.name and row.form.write is not None:
            keys |= row.form.write(config, is_gguf, cell.name)
        elif cell.name and not (is_gguf and values[row.ours] == cell.assumed(values)):
            keys[cell.name] = values[row.ours]
    return keys


@dataclass(frozen=True)
class Family:
    """The table of a family, and what its files may also contain."""

    config: Callable[..., Config]
    #: GGUF architecture, model_type and transformers class of the files that we write; those of mixtures contain "moe"
    names: Callable[[Any], tuple[str, str, str]]
    rows: tuple[Row, ...]
    #: fields with one value (or several of the same meaning) in every model of the family
    constant_text: Mapping[str, tuple[Any, ...]]
    constant_gguf: Mapping[str, tuple[Any, ...]]
    #: fields that some files spell out although every model of the family has that value; we do not write them
    default_text: Mapping[str, tuple[Any, ...]]
    #: in addition to IGNORED_EVERYWHERE
    ignored_outer: Ignored
    ignored_text: Ignored
    ignored_gguf: Ignored
    #: keys of other GGUF writers that mean the same: {theirs: ours}
    renamed_gguf: Mapping[str, str]
    #: additional rows of one kind of model
    dense: tuple[Row, ...] = ()
    mixture: tuple[Row, ...] = ()

    def rows_of(self, name: str) -> tuple[Row, ...]:
        """All rows of a model with this architecture or model_type."""
        return self.rows + (self.mixture if "moe" in name else self.dense)


def count(least: int = 1, most: int = LARGEST_COUNT) -> Form:
    return Form(lambda reading, key, absent: reading.fields.integer(key, absent, least, most))


def _read_per_layer(reading: Reading, key: str, absent: Any) -> int:
    """GGUF may list the count for each layer; all must be equal."""
    return reading.fields.same_for_all_layers(key) if reading.is_gguf else reading.fields.integer(key, absent)


def read_choices(reading: Reading, key: str, layers: int, names: tuple[str, str]) -> tuple[bool, ...]:
    """One of two kinds for each layer: 0 or 1 in GGUF, one of `names` in config.json. True: the second kind."""
    fields, kinds = reading.fields, (0, 1) if reading.is_gguf else names
    listed = list(fields.integers(key, most=1)) if reading.is_gguf else fields.raw(key)
    if not isinstance(listed, list) or len(listed) != layers or any(kind not in kinds for kind in listed):
        raise fields.error(key, listed, f"{layers} of {kinds[0]!r} or {kinds[1]!r} are needed")
    return tuple(kind == kinds[1] for kind in listed)


def _read_vocabulary(reading: Reading, key: str, absent: Any) -> int:
    """In GGUF, the length of the list of tokens, which is padded to the rows of the embedding."""
    tokens = reading.checkpoint.metadata.get("tokenizer.ggml.tokens") if reading.is_gguf else None
    if isinstance(tokens, list) and tokens:
        reading.fields.expect(key, len(tokens))
        return len(tokens)
    return reading.fields.integer(key, absent)


def _read_head_dim(reading: Reading, key: str, absent: Any) -> int:
    head_dim = reading.fields.integer(key, absent)
    if reading.is_gguf:
        reading.fields.expect("attention.value_length", head_dim)
    return head_dim


def _write_head_dim(config: Config, is_gguf: bool, key: str) -> Mapping[str, Any]:
    return dict.fromkeys((key, "attention.value_length") if is_gguf else (key,), config.head_dim)


def _read_tied(reading: Reading, key: str, absent: Any) -> bool:
    """In a multimodal config.json only the outer field counts, as in transformers. GGUF has a tensor or not."""
    return "output.weight" not in reading.checkpoint.tensors if reading.is_gguf else reading.outer.boolean(key, absent)


COUNT = count()
LAYERS = count(most=MOST_LAYERS)
EXPERTS = count(most=MOST_EXPERTS)
PER_LAYER = Form(_read_per_layer)
NUMBER = Form(lambda reading, key, absent: reading.fields.number(key, absent))
FLAG = Form(lambda reading, key, absent: reading.fields.boolean(key, absent))
VOCABULARY = Form(_read_vocabulary)
HEAD_DIM = Form(_read_head_dim, _write_head_dim)
TIED = Form(_read_tied)

#: `Family.default_text` of both families
DEFAULTS: dict[str, tuple[Any, ...]] = {
    "pretraining_tp": (1,),
    "routed_scaling_factor": (1.0,),
    "n_group": (1,),
    "topk_group": (1,),
}
