"""benchmarks/fit_overhead.py: it compares `fit` with its loop, and a control."""

from __future__ import annotations

import pandas as pd


def test_fit_is_compared_with_the_loop(run, tmp_path):
    done = run("fit_overhead.py", "--images", "300", "--rounds", "2", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    measured = pd.read_csv(tmp_path / "fit_overhead.csv")
    assert measured.groupby(["network", "what"]).size().tolist() == [2] * 6
    assert (measured.seconds > 0).all()
    assert "of the plain loop" in done.stdout
