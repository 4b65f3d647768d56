"""The benchmarks as a user runs them, on little work: what they measure, they measure elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def run(tmp_path):
    """A script on the bundled sample, without rivals."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MINIBNN_")}
    environment |= {"MINIBNN_OFFLINE": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", str(BENCHMARKS / script), *options],
            capture_output=True, text=True, env=environment, timeout=100,
        )  # fmt: skip

    return run


def test_a_race_gives_a_table_every_turn_and_a_picture(run, tmp_path):
    done = run(
        "cpu.py", "--work", "step-3x256", "--rivals", "numpy", "--repeats", "2", "--sittings", "2",
        "--steps", "2", "--threads", "1", "--out", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    head, _, without_c, row = done.stdout.splitlines()
    assert head == "| work | minibnn | rival | its | minibnn / rival |"
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "step-3x256"
    assert cells[2] == "matrix products alone"
    assert "| minibnn without its C |" in without_c
    turns = pd.read_csv(tmp_path / "cpu.csv").set_index(["contestant", "repeat"])
    assert len(turns) == 3 * 2 * 2
    assert turns.index.is_unique
    assert set(turns.unit) == {"s/step"}
    ratios = turns.value["minibnn"] / turns.value["matrix products alone"]
    low, middle, high = ratios.quantile([0.25, 0.5, 0.75])
    shown = f"{middle:.2f} ({low:.2f} to {high:.2f})"
    assert cells[4] == shown
    assert 1.5 < turns.first_loss["minibnn"].iloc[0] < 5
    assert (tmp_path / "cpu.png").stat().st_size > 5000
    assert '"threads": 1' in (tmp_path / "cpu.json").read_text()


def test_a_part_is_not_kept_and_minibnn_may_run_alone(run):
    kept = sorted((BENCHMARKS / "results").iterdir())
    done = run("cpu.py", "--work", "evaluate", "--rivals", "none", "--repeats", "1",
               "--sittings", "1", "--steps", "1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2].startswith("| evaluate | ")
    assert "not kept" in done.stderr
    assert sorted((BENCHMARKS / "results").iterdir()) == kept


def test_who_does_other_work_is_out(run, tmp_path, monkeypatch):
    """A rival that starts from other weights is named, has no row, and fails the run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS / "contestants"))
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from race import Contestant, race
    from turns import Job

    from minibnn import load_sample

    cheat = tmp_path / "cheat.py"
    cheat.write_text(
        f"import sys\nsys.path.insert(0, {str(BENCHMARKS / 'contestants')!r})\n"
        "from plain_numpy import PlainNumpy, run\n"
        "run(lambda job, weights, *rest: PlainNumpy(job, [-weights[0], *weights[1:]], *rest))\n"
    )
    contestants = [
        Contestant("minibnn", "minibnn", "ours.py"),
        Contestant("plain", "numpy", "plain_numpy.py"),
        Contestant("cheat", "numpy", str(cheat)),
        Contestant("broken", "numpy", "nowhere.py"),
    ]
    job = Job(
        "train", (784, 16, 10), bias=True, norm=False, clip=None, bound=None, steps=2, threads=1
    )
    rows, complaints = race(job, contestants, 2, load_sample())
    assert {row["contestant"] for row in rows} == {"minibnn", "plain"}
    assert len(rows) == 4
    assert len(complaints) == 2
    assert complaints[0].startswith("cheat does other work: its first loss is")
    assert "nowhere.py" in complaints[1]


def test_scaling(run, tmp_path):
    done = run("scaling.py", "--widths", "16", "32", "--batches", "4", "--rivals", "numpy",
               "--repeats", "1", "--threads", "1", "--out", str(tmp_path))  # fmt: skip
    assert done.returncode == 0, done.stderr
    turns = pd.read_csv(tmp_path / "scaling.csv")
    assert turns.groupby("against")["size"].unique().map(sorted).to_dict() == {
        "batch": [4],
        "width": [16, 32],
    }
    assert (tmp_path / "scaling.png").stat().st_size > 5000
