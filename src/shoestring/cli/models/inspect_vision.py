"""What `shoestring inspect` says of a model's eyes: the tower, where it is, and what it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoestring.printable import printable
from shoestring.sizes import human

if TYPE_CHECKING:
    from shoestring.runtime.vision.vision import Vision


def vision_facts(vision: Vision) -> dict[str, Any]:
    """The facts about the tower, as --json prints them."""
    from shoestring.media.settings import QwenSettings

    reads = ["text"]
    if vision.tower is not None:
        reads += ["pictures", "video"] if isinstance(vision.settings, QwenSettings) else ["pictures"]
    facts: dict[str, Any] = {"reads": reads, "missing": vision.missing, "notes": list(vision.notes)}
    tower = vision.tower
    if tower is None:
        return facts
    return facts | {
        "path": str(tower.path),
        "layers": tower.config.num_hidden_layers,
        "hidden_size": tower.config.hidden_size,
        "patch_size": tower.config.patch_size,
        "parameters": tower.parameters,
        "bytes": tower.source_bytes,
        "weight_bytes": tower.weight_bytes,
    }


def vision_lines(facts: dict[str, Any]) -> list[str]:
    """The same for people."""
    lines = [f"reads          {', '.join(facts['reads'])}"]
    if "path" in facts:
        types = ", ".join(f"{kind} {human(size)}" for kind, size in facts["bytes"].items())
        lines.append(
            f"  tower          {facts['layers']} layers of {facts['hidden_size']:,}, {facts['parameters']:,} "
            f"parameters, patches of {facts['patch_size']} pixels: {types}"
        )
        lines.append(f"  in             {printable(facts['path'])}, {human(facts['weight_bytes'])} once loaded")
    elif facts["missing"]:
        lines.append(f"  missing        {printable(facts['missing'])}")
    return lines + [f"  note           {printable(note)}" for note in facts["notes"]]
