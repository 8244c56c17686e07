"""The schema of the data files: each class is a table, and its fields are the keys.

A field named after a table (`model`, `benchmarks`) contains ids of its rows. Fields without a default are required.
Units: bytes, bytes per second for bandwidths, operations per second for speeds, watts, US dollars.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

KINDS = ("vendor-claimed", "independent", "measured here", "computed")


@dataclass(frozen=True)
class Source:
    """A source of rows: a model card, a datasheet, a price list, the article."""

    id: str
    title: str
    url: str = ""


@dataclass(frozen=True)
class Row:
    """Fields of every row."""

    id: str
    #: id of a Source
    source: str
    #: date of the source, YYYY-MM-DD
    date: str
    kind: str


@dataclass(frozen=True)
class Model(Row):
    """A published checkpoint. Parameters and bytes are computed from `config`, the vendor's config.json."""

    name: str
    #: other names that users may type
    aliases: tuple[str, ...]
    repository: str
    config: str
    family: str
    #: YYYY-MM-DD, or YYYY-MM if the day is unknown
    released: str
    licence: str
    #: kinds of input it reads
    modalities: tuple[str, ...]
    #: context that the vendor states beyond the config's, with a rotary extension; 0: none
    extended_context: int = 0
    languages: int = 0
    flagship: bool = False
    #: repositories of quantized files, "TYPE repository"
    quantized: tuple[str, ...] = ()
    gguf: str = ""
    #: training precision, as the vendor's tables name it
    training: str = ""


@dataclass(frozen=True)
class Upload(Row):
    """The size of a published GGUF, without the vision tower, which is a file of its own."""

    model: str
    #: as it follows the repository's name: Q4_K_M, UD-Q4_K_XL
    type: str
    repository: str
    bytes: int


@dataclass(frozen=True)
class Benchmark(Row):
    """A benchmark, in its own unit; higher is better."""

    title: str
    #: text, code, agent, image, video, multilingual
    area: str
    note: str = ""


@dataclass(frozen=True)
class Score(Row):
    model: str
    benchmark: str
    value: float
    note: str = ""
    #: why it compares with no other score of its benchmark; "": it does
    incomparable: str = ""


@dataclass(frozen=True)
class Price(Row):
    """Dollars per million tokens at one provider."""

    model: str
    provider: str
    input_usd: float
    output_usd: float
    #: maximum tokens per prompt; 0: unknown
    context: int = 0
    note: str = ""


@dataclass(frozen=True)
class Device(Row):
    """A GPU, or a machine whose processor and GPU share one memory (`unified`)."""

    name: str
    aliases: tuple[str, ...]
    #: of a unified machine, the largest that is sold
    memory_bytes: int
    bandwidth: float
    #: dense operations per second in 16, 8 and 4 bits; 0: not available
    flops_16: float
    #: width of the memory bus, and transfers per second of one of its pins; 0: unknown
    bus_bits: int = 0
    memory_rate: float = 0.0
    flops_8: float = 0.0
    flops_4: float = 0.0
    #: to its neighbours, one direction
    link_bandwidth: float = 0.0
    #: to the host's memory, one direction
    host_bandwidth: float = 0.0
    power: float = 0.0
    unified: bool = False
    vendor: str = "nvidia"
    laptop: bool = False
    #: products with this chip, as people name them: mac-studio, macbook-pro
    products: tuple[str, ...] = ()


@dataclass(frozen=True)
class Processor(Row):
    """A processor, with the fastest memory that its vendor states."""

    name: str
    aliases: tuple[str, ...]
    cores: int
    #: cycles per second
    clock: float
    #: of 64 bits
    channels: int
    #: transfers per second
    memory_rate: float
    #: floating-point operations of a core
    flops_per_cycle: int
    power: float
    laptop: bool = False

    @property
    def bandwidth(self) -> float:
        return self.channels * 8 * self.memory_rate


@dataclass(frozen=True)
class Machine(Row):
    """A whole machine by name; `hardware` is what --hardware would say."""

    name: str
    aliases: tuple[str, ...]
    hardware: str


@dataclass(frozen=True)
class Reading(Row):
    """What a second source states of a device or a processor; 0: it states nothing of that."""

    device: str = ""
    processor: str = ""
    #: as in their rows
    bandwidth: float = 0.0
    cores: int = 0
    clock: float = 0.0
    channels: int = 0
    memory_rate: float = 0.0


@dataclass(frozen=True)
class Collection(Row):
    """Devices of a public table of owners, measurements or rents."""

    title: str
    devices: tuple[str, ...]
    #: counts what people own, the commonest first
    owners: bool = False


@dataclass(frozen=True)
class Disk(Row):
    name: str
    #: sequential reading
    bandwidth: float


@dataclass(frozen=True)
class Host(Row):
    """What is known about a provider beyond its prices."""

    provider: str
    #: where it computes, in lower case: eu, us, sg, cn
    regions: tuple[str, ...] = ()
    #: "resells" or "winds down"; "": neither
    status: str = ""
    note: str = ""


