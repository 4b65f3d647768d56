"""benchmarks/harness/environment.py: the machine, and files that survive a kill."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fuzz_writer import killed_everywhere

from harness import environment

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.mark.skipif(os.name != "posix", reason="the steps are counted as they are there")
@pytest.mark.parametrize("writer", ["save", "save_run"])
def test_a_kill_at_any_step_hurts_no_result(tmp_path, monkeypatch, writer):
    monkeypatch.setattr(environment, "environment", lambda *_: {})
    table = pd.DataFrame([{"work": "w", "round": 0, "seconds": 0.25}])

    def write(out):
        monkeypatch.setattr(environment, "RESULTS", out)
        if writer == "save":
            environment.save("r", table)
        else:
            environment.save_run(out, "r", table, [], 1, [])

    names = {"save": ["r.json"], "save_run": ["r.csv", "r.json"]}[writer]
    killed_everywhere(tmp_path, write, names)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_machine_describes_this_process(threads):
    """OpenBLAS's kernels and threads, and minibnn's backend, as the variables set them."""
    variables = {"OPENBLAS_NUM_THREADS": threads, "MINIBNN_COMPILED": "0"}
    haswell = platform.machine() == "x86_64" and threads == "1"
    variables |= {"OPENBLAS_CORETYPE": "Haswell"} if haswell else {}
    code = "import json, numpy; from harness import environment; print(json.dumps(environment.machine()))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS), **variables},
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["numpy"] == np.__version__
    assert found["backend"] == "NumpyBackend"
    assert found["variables"].items() >= variables.items()
    assert found["processor"]
    if "openblas" in found["blas"]:
        assert found["blas_threads"] == min(int(threads), os.cpu_count())
        assert not haswell or found["blas"].endswith(" Haswell")
    checkout = (BENCHMARKS.parent / ".git").exists()
    assert bool(re.fullmatch(r"[0-9a-f]{12}\+?", found["commit"])) == checkout
