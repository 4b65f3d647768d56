"""benchmarks/own_data.py: the default network beside scikit-learn's, on the same folds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sklearn")

import own_data


def test_a_set_is_measured_on_the_same_folds(run, tmp_path):
    done = run("own_data.py", "--sets", "iris", "--repeats", "1", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "own_data.csv")
    assert table.groupby("contestant").fold.apply(list).tolist() == [[0, 1, 2, 3, 4]] * 3
    assert (table.accuracy > 0.8).all()
    assert (table[table.contestant == own_data.OURS].bytes > 0).all()
    kept = json.loads((tmp_path / "own_data.json").read_text())
    assert kept["packages"]["scikit-learn"]
    (row,) = kept["summary"]
    assert row["low"] <= row["difference"] <= row["high"]
    assert row["difference"] == pytest.approx(row["accuracy"] - row["MLPClassifier"], abs=2e-4)


def test_the_interval_is_that_of_nadeau_and_bengio():
    """By hand: mean 0.02, s^2 = 0.0002; 4 differences, a test part a quarter of the other."""
    found = own_data.interval(np.array([0.0, 0.02, 0.03, 0.03]), 80, 20)
    half = 3.18245 * ((1 / 4 + 1 / 4) * 0.0002) ** 0.5
    assert found == pytest.approx((0.02, 0.02 - half, 0.02 + half), abs=1e-6)


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "markdown"),
    [("own_data", own_data.summary_markdown), ("own_data_choice", own_data.choice_markdown)],
)
def test_the_page_has_the_stored_results(name, markdown):
    kept = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    page = (ROOT / "docs" / "decisions" / "training.md").read_text(encoding="utf-8")
    assert markdown(kept["summary"]) in page


def test_no_interval_lies_below_what_the_page_promises():
    kept = json.loads((ROOT / "benchmarks" / "results" / "own_data.json").read_text())
    assert {row["set"] for row in kept["summary"]} == set(own_data.CHOSEN_ON | own_data.TESTED_ON)
    assert all(row["high"] > -0.02 for row in kept["summary"])


def test_the_choice_never_saw_the_sets_that_test_it():
    assert set(own_data.CHOSEN_ON).isdisjoint(own_data.TESTED_ON)


@pytest.mark.parametrize("name", sorted(own_data.CHOSEN_ON | own_data.TESTED_ON))
def test_each_set_has_a_row_and_a_class_for_each_sample(name):
    needed = {"penguins": "palmerpenguins", "BasicMotions": "sktime"}.get(name)
    if needed is not None:
        try:
            own_data.installed(needed)
        except ModuleNotFoundError:
            pytest.skip(f"needs {needed}, for its data")
    data = (own_data.CHOSEN_ON | own_data.TESTED_ON)[name]()
    assert len(data.x) == len(data.y) == len(data.plain)
    assert sorted(set(data.y.tolist())) == list(range(data.y.max() + 1))
    assert np.isfinite(data.plain).all()
