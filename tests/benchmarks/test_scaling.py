"""benchmarks/scaling.py: its files."""

from __future__ import annotations

import pandas as pd


def test_each_size_is_measured_and_drawn(run, tmp_path):
    """Also with the old name of `--rounds`."""
    done = run("scaling.py", "--widths", "16", "32", "--batches", "4", "--rivals", "numpy",
               "--repeats", "1", "--threads", "1", "--out", str(tmp_path))  # fmt: skip
    assert done.returncode == 0, done.stderr
    measured = pd.read_csv(tmp_path / "scaling.csv")
    assert measured.groupby("against")["size"].unique().map(sorted).to_dict() == {
        "batch": [4],
        "width": [16, 32],
    }
    assert (tmp_path / "scaling.png").stat().st_size > 5000