@dataclass(frozen=True)
class Rental(Row):
    """Dollars per hour for one device."""

    device: str
    provider: str
    usd_per_hour: float


@dataclass(frozen=True)
class Purchase(Row):
    """Dollars for a whole machine with a unified device and one size of memory."""

    device: str
    memory_bytes: int
    usd: float
    note: str = ""


@dataclass(frozen=True)
class Engine(Row):
    """A program that serves one or both families."""

    name: str
    families: tuple[str, ...]
    #: file types it reads
    formats: tuple[str, ...]
    modalities: tuple[str, ...]
    #: where the weights may be
    places: tuple[str, ...]
    #: the earliest date at which a source shows it running each of `families`; "": unknown
    since: tuple[str, ...] = ()
    note: str = ""
    #: repositories with files of its own types, "model repository"; the type follows the name: -4bit, -8bit
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Efficiency(Row):
    """How much of the limits of a kind of device an engine reaches: a fit to published speeds."""

    engine: str
    #: nvidia, amd, intel, apple: GPUs of that vendor; processor
    devices_of: tuple[str, ...]
    #: share of the stated bandwidth reached when reading weights that every token uses, and routed experts
    bandwidth: float
    expert_bandwidth: float
    #: shares of the stated operations reached in prompts, by a dense model and by one with experts
    dense_compute: float
    expert_compute: float
    kernel_seconds: float = 0.0
    #: on processors, for each core: the threads wait for each other
    core_seconds: float = 0.0
    #: latency of an exchange between GPUs that share layers
    exchange_seconds: float = 0.0


@dataclass(frozen=True)
class Licence(Row):
    """Terms as facts. `limit_mau` 0: no limit; lists contain sentences."""

    name: str
    url: str
    #: monthly active users above which the vendor's own licence is required
    limit_mau: int = 0
    #: the month in which they are counted, e.g. "March 2025"
    limit_month: str = ""
    #: whether users domiciled in the European Union get the rights to models that read more than text
    eu_multimodal: bool = True
    obligations: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clause(Row):
    """A clause of a licence in its own words; planning/licence.py asks for it by topic."""

    licence: str
    topic: str
    section: str
    text: str


@dataclass(frozen=True)
class Use(Row):
    """A use case of the article, and the benchmarks that decide it."""

    title: str
    #: how candidates are ranked: quality, context, size or price
    measure: str
    benchmarks: tuple[str, ...]
    question: str
    #: tokens per sequence, unless the user says otherwise; 0: as for every use
    context: int = 0
    #: new tokens that a step reads and writes, if both weigh in the time that it takes; 0: only writing counts
    prompt: int = 0
    answer: int = 0


@dataclass(frozen=True)
class Claim(Row):
    """A checkable claim of the article in its words; `check` names the function in planning/article/."""

    #: the heading under which it stands
    section: str
    quote: str
    check: str
    argument: str = ""


@dataclass(frozen=True)
class Language(Row):
    """Tokens of one text, the same in all languages, in the vocabularies of both families and of Qwen before 3.5."""

    name: str
    qwen3_5: int
    llama4: int
    qwen2_5: int
    #: one of the 33 languages with many speakers, over which medians are taken
    large: bool


@dataclass(frozen=True)
class Fact(Row):
    """A number that fits no other table, e.g. the article's recommended memory for a model."""

    model: str
    topic: str
    text: str
    value: float = 0.0


@dataclass(frozen=True)
class Catalogue:
    """All tables, each by id."""

    sources: dict[str, Source] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    benchmarks: dict[str, Benchmark] = field(default_factory=dict)
    scores: dict[str, Score] = field(default_factory=dict)
    prices: dict[str, Price] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    processors: dict[str, Processor] = field(default_factory=dict)
    machines: dict[str, Machine] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)
    collections: dict[str, Collection] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    rentals: dict[str, Rental] = field(default_factory=dict)
    purchases: dict[str, Purchase] = field(default_factory=dict)
    engines: dict[str, Engine] = field(default_factory=dict)
    efficiencies: dict[str, Efficiency] = field(default_factory=dict)
    licences: dict[str, Licence] = field(default_factory=dict)
    clauses: dict[str, Clause] = field(default_factory=dict)
    uses: dict[str, Use] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    tokens: dict[str, Language] = field(default_factory=dict)
    facts: dict[str, Fact] = field(default_factory=dict)

    def score(self, model: str, benchmark: str) -> Score | None:
        """The newest score of a model on a benchmark, a comparable one if there is one; None if there is none."""
        return self._best_scores.get((model, benchmark))

    @cached_property
    def _best_scores(self) -> dict[tuple[str, str], Score]:
        ordered = sorted(self.scores.values(), key=lambda s: (not s.incomparable, s.date))
        return {(s.model, s.benchmark): s for s in ordered}

    def prices_of(self, model: str) -> list[Price]:
        """All offers for a model, sorted by the sum of input and output price."""
        return sorted((p for p in self.prices.values() if p.model == model), key=lambda p: p.input_usd + p.output_usd)
