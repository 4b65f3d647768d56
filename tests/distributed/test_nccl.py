"""Sums by NCCL, whose place a module takes that sums what is at an address."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import strictcuda
import strictdev
from devices import STRICT
from fake_nccl import NAME, fake_nccl

from minibnn.distributed.nccl import TYPES, Nccl

MPI = pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))


@pytest.fixture
def nccl(monkeypatch):
    """NCCL for the stand-in for CuPy."""
    module = fake_nccl()
    monkeypatch.setitem(sys.modules, NAME, module)
    return module


@pytest.mark.parametrize("dtype", TYPES)
def test_a_sum_is_queued_and_nobody_waits(nccl, dtype):
    transport = Nccl(MPI.COMM_WORLD, STRICT)
    a = STRICT.asarray(np.arange(12).reshape(3, 4).astype(dtype))
    with strictdev.no_sync():
        assert transport.sum(a) is a  # in place
        turned = transport.sum(a.T)
    np.testing.assert_array_equal(STRICT.to_host(turned), STRICT.to_host(a).T)
    assert turned.dtype == dtype
    assert turned.flags.c_contiguous  # a copy: NCCL adds up what is at an address
    assert transport.sum(a[0, 0]).shape == ()


def test_it_is_queued_on_the_current_stream(nccl):
    transport = Nccl(MPI.COMM_WORLD, STRICT)
    streams = transport._communicator.streams
    a = STRICT.asarray(np.ones(2))
    transport.sum(a)
    with strictdev.cuda.Stream() as stream:
        transport.sum(a)
    assert streams == [strictcuda.default_stream.ptr, stream.ptr]


@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_numbers_that_nccl_does_not_know_go_through_main_memory(nccl, dtype):
    a = STRICT.asarray(np.arange(3).astype(dtype))
    with strictdev.count_readbacks() as read:
        total = Nccl(MPI.COMM_WORLD, STRICT).sum(a)
    assert read.count == 1
    assert total.dtype == dtype
    np.testing.assert_array_equal(STRICT.to_host(total), [0, 1, 2])


def test_what_it_is_called(nccl):
    assert Nccl(MPI.COMM_WORLD, STRICT).words == "on the GPUs, by NCCL 2.28.9"


def test_a_cupy_with_it_and_without_it(nccl, monkeypatch):
    assert Nccl.why_not(MPI.COMM_WORLD, STRICT) == ""
    nccl.available = False  # CuPy's module is there without its library
    assert Nccl.why_not(MPI.COMM_WORLD, STRICT) == "CuPy does not find it"
    monkeypatch.delitem(sys.modules, NAME)
    assert Nccl.why_not(MPI.COMM_WORLD, STRICT).startswith("CuPy does not find it (")


def test_rank_0_has_no_identity_to_give(nccl):
    """All ranks have to hear of it: they wait for one."""

    def fail():
        raise OSError("no network")

    nccl.get_unique_id = fail
    with pytest.raises(RuntimeError, match=r"^OSError: no network$"):
        Nccl(MPI.COMM_WORLD, STRICT)


def test_cupys_own_module_has_what_is_called():
    """It can be imported without a GPU, if CuPy and NCCL are installed."""
    real = pytest.importorskip("cupy.cuda.nccl")
    if not real.available:
        pytest.skip("CuPy does not find NCCL")
    fake = fake_nccl()
    for name in [n for n in vars(fake) if n.startswith("NCCL_")]:
        assert getattr(real, name) == getattr(fake, name)
    assert real.get_version() > 20_000
    assert [type(m.get_unique_id()) for m in (real, fake)] == [bytes, bytes]
    called = "allReduce(self, intptr_t sendbuf, intptr_t recvbuf, size_t count, int datatype, int op, intptr_t stream)"
    assert called in real.NcclCommunicator.allReduce.__doc__
