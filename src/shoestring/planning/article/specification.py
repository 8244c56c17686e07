"""The article's facts on the models themselves, and on their licences."""

from __future__ import annotations

import datetime

from shoestring.catalogue.schema import Catalogue
from shoestring.checkpoint.config.types import Llama4Config, Qwen3_5Config
from shoestring.planning.advice.tokens import Study, more, study
from shoestring.planning.article.result import NAMES, QWEN, SCOUT, Result, model
from shoestring.planning.memory import context_limit, need


def released(catalogue: Catalogue, argument: str) -> Result:
    """`argument`: "model YYYY-MM-DD"."""
    name, date = argument.split()
    row = catalogue.models[NAMES[name]]
    return Result("holds" if row.released == date else "differs", f"{row.name}: {row.released}.", (row.id,))


def newer(catalogue: Catalogue, _: str) -> Result:
    dates = [datetime.date.fromisoformat(catalogue.models[name].released) for name in (QWEN, SCOUT)]
    days = (dates[0] - dates[1]).days
    text = f"{dates[0]} is {days} days after {dates[1]}, which are {days / 30.44:.1f} months."
    return Result("holds" if 9.5 <= days / 30.44 < 10.5 else "differs", text, (QWEN, SCOUT))


def active(catalogue: Catalogue, _: str) -> Result:
    counts = [model(catalogue, name).text.active / 1e9 for name in (QWEN, SCOUT)]
    text = f"Counted with the head, without the embedding: {counts[0]:.1f}B and {counts[1]:.1f}B."
    return Result("holds" if all(15.5 < c < 17.5 for c in counts) else "differs", text, (QWEN, SCOUT))


def total(catalogue: Catalogue, argument: str) -> Result:
    """`argument`: "model billions"."""
    name, said = argument.split()
    c = model(catalogue, NAMES[name])
    vision, mtp = (sum(s.parameters for s in c.shapes if s.part == part) / 1e9 for part in ("vision", "mtp"))
    whole = c.total / 1e9
    extra = f"{vision:.2f}B of vision" + (f" and {mtp:.2f}B of multi-token prediction" if mtp else "")
    text = f"The file has {whole:.1f}B: {c.text.total / 1e9:.1f}B of text and {extra}."
    outcome = "holds" if abs(whole - float(said)) < 1 else "in part"
    return Result(outcome, text, (c.id,))  # type: ignore[arg-type]


def experts(catalogue: Catalogue, argument: str) -> Result:
    """`argument`: "model number", "-" if the article does not know it."""
    name, said = argument.split()
    config = model(catalogue, NAMES[name]).config
    if isinstance(config, Llama4Config):
        count, used, shared = config.num_local_experts, config.num_experts_per_tok, 1
    else:
        assert isinstance(config, Qwen3_5Config)
        count, used = config.num_experts, config.num_experts_per_tok
        shared = 1 if config.shared_expert_intermediate_size else 0
    text = f"Its config has it: {count} experts, {used} + {shared} active per token."
    return Result("holds" if said == str(count) else "differs", text, (NAMES[name],))


def delta_net(catalogue: Catalogue, _: str) -> Result:
    layout = need(model(catalogue, QWEN), "FP8", 8192, 1).layout
    recurrent, layers = len(layout.recurrent_layers), len(layout.layers)
    text = f"{recurrent} of its {layers} layers are gated delta-nets, the others attend to the whole context."
    return Result("holds" if recurrent else "differs", text, (QWEN,))


def vocabulary(catalogue: Catalogue, _: str) -> Result:
    size = model(catalogue, QWEN).config.vocab_size
    return Result("holds" if abs(size - 250_000) < 2500 else "differs", f"Its config has {size:,} tokens.", (QWEN,))


def context_qwen(catalogue: Catalogue, _: str) -> Result:
    c = model(catalogue, QWEN)
    native, limit = c.config.max_position_embeddings, context_limit(c)
    plus = catalogue.prices["qwen3.5-397b-a17b-alibaba-plus"]
    plus_context = f"{plus.context:,}"
    text = f"The weights have {native:,} tokens, {limit:,} with YaRN; Alibaba's price list gives Plus {plus_context}."
    return Result("in part", text, (QWEN, plus.id))


