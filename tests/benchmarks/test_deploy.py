"""benchmarks/deploy.py: its tables and its files."""

from __future__ import annotations

import pandas as pd


def test_each_form_that_can_run_is_measured(run, tmp_path):
    done = run("deploy.py", "--rivals", "none", "--threads", "1", "--epochs", "1", "--rounds", "1",
               "--batches", "1", "--calls", "20", "--out", str(tmp_path))  # fmt: skip
    assert done.returncode == 0, done.stderr
    measured = pd.read_csv(tmp_path / "deploy.csv")
    forms = {"packed NumPy", "minibnn's float model", "NumPy, folded floats"}
    if "C left out" not in done.stderr:
        forms |= {"C -O3 -march=native", "C -O2", "C -O3 -march=native from Python"}
        assert "compiled C / form" in done.stdout
    assert set(measured.contestant) == forms
    assert (measured.agreement >= 0.99).all()
    assert (measured.agreement[~measured.contestant.str.contains("float")] == 1).all()
    latency = measured[measured.work == "latency"].set_index(["batch", "contestant", "repeat"])
    assert len(latency) == len(forms)
    assert latency.index.is_unique
    assert latency.value.between(1e-7, 10).all()
    if "C -O2" in forms:
        pair = latency.value[1].unstack("contestant")
        ratio = (pair["C -O3 -march=native"] / pair["packed NumPy"]).median()
        assert f"{ratio:.3g} (" in next(r for r in done.stdout.splitlines() if "packed NumPy" in r)
    shipped = measured.groupby("contestant").shipped.first()
    assert shipped["packed NumPy"] < 17_000 < 20 * 17_000 < shipped["minibnn's float model"]
    assert "Shipped: C: code and constants; " in done.stdout
    memory = measured[measured.work == "memory"].groupby("contestant").value.median()
    assert len(memory) in (0, len(forms))  # Linux alone
    assert (memory.drop("packed NumPy", errors="ignore") < 100).all()
    assert '"recipe": "modern"' in (tmp_path / "deploy.json").read_text()
