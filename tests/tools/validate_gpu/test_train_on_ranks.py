"""The script that mpirun starts on a GPU, on one rank of the stand-in."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import pytest
from devices import STRICT
from fake_nccl import NAME, fake_nccl
from few_images import few_images

import train_on_ranks
from minibnn import Ranks
from minibnn.distributed.choice import MESSAGES, SUMS, VARIABLE

pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))


@pytest.fixture
def small_batches(monkeypatch):
    recipe = replace(train_on_ranks.RECIPES["modern"](), batch_size=20)
    monkeypatch.setattr(train_on_ranks, "RECIPES", {"modern": lambda: recipe})


def test_its_findings(small_batches):
    ranks = Ranks("sum")
    found = train_on_ranks.findings(ranks, STRICT, few_images(80, 20), images=50)
    assert (found["ranks"], len(found["gpus"]), found["refused"]) == (1, 1, {})
    assert [(run["mode"], run["by"]) for run in found["runs"]] == [
        ("exact", "host"),
        ("sum", "host"),
    ]
    assert VARIABLE not in os.environ
    again = train_on_ranks.findings(ranks, STRICT, few_images(80, 20), images=50)
    for one, other in zip(found["runs"], again["runs"], strict=True):
        assert one["digest"] == other["digest"]
        assert one["ms"] > 0
    assert found["accuracy"] == again["accuracy"]
    other = train_on_ranks.findings(ranks, STRICT, few_images(80, 20), images=40)
    assert other["runs"][0]["digest"] != found["runs"][0]["digest"]


def test_which_transports_are_tried(monkeypatch):
    ranks = Ranks("sum")
    monkeypatch.setenv(VARIABLE, "nccl")
    assert "CuPy does not find it" in train_on_ranks.why_not(ranks, STRICT, "nccl", SUMS)
    monkeypatch.setitem(sys.modules, NAME, fake_nccl())
    assert train_on_ranks.why_not(ranks, STRICT, "nccl", SUMS) == ""

    def fail(*arguments):
        raise RuntimeError("no way between the GPUs")

    monkeypatch.setitem(sys.modules, NAME, fake_nccl(NcclCommunicator=fail))
    assert "no way between" in train_on_ranks.why_not(ranks, STRICT, "nccl", SUMS)
    # An MPI that does not say that it takes the arrays is not tried: it may crash.
    monkeypatch.setenv(VARIABLE, "mpi")
    assert "does not say" in train_on_ranks.why_not(ranks, STRICT, "mpi", MESSAGES)
