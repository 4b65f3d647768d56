"""benchmarks/harness/rivals.py: where a rival's environment is, and how it is installed."""

from __future__ import annotations

import sys

import numpy as np

from harness import rivals


def test_an_environment_is_created_once_and_updated(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIBNN_RIVALS", str(tmp_path))
    made, ran = [], []

    def create(folder, **options):
        made.append(folder)
        python = rivals.python_of("jax")
        python.parent.mkdir(parents=True)
        python.touch()

    monkeypatch.setattr(rivals.venv, "create", create)
    monkeypatch.setattr(rivals.subprocess, "run", lambda command, **options: ran.append(command))
    for _ in range(2):
        rivals.install("jax")
    assert made == [tmp_path / "jax"]
    assert [command[0] for command in ran] == [rivals.python_of("jax")] * 2
    assert ran[0][-1] == rivals.REQUIREMENTS / "jax.txt"
    assert ran[0][-1].exists()
    assert rivals.installed() == ["jax"]


def test_versions_are_those_of_the_requirements():
    found = rivals.versions("jax", sys.executable)
    assert found["python"] == sys.version.split()[0]
    assert found["numpy"] == np.__version__
    assert found.keys() <= {"python", "jax", "numpy"}
