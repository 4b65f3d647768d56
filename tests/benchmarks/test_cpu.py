"""benchmarks/cpu.py: its table, its files, and partial runs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def test_a_race_writes_a_table_every_measurement_and_a_picture(run, tmp_path):
    done = run(
        "cpu.py", "--workloads", "step-3x256", "--rivals", "numpy", "--rounds", "2", "--sessions", "2",
        "--steps", "2", "--threads", "1", "--out", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    head, _, without_c, row = done.stdout.splitlines()
    assert head == "| workload | minibnn | rival | rival's value | minibnn / rival |"
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "step-3x256"
    assert cells[2] == "matrix products alone"
    assert "| minibnn without its C |" in without_c
    measured = pd.read_csv(tmp_path / "cpu.csv").set_index(["contestant", "repeat"])
    assert len(measured) == 3 * 2 * 2
    assert measured.index.is_unique
    assert set(measured.unit) == {"s/step"}
    ratios = measured.value["minibnn"] / measured.value["matrix products alone"]
    low, middle, high = ratios.quantile([0.25, 0.5, 0.75])
    shown = f"{middle:.2f} ({low:.2f} to {high:.2f})"
    assert cells[4] == shown
    assert 1.5 < measured.first_loss["minibnn"].iloc[0] < 5
    assert (tmp_path / "cpu.png").stat().st_size > 5000
    assert '"threads": 1' in (tmp_path / "cpu.json").read_text()


def test_a_partial_run_is_not_saved_and_minibnn_may_run_alone(run):
    before = sorted(RESULTS.iterdir())
    done = run("cpu.py", "--workloads", "evaluate", "--rivals", "none", "--rounds", "1",
               "--sessions", "1", "--steps", "1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2].startswith("| evaluate | ")
    assert "not saved" in done.stderr
    assert sorted(RESULTS.iterdir()) == before