def context_scout(catalogue: Catalogue, _: str) -> Result:
    scout = model(catalogue, SCOUT)
    limit = scout.config.max_position_embeddings
    n = need(scout, "GPTQ", limit, 1)
    text = (
        f"Its config says {limit:,}. One such sequence takes {n.sequence_bytes / 1e9:.0f} GB, in addition to "
        f"{n.weights_bytes / 1e9:.0f} GB of weights at 4 bits; hosts offer less."
    )
    return Result("in part", text, (SCOUT, *(p.id for p in catalogue.prices_of(SCOUT) if p.context)))


def more_context(catalogue: Catalogue, _: str) -> Result:
    scout, qwen = (context_limit(model(catalogue, name)) for name in (SCOUT, QWEN))
    text = f"{scout:,} tokens against {qwen:,}."
    return Result("holds" if scout > qwen else "differs", text, (SCOUT, QWEN))


def modalities(catalogue: Catalogue, argument: str) -> Result:
    """`argument`: "model kind,kind"."""
    name, said = argument.split()
    row = catalogue.models[NAMES[name]]
    outcome = "holds" if tuple(said.split(",")) == row.modalities else "differs"
    return Result(outcome, f"{row.name} reads {', '.join(row.modalities)}.", (row.id,))  # type: ignore[arg-type]


def languages(catalogue: Catalogue, argument: str) -> Result:
    """`argument`: "model number"."""
    name, said = argument.split()
    row = catalogue.models[NAMES[name]]
    if row.languages == int(said):
        return Result("holds", f"The card says {row.languages}.", (row.id,))
    text = f"Meta's card supports {row.languages}; about {said} are those of the training texts."
    return Result("differs", text, (row.id,))


def training(catalogue: Catalogue, argument: str) -> Result:
    """`argument`: the model. The article's word for how it was trained, against what is published."""
    row = catalogue.models[NAMES[argument]]
    if argument == "scout":
        return Result("holds", "Meta's card releases Scout as BF16 weights.", (row.id,))
    types = ", ".join(entry.split()[0] for entry in row.quantized)
    return Result("in part", f"Published are BF16 weights, and {types}; no row says how it was trained.", (row.id,))


def tokens(catalogue: Catalogue, _: str) -> Result:
    before, llama = study("qwen2_5", catalogue), study("llama4", catalogue)
    text = (
        f"Qwen 3.5 takes in the median of {before.count} large languages {more(before.median)} than with Qwen's "
        f"previous vocabulary; {_each(before, 'English', 'Hebrew', 'Amharic')}; but in the median of the same "
        f"languages {more(llama.median)} than with Llama 4's vocabulary; {_each(llama, 'English')}; from "
        f"{more(llama.least[1])} ({llama.least[0]}) to {more(llama.most[1])} ({llama.most[0]})."
    )
    return Result("in part", text, tuple(t.id for t in catalogue.tokens.values()))


def _each(study: Study, *languages: str) -> str:
    return "; ".join(f"{more(study.changes[language])} in {language}" for language in languages)


def video(catalogue: Catalogue, _: str) -> Result:
    row = catalogue.models[QWEN]
    text = (
        "The model reads video, and its processor samples 2 frames a second by default; length is a matter of context."
    )
    return Result("in part", text, (row.id,))


def licence(catalogue: Catalogue, argument: str) -> Result:
    """`argument`: "model licence"."""
    name, said = argument.split()
    row = catalogue.models[NAMES[name]]
    return Result("holds" if row.licence == said else "differs", f"{catalogue.licences[row.licence].name}.",
                  (row.id, row.licence))  # fmt: skip


def restricted(catalogue: Catalogue, _: str) -> Result:
    clauses = [c for c in catalogue.clauses.values() if c.topic in ("users", "eu", "names")]
    each = "; ".join(f'"{c.text}" ({c.section})' for c in clauses)
    return Result("holds", f"{each}.", tuple(c.id for c in clauses))


def ceiling(catalogue: Catalogue, _: str) -> Result:
    clause = catalogue.clauses["llama4-users"]
    text = (
        f"It is no ceiling on growth: it counts the licensee and its affiliates once, in the month before the release "
        f'of 5 April 2025. "{clause.text}" ({clause.section}).'
    )
    return Result("differs", text, (clause.id, "llama4-community"))


def no_strings(catalogue: Catalogue, _: str) -> Result:
    row = catalogue.licences["apache-2.0"]
    return Result("in part", f"There are conditions, if few: {'; '.join(row.obligations)}.", (row.id,))
