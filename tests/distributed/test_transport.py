"""Arrays in messages: through main memory, and from a device by an MPI that takes its arrays."""

from __future__ import annotations

import numpy as np
import pytest
import strictdev
from devices import STRICT
from strictdev import ReadTooEarly

from minibnn.backend import CPU
from minibnn.distributed.transport import CudaAware, Transport

MPI = pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))
A = np.arange(6, dtype=np.float32).reshape(2, 3)


def on_device(a):
    return STRICT.asarray(a.copy())


@pytest.mark.parametrize(("kind", "on"), [(Transport, CPU), (Transport, STRICT), (CudaAware, STRICT)])  # fmt: skip
@pytest.mark.parametrize("make", [lambda a: a, lambda a: a.T, lambda a: a[0, 1]], ids=["", "T", "0d"])  # fmt: skip
def test_a_sum_of_one_rank(kind, on, make):
    a = make(on.asarray(A.copy()))
    total = kind(MPI.COMM_SELF, on).sum(a)
    assert (total.shape, total.dtype) == (np.shape(make(A)), A.dtype)
    np.testing.assert_array_equal(on.to_host(total), make(A))


def test_main_memory_is_read_back_from_a_device_and_uploaded_again():
    transport = Transport(MPI.COMM_SELF, STRICT)
    with strictdev.count_readbacks() as read, strictdev.count_uploads() as sent:
        out = transport.out(on_device(A).T)
        assert isinstance(out, np.ndarray)
        assert out.flags.c_contiguous
        assert isinstance(transport.back(out), strictdev.ndarray)
    assert (read.count, sent.count) == (1, 2)  # one by on_device
    assert transport.xp is np


def test_what_may_not_be_written_is_copied():
    a = np.broadcast_to(np.float32(2), (3,))
    np.testing.assert_array_equal(Transport(MPI.COMM_SELF, CPU).sum(a), [2, 2, 2])


def test_mpi_gets_the_devices_own_memory_after_the_stream_is_done():
    transport = CudaAware(MPI.COMM_SELF, STRICT)
    a = on_device(A) * 2
    out = transport.out(a)
    assert transport.back(out) is out
    with pytest.raises(ReadTooEarly):
        out.__cuda_array_interface__  # noqa: B018
    transport.ready()
    assert out.__cuda_array_interface__["data"] == (a.data.ptr, False)
    with strictdev.count_uploads() as sent:
        np.testing.assert_array_equal(STRICT.to_host(transport.sum(on_device(A).T)), A.T)
    assert sent.count == 1  # by on_device
    assert transport.xp is strictdev


def test_what_can_be_used_at_all():
    assert Transport.why_not(MPI.COMM_SELF, STRICT) == ""
    assert "does not say" in CudaAware.why_not(MPI.COMM_SELF, STRICT)
