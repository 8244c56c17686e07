"""The article's benchmark figures."""

from __future__ import annotations

from shoestring.catalogue.schema import Catalogue
from shoestring.planning.advice.scores import pairing
from shoestring.planning.article.result import QWEN, SCOUT, Result


def benchmark(catalogue: Catalogue, argument: str) -> Result:
    """`argument`: "benchmark qwen's figure scout's figure", "-" for none."""
    name, *figures = argument.split()
    title, rows, notes, equal = catalogue.benchmarks[name].title, [name], [], True
    texts = []
    for model_id, figure in zip((QWEN, SCOUT), figures, strict=True):
        score = catalogue.score(model_id, name)
        label = catalogue.models[model_id].name
        if score is None:
            equal &= figure == "-"
            texts.append(f"{label} has none")
            continue
        rows.append(score.id)
        equal &= figure != "-" and float(figure) == score.value
        texts.append(f"{label} {score.value:g} ({catalogue.sources[score.source].title})")
        if score.incomparable:
            notes.append(f"{score.value:g} is {score.incomparable}")
    text = f"{title}: {', '.join(texts)}" + (f"; but {'; '.join(notes)}." if notes else ".")
    return Result("differs" if not equal else "in part" if notes else "holds", text, tuple(rows))


def share(catalogue: Catalogue, _: str) -> Result:
    """The share of benchmarks that Qwen 3.5 leads, among those with comparable figures of both."""
    names = [b.id for b in catalogue.benchmarks.values() if b.source == "article"]
    pair = pairing(QWEN, SCOUT, names, catalogue)
    pairs = pair.pairs if pair is not None else ()
    wins, shared = sum(a.value > b.value for a, b in pairs), len(pairs)
    alone = sum(catalogue.score(QWEN, name) is not None for name in names) - shared
    text = (
        f"Qwen 3.5 leads on {wins} of the {shared} benchmarks with comparable figures of both; {alone} have none for "
        f"Scout."
    )
    return Result("in part", text, tuple(s.id for two in pairs for s in two))


def not_close(catalogue: Catalogue, _: str) -> Result:
    pair = pairing(QWEN, SCOUT, list(catalogue.benchmarks), catalogue)
    assert pair is not None
    text = f"Qwen 3.5 leads by {pair.lead:.1f} on average over the {len(pair.pairs)} benchmarks that compare."
    return Result("holds" if pair.lead > 5 else "differs", text, pair.rows)


def verification(catalogue: Catalogue, _: str) -> Result:
    """Independent figures of both, which did not exist when the article was written."""
    names = [b.id for b in catalogue.benchmarks.values() if b.kind == "independent"]
    pair = pairing(QWEN, SCOUT, names, catalogue)
    if pair is None:
        return Result("holds", "The catalogue has no independent figures of both.", ())
    each = ", ".join(f"{catalogue.benchmarks[a.benchmark].title}: {a.value:g} to {b.value:g}" for a, b in pair.pairs)
    return Result("out of date", f"Independent runs of both exist: {each}.", pair.rows)


def meta_multilingual(catalogue: Catalogue, _: str) -> Result:
    scout, mgsm = catalogue.score(SCOUT, "mmmlu"), catalogue.score(SCOUT, "mgsm")
    assert scout is not None
    assert mgsm is not None
    text = f"Qwen's 88.5 is MMMLU, the multilingual set; {scout.value:g} is {scout.incomparable}."
    return Result("differs", text, ("mmmlu", scout.id, mgsm.id, "behemoth-mmmlu"))
