"""benchmarks/choose.py: the rows that it stores."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

from few_images import few_images

import choose
from harness.environment import machine


def test_each_row_describes_the_machine_of_its_own_run(results_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        choose, "load_mnist", lambda: SimpleNamespace(validation_split=lambda *_: few_images(200))
    )
    monkeypatch.setattr(choose, "RESULTS", tmp_path)
    options = ["choose.py", "seed", "--epochs", "1", "--lr", "1e-3", "2e-3"]
    monkeypatch.setattr(sys, "argv", options)
    for _ in range(2):  # a second measurement replaces the row of its setting
        choose.main()
    rows = json.loads((tmp_path / "choice_seed.json").read_text())["rows"]
    assert [row["lr"] for row in rows] == [1e-3, 2e-3]
    assert [row["machine"] for row in rows] == [machine()] * 2
