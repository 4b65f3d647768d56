"""benchmarks/harness/tables.py: a picture survives a kill."""

from __future__ import annotations

import os

import pandas as pd
import pytest
from fuzz_writer import killed_everywhere

from harness import tables


@pytest.mark.skipif(os.name != "posix", reason="the steps are counted as they are there")
def test_a_kill_at_any_step_hurts_no_picture(tmp_path):
    rows = [{"work": "w", "contestant": c, "repeat": 0, "value": v, "unit": "s"}
            for c, v in ((tables.OURS[0], 1.0), ("other", 2.0))]  # fmt: skip
    killed_everywhere(
        tmp_path, lambda out: tables.draw(pd.DataFrame(rows), out / "r.png"), ["r.png"]
    )
