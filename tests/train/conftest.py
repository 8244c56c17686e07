"""Everything here needs torch, which is no part of the test tools: without it these tests are skipped."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch, of the extra train, is not installed")
