"""benchmarks/checkpoints.py: its figures and files."""

from __future__ import annotations

import json

import pandas as pd


def test_time_and_bytes_are_measured(run, tmp_path):
    done = run(
        "checkpoints.py",
        "--images",
        "200",
        "--width",
        "64",
        "--rounds",
        "2",
        "--out",
        str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    measured = pd.read_csv(tmp_path / "checkpoints.csv")
    assert measured.groupby("what").size().tolist() == [2, 2, 2]
    about = json.loads((tmp_path / "checkpoints.json").read_text())
    assert 1 < about["file_bytes"] / about["array_bytes"] < 1.1
    assert "of its arrays" in done.stdout
