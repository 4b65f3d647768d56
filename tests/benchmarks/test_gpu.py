"""benchmarks/gpu.py without a GPU: its table, its picture, and a dry run on the CPU."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

import gpu
from minibnn import DeviceError, get_backend

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def test_the_table_and_the_picture_are_made_from_the_csv(tmp_path, monkeypatch):
    rows = [
        ("a", "minibnn", 0, 0.002), ("a", "rival", 0, 0.004), ("a", "minibnn, plain steps", 0, 0.02),
        ("a", "minibnn", 1, 0.003), ("a", "rival", 1, 0.003), ("a", "minibnn, plain steps", 1, 0.02),
        ("b", "minibnn, plain steps", 0, 0.5), ("b", "rival", 0, 0.25), ("c", "rival", 0, 0.25),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["work", "contestant", "repeat", "value"])
    table = table.assign(unit="s/step", tf32="off", roofline=0.001, roofline_by="bytes")
    table.to_csv(tmp_path / "gpu.csv", index=False)
    table = pd.read_csv(tmp_path / "gpu.csv")
    assert gpu.markdown(table, gpu.Ceilings(3e12, 5e13, 4e14, 8e14)).splitlines() == [
        "TF32 off. Rates measured in this run: copy 3000 GB/s, float32 50, TF32 400, float16 800 Tflop/s.",
        "",
        "| workload | contestant | time (quartiles) | minibnn / contestant | roofline | time / roofline |",
        "|---|---|---|---|---|---|",
        "| a | minibnn | 2.50 ms (2.25 ms to 2.75 ms) |  | 1.00 ms (bytes) | 2.5 |",
        "| a | rival | 3.50 ms (3.25 ms to 3.75 ms) | 0.75 (0.62 to 0.88) | 1.00 ms (bytes) | 3.5 |",
        "| a | minibnn, plain steps | 20.0 ms (20.0 ms to 20.0 ms) | 0.12 (0.11 to 0.14) | 1.00 ms (bytes) | 20 |",
        "| b | minibnn, plain steps | 500 ms (500 ms to 500 ms) |  | 1.00 ms (bytes) | 500 |",
        "| b | rival | 250 ms (250 ms to 250 ms) | 2.00 (2.00 to 2.00) | 1.00 ms (bytes) | 250 |",
        "| c | rival | 250 ms (250 ms to 250 ms) |  | 1.00 ms (bytes) | 250 |",
    ]
    gpu.picture(table, tmp_path / "gpu.png")
    assert (tmp_path / "gpu.png").stat().st_size > 5000
    drawn = []
    monkeypatch.setattr(gpu, "draw", lambda rows, file, ours: drawn.append(gpu.ratios(rows, ours)))
    gpu.picture(table, tmp_path / "gpu.png")
    against = drawn[0].set_index(["work", "rival"])
    assert against.ratio["a", "roofline"] == pytest.approx(2.5)
    assert set(against.index.get_level_values("work")) == {"a", "b"}


def test_without_a_gpu_it_ends_at_once(run):
    try:
        get_backend("gpu")
    except DeviceError:
        pass
    else:
        pytest.skip("there is a GPU")
    done = run("gpu.py")
    assert (done.returncode, done.stdout) == (4, "")
    assert 'gpu.py: device "gpu" is unavailable: ' in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_on_the_cpu(run, tmp_path):
    before = sorted(RESULTS.iterdir())
    done = run("gpu.py", "--device", "cpu", "--rivals", "none", "--rounds", "2", "--steps", "2",
               "--workloads", "seed-epoch", "evaluate", "packed-1", "--out", str(tmp_path))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "its figures say nothing about a GPU" in done.stderr
    assert "seed-epoch: minibnn left out: the CPU has no CUDA graphs" in done.stderr
    measured = pd.read_csv(tmp_path / "gpu.csv")
    assert dict(zip(measured.work, measured.contestant, strict=True)) == {
        "seed-epoch": "minibnn, plain steps", "evaluate": "minibnn", "packed-1": "minibnn",
    }  # fmt: skip
    assert len(measured) == 6
    assert set(measured.tf32) == {"off"}
    assert (measured.roofline > 0).all()
    assert (measured.agreement.dropna() == 1).all()
    assert done.stdout.count("\n| ") == 1 + 3
    assert '"tf32": "off"' in (tmp_path / "gpu.json").read_text()
    assert sorted(RESULTS.iterdir()) == before
    done = run("gpu.py", "--device", "cpu", "--out", str(RESULTS / "more"))
    assert done.returncode == 2
    assert "not a result of a GPU" in done.stderr


def test_rivals_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIBNN_RIVALS", str(tmp_path))
    here = Path(sys.executable)
    monkeypatch.setattr(gpu, "MODULES", {"pytorch": ("", "json"), "jax": ("", "no_such_module")})
    assert gpu.find_rivals(None, None) == {"pytorch": here}
    assert gpu.find_rivals(here, None) == {"pytorch": here}
    assert gpu.find_rivals(None, ["none"]) == {}
    own = tmp_path / "pytorch" / "bin"
    own.mkdir(parents=True)
    (own / "python").symlink_to(here)
    assert gpu.find_rivals(None, ["pytorch"])["pytorch"] == own / "python"
    assert gpu.find_rivals(here, ["pytorch"])["pytorch"] == here
    found, absent = gpu.contestants(
        gpu.WORKLOADS["seed-epoch"].contestants, {"pytorch": here}, "gpu"
    )
    assert {c.home: c.python for c in found} == {"minibnn": here, "pytorch": here}
    assert len(found) == 7
    assert absent == []
