"""The output's tests share the small vocabulary of the checkpoint's tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "checkpoint"))
