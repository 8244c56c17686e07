"""The engine's tests share the small random models with the tests above them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
