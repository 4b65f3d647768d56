"""benchmarks/bits.py: its table, and the costs that it fits."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from devices import built

import bits


@built
def test_each_kind_is_measured_on_each_instruction_set(run, tmp_path):
    shapes = "3,5,7", "100,256,256"
    done = run("bits.py", "--shapes", *shapes, "--seconds", "0", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "bits.csv")
    assert set(table.signs) == {"left", "right", "both"}
    assert (table.groupby(["instructions", "signs"]).size() == 2).all()
    assert table.chosen.tolist() == (table.n == 100).tolist()
    assert (table.ratio > 0).all()
    assert json.loads((tmp_path / "bits.json").read_text())["threads"] == 1
    assert "('portable', 'both'): (" in done.stdout


def test_costs_are_found_again():
    """From times that are made of them; a cost that would be negative is 0."""
    costs = {"left": (5000, 0.1, 20, 0.5), "both": (6000, 0.07, 0, 9)}
    rows = [
        {
            "instructions": "avx2", "signs": kind, "n": n, "k": k, "m": m,
            "bits": sum(a * b for a, b in zip(costs[kind], bits.work(bits.KINDS[kind], n, k, m), strict=True)) / 1e3,
        }
        for kind in costs
        for n, k, m in bits.SHAPES
    ]  # fmt: skip
    found = bits.fit(pd.DataFrame(rows))
    for kind, expected in costs.items():
        assert found["avx2", kind] == pytest.approx(expected, rel=1e-3, abs=1e-6)
