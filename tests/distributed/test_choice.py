"""Which transport is chosen for a device; `test_on_gpus.py` has more ranks than one."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import strictdev
from devices import STRICT
from fake_nccl import NAME, fake_nccl

from minibnn.distributed import choice
from minibnn.distributed.choice import MESSAGES, SUMS, VARIABLE, Transports, choose
from minibnn.distributed.nccl import Nccl
from minibnn.distributed.transport import CudaAware, Transport
from minibnn.distributed.watch import Watch

MPI = pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def nccl(monkeypatch):
    module = fake_nccl()
    monkeypatch.setitem(sys.modules, NAME, module)
    return module


@pytest.fixture
def chosen(caplog):
    """Choose, and say what rank 0 has logged."""

    def choose_and_tell(kinds):
        with caplog.at_level(logging.INFO, logger="minibnn"):
            caplog.clear()
            found = choose(MPI.COMM_WORLD, STRICT, kinds)
        assert [record.levelname for record in caplog.records] == ["INFO"]
        return type(found), caplog.messages[0]

    return choose_and_tell


def test_the_fastest_that_there_is(nccl, chosen, monkeypatch):
    assert chosen(SUMS) == (Nccl, "1 ranks add up on the GPUs, by NCCL 2.28.9")
    kind, text = chosen(MESSAGES)
    assert kind is Transport
    assert text.startswith("1 ranks add up through main memory (not by mpi: ")
    monkeypatch.setattr(CudaAware, "why_not", lambda comm, backend: "")
    assert chosen(MESSAGES) == (CudaAware, "1 ranks add up on the GPUs, by MPI")
    nccl.available = False
    kind, text = chosen(SUMS)
    assert kind is CudaAware
    assert text.endswith("by MPI (not by nccl: CuPy does not find it)")


def test_an_nccl_that_cannot_connect_is_not_used(nccl, chosen):
    def fail(*arguments):
        raise RuntimeError("NCCL_ERROR_SYSTEM_ERROR: unhandled system error")

    nccl.NcclCommunicator = fail
    kind, text = chosen(SUMS)
    assert kind is Transport
    assert "not by nccl: RuntimeError: NCCL_ERROR_SYSTEM_ERROR: unhandled" in text


def test_one_that_adds_up_wrongly_is_not_used(nccl, chosen, monkeypatch):
    monkeypatch.setattr(Nccl, "sum", lambda self, a: a + 1)
    kind, text = chosen(SUMS)
    assert kind is Transport
    assert "not by nccl: ones of 1 ranks add up to [2. 2. 2.]" in text


def test_the_variable_chooses(nccl, chosen, monkeypatch):
    for name, kind in (("nccl", Nccl), ("mpi", CudaAware), ("host", Transport)):
        monkeypatch.setenv(VARIABLE, name)
        assert chosen(SUMS)[0] is kind
    monkeypatch.setenv(VARIABLE, "")
    assert chosen(SUMS)[0] is Nccl


def test_another_name_in_the_variable(monkeypatch):
    monkeypatch.setenv(VARIABLE, "gloo")
    with pytest.raises(
        ValueError, match=r"^MINIBNN_RANKS: expected nccl or mpi or host, got 'gloo'"
    ):
        choose(MPI.COMM_WORLD, STRICT, SUMS)
    monkeypatch.setenv(VARIABLE, "nccl")
    with pytest.raises(ValueError, match=r"^MINIBNN_RANKS: expected mpi or host, got 'nccl'"):
        choose(MPI.COMM_WORLD, STRICT, MESSAGES)


def test_what_the_variable_names_has_to_work(monkeypatch):
    monkeypatch.setenv(VARIABLE, "nccl")
    with pytest.raises(
        RuntimeError,
        match=r"^MINIBNN_RANKS: expected nccl to work, got CuPy does not .*; unset MINIBNN_RANKS$",
    ):
        choose(MPI.COMM_WORLD, STRICT, SUMS)


@pytest.mark.parametrize(
    ("gpus", "said"),
    [
        ([("a", "1"), ("a", "2"), ("b", "1")], ""),
        ([("a", "1"), ("b", "1"), ("a", "1")], "ranks 0, 2 share one GPU"),
    ],
)
def test_ranks_that_share_a_gpu_cannot_use_nccl(gpus, said, nccl, chosen, monkeypatch):
    assert choice._sharing(gpus) == said
    monkeypatch.setattr(choice, "_sharing", lambda gpus: said)
    assert chosen(SUMS)[0] is (Transport if said else Nccl)


@pytest.mark.parametrize(
    ("reasons", "said"),
    [(["", ""], ""), (["no", "no"], "no"), (["", "no"], "no, on rank 1"), (["a", "b"], "a, on rank 0")],
)  # fmt: skip
def test_whose_reason_it_is(reasons, said):
    assert choice._said(reasons) == said


def test_one_transport_for_each_device(nccl, caplog):
    transports = Transports(MPI.COMM_WORLD, Watch("this test", 60, MPI.COMM_WORLD.Abort), SUMS)
    with caplog.at_level(logging.INFO, logger="minibnn"):
        host = transports.of(np.zeros(3))
        assert type(host) is Transport
        assert not caplog.messages  # nothing to choose
        found = [transports.of(strictdev.zeros(n)) for n in (1, 2)]
    assert found[0] is found[1]
    assert isinstance(found[0], Nccl)
    assert len(caplog.messages) == 1
    assert transports.of(np.float64(3)) is host


def test_a_choice_is_watched(monkeypatch):
    """A rank that waits for one that does not choose has to end."""
    watch = Watch("this test", 60, MPI.COMM_WORLD.Abort)
    monkeypatch.setattr(choice, "choose", lambda *arguments: SimpleNamespace(since=watch._since))
    assert Transports(MPI.COMM_WORLD, watch, SUMS).of(strictdev.zeros(1)).since is not None
