"""Resolve a user's MODEL to a Candidate: a catalogue name, a local file or folder, or a Hub name."""

from __future__ import annotations

from difflib import get_close_matches

from shoestring.catalogue.schema import Catalogue
from shoestring.errors import RequestError
from shoestring.files import named_path
from shoestring.planning.candidates.candidates import Candidate, from_row, resolve_row


def resolve(name: str, catalogue: Catalogue) -> Candidate:
    """The candidate for a user's MODEL.

    Raises RequestError, which suggests similar names, if it is unknown or unreachable.
    """
    row = resolve_row(name, catalogue)
    if row is not None:
        return from_row(row, catalogue)
    path = named_path(name)
    if path.exists():
        from shoestring.planning.candidates.checkpoints import from_path  # opening files costs an import

        return from_path(path)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith(".gguf"):
        from shoestring.planning.candidates.checkpoints import from_hub

        return from_hub(name)
    known = {alias.casefold(): alias for row in catalogue.models.values() for alias in (row.id, *row.aliases)}
    near = get_close_matches(name.casefold(), known, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(known[n] for n in near)}?" if near else f"known: {', '.join(catalogue.models)}"
    raise RequestError(f"model {name!r} is neither in the catalogue nor a file or folder: {hint}")
