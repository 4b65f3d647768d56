"""The part `ranks`, and what it reads."""

from __future__ import annotations

import copy
import json
import sys

import pytest

from confirm import ranks
from confirm.setting import CUT_OFF, FAILED, NOT_RUN, OK

ONE = {
    "ranks": 1, "gpus": ["0000:01"], "refused": {}, "accuracy": 0.9,
    "runs": [{"mode": "exact", "by": "host", "digest": "e", "ms": 9.0},
             {"mode": "sum", "by": "host", "digest": "s", "ms": 4.0}],
}  # fmt: skip
TWO = {
    "ranks": 2, "gpus": ["0000:01", "0000:02"], "refused": {"mpi": "it does not say so"},
    "accuracy": 0.9,
    "runs": [{"mode": "exact", "by": "host", "digest": "e", "ms": 6.0},
             {"mode": "sum", "by": "nccl", "digest": "t", "ms": 2.5},
             {"mode": "sum", "by": "host", "digest": "t", "ms": 3.0}],
}  # fmt: skip


def changed(place, **values):
    two = copy.deepcopy(TWO)
    (two if place is None else two["runs"][place]).update(values)
    return two


@pytest.mark.parametrize(
    ("two", "gpus", "status", "line"),
    [
        (TWO, 2, OK,
         "two ranks on two GPUs give one rank's bits (exact); a step (sum): nccl 2.5 ms, host 3.0 "
         "ms, one rank 4.0 ms; not by mpi: it does not say so"),
        (changed(None, gpus=["a", "a"]), 1, OK,
         "two ranks on one GPU give one rank's bits (exact); a step (sum): nccl 2.5 ms, host 3.0 "
         "ms, one rank 4.0 ms; not by mpi: it does not say so"),
        (changed(None, gpus=["a", "a"]), 4, FAILED, "two ranks have one GPU, a, of 4"),
        (changed(0, digest="f"), 2, FAILED,
         "exact, by host: two ranks do not give the bits of one"),
        (changed(1, digest="u"), 2, FAILED, "sum: nccl and host do not give the same bits"),
    ],
)  # fmt: skip
def test_the_findings_of_one_rank_and_of_two(two, gpus, status, line):
    outcome = ranks.read_ranks(ONE, two, gpus)
    assert (outcome.status, outcome.line) == (status, line)
    assert outcome.details["one"] is ONE


@pytest.fixture
def runs(monkeypatch):
    """What was started; it answers with the findings above."""
    asked = []

    def run(command, seconds):
        asked.append((command, seconds))
        return 0, "a line\n" + json.dumps(ONE if "1" in command else TWO)

    monkeypatch.setattr(ranks, "run", run)
    monkeypatch.setattr(ranks, "mpirun", lambda: "/bin/mpirun")
    return asked


@pytest.mark.parametrize("gpus", [1, 2])
def test_one_gpu_is_shared_and_two_are_divided(gpus, runs):
    assert ranks.ranks(80.0, {"gpus": gpus}).status == OK
    for count, (command, seconds) in zip("12", runs, strict=True):
        assert command[0] == "env"
        assert command[-5:] == ["/bin/mpirun", "-n", count, sys.executable, str(ranks.SCRIPT)]
        assert ("CUDA_VISIBLE_DEVICES=0" in command) == (gpus == 1)
        assert seconds == 40.0


def test_one_gpu_that_is_for_one_process(runs):
    assert ranks.ranks(80.0, {"gpus": 1, "compute_mode": 3}).status == NOT_RUN
    assert not runs
    assert ranks.ranks(80.0, {"gpus": 2, "compute_mode": 3}).status == OK


def test_without_a_launcher(monkeypatch, tmp_path):
    monkeypatch.setattr(ranks.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = ranks.ranks(80.0, {"gpus": 1})
    assert (outcome.status, outcome.line.partition(";")[0]) == (NOT_RUN, "there is no mpirun")
    launcher = tmp_path / "mpirun"
    launcher.write_text("#!/bin/sh")
    launcher.chmod(0o755)
    assert ranks.mpirun() == str(launcher)


@pytest.mark.parametrize(
    ("code", "output", "status", "line"),
    [
        (None, "..", CUT_OFF, "during 1 of 2 ranks"),
        (75, "rank 0 of 1: waited", FAILED, "1 of 2 ranks ended with 75: rank 0 of 1: waited"),
        (0, "", FAILED, "1 of 2 ranks ended with 0: nothing"),
    ],
)
def test_ranks_that_end_otherwise(code, output, status, line, runs, monkeypatch):
    monkeypatch.setattr(ranks, "run", lambda command, seconds: (code, output))
    outcome = ranks.ranks(80.0, {"gpus": 2})
    assert (outcome.status, outcome.line) == (status, line)
