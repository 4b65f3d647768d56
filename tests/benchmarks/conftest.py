"""Fixtures for the tests of the benchmarks, which run on the bundled sample without rivals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import environment

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def run(tmp_path):
    """Run a script on the bundled sample."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MINIBNN_")}
    environment |= {"MINIBNN_OFFLINE": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", str(BENCHMARKS / script), *options],
            capture_output=True, text=True, env=environment, timeout=300,
        )  # fmt: skip

    return run


@pytest.fixture
def results_folder(monkeypatch, tmp_path):
    """Results go to a temporary folder."""
    monkeypatch.setattr(environment, "RESULTS", tmp_path)
    return tmp_path
