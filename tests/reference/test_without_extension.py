"""The reference needs numpy alone: it loads and computes without the compiled extension."""

import subprocess
import sys
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parents[1] / "golden"

PROGRAM = """
import sys
sys.modules["shoestring._kernels"] = None  # any import of it raises
from pathlib import Path
import numpy as np
from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.names.bind import bind
from shoestring.models.shapes import wanted_shapes
from shoestring.checkpoint.open import open_checkpoint
from shoestring.reference.model import logits
checkpoint = open_checkpoint(Path(sys.argv[1]))
config = parse_config(checkpoint)
np.save(sys.argv[2], logits(config, bind(config, checkpoint, wanted_shapes(config)), [3, 1, 4, 1, 5]))
assert not {"torch", "transformers", "scipy", "gguf"} & sys.modules.keys()
"""


def test_runs_without_the_extension(tmp_path: Path) -> None:
    sys.path.insert(0, str(GOLDEN))
    from tiny_models import TINY

    for name, model in TINY.items():
        folder = tmp_path / name
        folder.mkdir()
        model.write(folder)
        result = tmp_path / f"{name}.npy"
        subprocess.run([sys.executable, "-c", PROGRAM, str(folder), str(result)], check=True, timeout=60)
        logits = np.load(result)
        assert logits.shape == (5, model.config["vocab_size"])
        assert logits.dtype == np.float64
        assert np.isfinite(logits).all()
