"""tools/time_checkouts.py: `compare_checkouts.py speed`, and its verdict."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from time_checkouts import ratios

ROOT = Path(__file__).parents[2]


def test_speed_writes_a_table_and_every_measurement(tmp_path):
    words = ["--workloads", "step-3x256", "--c-kernels", "no", "--sessions", "1",
             "--rounds", "2", "--steps", "2", "--json", str(tmp_path / "speed.json")]  # fmt: skip
    script = ROOT / "tools" / "compare_checkouts.py"
    command = [sys.executable, str(script), "speed", str(ROOT), str(ROOT), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stderr  # two steps are too few for a verdict
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows[2:]] == [["step-3x256", "no"]]
    assert (done.returncode == 0) == all(row[5] == "yes" for row in rows[2:])
    kept = json.loads((tmp_path / "speed.json").read_text())
    measured = pd.DataFrame(kept["turns"])
    assert len(measured) == 2 * 3  # rounds, contestants
    assert (measured.value > 0).all()
    assert set(measured.contestant) == {"old", "new", "again"}
    assert all(float(ratio) > 0 for row in rows[2:] for ratio in row[3:5])
    assert {"processor", "numpy", "blas"} <= set(kept["environment"])
    for row, median in zip(rows[2:], kept["medians"], strict=True):
        assert row[2] == f"{median['old_ms']:.4g}"


@pytest.mark.parametrize(
    ("new", "again", "passed"),
    [
        (1.0, 1.0, "yes"),
        (1.029, 1.0, "yes"),
        (1.031, 1.0, "NO"),
        (1.05, 1.04, "yes"),
        (None, 1.0, "NO"),
    ],
)
def test_the_verdict_uses_medians_of_ratios_within_rounds(new, again, passed):
    """The machine may become slower during the rounds. A checkout that failed has not passed."""
    measured = [
        {"workload": "w", "kernels": "yes", "session": session, "repeat": repeat,
         "contestant": who, "value": factor * 2.0 * (1 + repeat)}
        for session in range(2)
        for repeat in range(3)
        for who, factor in (("old", 1.0), ("new", new), ("again", again))
        if factor is not None
    ]  # fmt: skip
    row = ratios(pd.DataFrame(measured)).iloc[0]
    assert row.passed == passed
    assert row.old_ms == 4.0
