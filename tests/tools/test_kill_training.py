"""The tool that kills trainings, run small."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "kill_training.py"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")


@pytest.fixture(scope="module")
def tool():
    import importlib.util

    spec = importlib.util.spec_from_file_location("kill_training", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*options):
    return subprocess.run(
        [sys.executable, str(TOOL), *options], capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize(("name", "kills"), [("KILL", 2), ("TERM", 1)])
def test_killed_trainings_end_byte_identical(name, kills):
    done = run("--signal", name, "--kills", str(kills), "--trainings", "stochastic")
    assert done.returncode == 0, done.stderr
    line, total = done.stdout.splitlines()
    assert line.startswith("stochastic")
    assert f" {kills} SIG{name}, " in line
    assert "1 trainings ended, byte-identical" in line
    assert total == f"{kills} in all"


def killer(tool, folder, number=9):
    return tool.Killer("stochastic", number, random.Random(0), folder)


def test_other_bytes_are_found(tool, tmp_path, monkeypatch):
    one = killer(tool, tmp_path)
    monkeypatch.setattr(one, "_uninterrupted", lambda: ({"history": "a", "model": "b"}, 1.0))

    def life(result, took, *, spared):
        one.kills += 1
        result.write_text(json.dumps({"history": "a", "model": "c"}))
        return True

    monkeypatch.setattr(one, "_one_life", life)
    with pytest.raises(SystemExit, match="stochastic: model differ after 1 kills"):
        one.run(1)


def test_a_checkpoint_that_is_not_whole_is_found(tool, tmp_path):
    one = killer(tool, tmp_path)
    one._check_checkpoint()  # none yet
    one.path.write_bytes(b"half")
    with pytest.raises(ValueError, match="expected a whole safetensors file"):
        one._check_checkpoint()


def test_a_checkpoint_that_is_gone_is_found(tool, tmp_path):
    from minibnn.training.checkpoint_file import write_checkpoint

    one = killer(tool, tmp_path)
    write_checkpoint(str(one.path), {}, {})
    one._check_checkpoint()
    one.path.unlink()
    with pytest.raises(SystemExit, match="a kill left no checkpoint"):
        one._check_checkpoint()


@pytest.mark.parametrize(
    ("code", "said", "slowest", "found"),
    [
        (143, "", 1.0, None),
        (130, "", 1.0, "expected exit code 143, got 130"),
        (143, "Traceback", 1.0, "expected exit code 143, got 143"),
        (143, "", 60.0, "ended 60.0 s after the signal"),
    ],
)
def test_a_wrong_ending_is_found(tool, tmp_path, code, said, slowest, found):
    one = killer(tool, tmp_path, number=15)
    one.slowest = slowest
    if found is None:
        one._check_ending(code, said)
        return
    with pytest.raises(SystemExit, match=found):
        one._check_ending(code, said)
