"""Commands in control groups with a memory limit."""

from __future__ import annotations

import os
import sys

import pytest
from streaming import group

limited = pytest.mark.skipif(bool(group.unavailable()), reason=f"needs control groups: {group.unavailable()}")
TAKE = "import sys; print(len(bytearray(int(sys.argv[1]))))"


@limited
def test_the_peak_is_measured() -> None:
    done = group.run([sys.executable, "-c", TAKE, str(100 << 20)], 400 << 20)
    assert done.output == f"{100 << 20}\n"
    assert 100 << 20 < done.peak_bytes < 250 << 20


@limited
def test_the_limit_binds() -> None:
    with pytest.raises(group.Failed, match="was killed, perhaps for memory"):
        group.run([sys.executable, "-c", TAKE, str(400 << 20)], 100 << 20)
    assert not [path for root in group.ROOTS for path in root.glob(f"shoestring-bench-{os.getpid()}-*")]


def test_errors_say_what_the_command_said() -> None:
    with pytest.raises(group.Failed, match="ended with 3: no such thing"):
        group.run([sys.executable, "-c", "import sys; print('no such thing', file=sys.stderr); sys.exit(3)"], None)
