"""benchmarks/ranks*.py: what they print and write, and the formula of the prediction."""

from __future__ import annotations

import json
import math
import shutil

import pandas as pd
import pytest

import ranks_agree
from ranks_prediction import NETWORKS, Network, Step

pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))
LAUNCHED = pytest.mark.skipif(shutil.which("mpirun") is None, reason="no mpirun")


@LAUNCHED
def test_ranks_are_measured_beside_fit(run, tmp_path):
    done = run("ranks.py", "--rounds", "1", "--steps", "1", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "ranks.csv")
    assert {"fit", "sum, 2 ranks", "exact, 1 rank", "exact, 2 ranks"} <= set(table.way)
    assert (table.seconds > 0).all()
    counts = json.loads((tmp_path / "ranks.json").read_text())["a_step"]
    weights = 784 * 1024 + 2 * 1024 * 1024 + 1024 * 10
    assert counts["sum, 2 ranks"]["bytes"] > 4 * weights
    assert counts["sum, 1 rank"] == {"collectives": 0.0, "bytes": 0.0}


@LAUNCHED
def test_digests_agree_on_any_number_of_ranks(run, tmp_path, monkeypatch):
    words = "--recipes", "seed", "--images", "640", "--out", str(tmp_path)
    done = run("ranks_agree.py", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(tmp_path / "ranks_agree.csv", dtype=str)
    assert table.ranks.tolist() == ["1", "2", "3", "4", "8", "3, killed, then 2"]
    assert table.sha256.nunique() == 1
    assert "all equal" in done.stdout


def test_digests_that_differ_are_an_error(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["ranks_agree.py", "--recipes", "seed", "--images", "64"])
    digests = iter("aabaaa")
    monkeypatch.setattr(ranks_agree, "run", lambda words: ("MPI", next(digests)))
    monkeypatch.setattr(ranks_agree, "kill_and_resume", lambda *_: ("MPI", next(digests)))
    assert ranks_agree.main() == 1
    assert "different: ['seed']" in capsys.readouterr().out


@LAUNCHED
def test_accuracy_on_ranks_and_alone(run, tmp_path):
    words = "--seeds", "1", "--epochs", "1", "--out", str(tmp_path)
    done = run("ranks_accuracy.py", *words)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "ranks_accuracy.csv")
    assert table.ranks.tolist() == [2, 1]
    assert (table.accuracy > 0.6).all()


def test_the_predicted_time_of_a_step():
    step = Step(fixed=0.01, per_sample=1e-4, collectives=3, nbytes=8e6)
    network = Network("a network", latency=1e-5, bandwidth=1e9)
    assert math.isclose(step.seconds(1, 100, 1, network), 0.02)
    # On 4 ranks: (10 ms + 2.5 ms) / 2, then 4 x 4 messages, then 3/4 of 8 MB, there and back.
    assert math.isclose(step.seconds(4, 100, 2, network), 0.00625 + 16e-5 + 0.012)
    slow, fast = (step.seconds(64, 1000, 1, its) for its in NETWORKS)
    assert slow > fast
