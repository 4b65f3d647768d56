"""benchmarks/accuracy.py: the rows that it stores."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from few_images import few_images

import accuracy
from harness.environment import machine
from minibnn.recipes import RECIPES


def test_each_row_describes_the_machine_of_its_own_run(results_folder, tmp_path, monkeypatch):
    """Earlier rows, which have no machine, stay as they are."""
    modern = RECIPES["modern"]()
    monkeypatch.setitem(RECIPES, "modern", lambda: replace(modern, epochs=1))
    monkeypatch.setattr(accuracy, "load_mnist", lambda: few_images(200))
    monkeypatch.setattr(accuracy, "RESULTS", tmp_path)
    earlier = {"recipe": "modern", "seed": 0, "epochs": 10, "acc_test": 0.9668}
    file = tmp_path / "accuracy_modern.json"
    file.write_text(json.dumps({"environment": {}, "rows": [earlier]}))
    options = ["accuracy.py", "modern", "--first-seed", "1", "--seeds", "2"]
    monkeypatch.setattr(sys, "argv", options)
    accuracy.main()
    first, *rows = json.loads(file.read_text())["rows"]
    assert first == earlier
    assert [row["seed"] for row in rows] == [1, 2]
    assert [row["machine"] for row in rows] == [machine()] * 2
    assert all(0 < row["acc_test"] < 1 for row in rows)
