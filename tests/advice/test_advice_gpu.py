"""The hints for a GPU that is full or in use, and for several; each is followed and helps."""

from __future__ import annotations

import logging
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from advice import advised, shows
from cublas_stand_in import Library
from devices import STRICT
from fake_cupy import failing, fake_cuda, fake_cupy

from minibnn import DeviceError, get_backend
from minibnn.backend import CPU, select
from minibnn.backend.capture.graphs import Graphs
from minibnn.backend.cuda import CupyBackend, cublas, open_gpu
from minibnn.backend.cuda.device import Device
from minibnn.backend.cuda.threads import here
from minibnn.backend.gpus import divide_gpus, share
from minibnn.distributed.choice import SUMS, choose
from minibnn.functions.signs import binary_sign


class OutOfMemoryError(MemoryError):
    """CuPy's, by name."""


FULL = [
    RuntimeError("cudaErrorMemoryAllocation: out of memory"),
    RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
    RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"),
    OutOfMemoryError("Out of memory allocating 512 bytes (allocated so far: 0 bytes)."),
]
TAKEN = [
    RuntimeError("cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable"),
    RuntimeError("cudaErrorDeviceAlreadyInUse: exclusive-thread device already in use"),
]


def refused():
    with pytest.raises(DeviceError) as caught:
        get_backend("gpu")
    assert caught.value.passing
    assert "pip" not in str(caught.value)
    return str(caught.value)


def works_now(install, caplog):
    """Another process has ended, so the next call finds a GPU."""
    assert get_backend("auto") is CPU
    install(fake_cupy())
    with caplog.at_level(logging.WARNING, logger="minibnn"):
        backend = get_backend("gpu")
    assert isinstance(backend, CupyBackend)
    assert get_backend("auto") is backend


@pytest.fixture
def keep(install, monkeypatch):
    """Another CuPy, while the earlier answer is still cached."""

    def keep(cupy):
        monkeypatch.setitem(sys.modules, "cupy", cupy)

    return keep


@pytest.mark.parametrize("stage", ["ones", "matmul"])
@pytest.mark.parametrize("error", FULL)
def test_a_full_gpu_is_asked_again(error, stage, keep, caplog):
    keep(fake_cupy(**{stage: failing(error)}))
    shows(
        "backend",
        "free memory on the GPU (nvidia-smi says who has it), or choose another GPU with "
        "CUDA_VISIBLE_DEVICES",
        refused(),
    )
    works_now(keep, caplog)


@pytest.mark.parametrize("stage", ["ones", "matmul"])
@pytest.mark.parametrize("error", TAKEN)
def test_a_gpu_that_another_process_has_is_asked_again(error, stage, keep, caplog):
    keep(fake_cupy(**{stage: failing(error)}))
    shows(
        "backend",
        "another process has the GPU to itself (nvidia-smi says which): wait for its end, or "
        "choose another GPU with CUDA_VISIBLE_DEVICES",
        refused(),
    )
    works_now(keep, caplog)


def test_any_other_error_is_remembered(keep):
    keep(fake_cupy(ones=failing(RuntimeError("cudaErrorNoKernelImageForDevice"))))
    for _ in range(2):
        with pytest.raises(DeviceError, match="NoKernelImage") as caught:
            get_backend("gpu")
        assert not caught.value.passing
        keep(fake_cupy())


def test_without_memory_for_graphs_there_is_no_gpu_for_now(install, monkeypatch):
    """Otherwise nothing would be captured for the rest of the process."""
    library = Library()
    library.cublasCreate_v2 = lambda handle: 3  # CUBLAS_STATUS_ALLOC_FAILED
    monkeypatch.setattr(cublas, "_load", lambda: library)
    monkeypatch.setattr(Graphs, "stream", lambda self: nullcontext())
    cupy = fake_cupy()
    cupy.cuda.get_current_stream = lambda: SimpleNamespace(ptr=7)
    install(cupy)
    assert "failed to multiply matrices: RuntimeError: cublasCreate answered" in refused()
    library.cublasCreate_v2 = lambda handle: 1  # not initialized, for whatever reason
    assert open_gpu().no_graphs == "RuntimeError: cublasCreate answered with status 1"


# --- Two GPUs -----------------------------------------------------------------------------------


@pytest.fixture
def second(install):
    """A fake CuPy with two GPUs, and the backend that was opened on the second one."""
    cupy = fake_cupy()
    install(cupy)
    with cupy.cuda.Device(1):
        backend = get_backend("gpu")
    assert backend.device.number == 1
    return cupy, backend


def on_gpu(cupy, number):
    with cupy.cuda.Device(number):
        return cupy.ones((2, 2), np.float32)


def multiply(cupy, *arrays):
    cupy.cuda.get_current_stream = lambda: SimpleNamespace(ptr=7)
    cupy.cuda.alloc = lambda size: SimpleNamespace(ptr=4096)
    with cupy.cuda.Device(1):
        products = cublas.Cublas(cupy, Device(cupy))
    products.multiply(*arrays, tf32=False)


@pytest.mark.parametrize("position", range(5))
def test_arrays_of_another_gpu_are_copied_to_the_own_one(position, second, monkeypatch):
    cupy, backend = second
    monkeypatch.setattr(cublas, "_load", Library)
    mine = on_gpu(cupy, 1)

    def work(a):
        with cupy.cuda.Device(1):
            if position == 0:
                backend.asarray(a)
            elif position == 1:
                backend.run(binary_sign, a)
            else:
                three = [mine, mine.copy(), mine.copy()]
                three[position - 2] = a
                multiply(cupy, *three)

    other = on_gpu(cupy, 0)
    with advised("backend", "copy it inside cupy.cuda.Device({}) with cupy.asarray(a)") as caught:
        work(other)
    assert "expected arrays on GPU 1, which it was opened on, got one on GPU 0" in caught.text
    with cupy.cuda.Device(1):
        copy = cupy.asarray(other)
    work(copy)


@pytest.mark.parametrize("position", range(3))
def test_work_belongs_to_the_gpu_of_the_backend(position, second, monkeypatch):
    """A new thread begins with GPU 0, whatever was current elsewhere."""
    cupy, backend = second
    monkeypatch.setattr(cublas, "_load", Library)
    mine = on_gpu(cupy, 1)
    work = (
        lambda: backend.asarray([1.0]),
        lambda: backend.kernels.each("signs", "binary_sign", np.float32, 4, (mine, mine)),
        lambda: multiply(cupy, mine, mine, mine.copy()),
    )[position]
    with advised("backend", "work inside cupy.cuda.Device({})") as caught:
        work()
    assert "expected GPU 1 to be current on this thread" in caught.text
    assert caught.text.endswith("got GPU 0; work inside cupy.cuda.Device(1)")
    with cupy.cuda.Device(1):
        work()


# --- Several processes --------------------------------------------------------------------------


@pytest.fixture
def start(install, monkeypatch):
    """A new process on a machine with so many GPUs, of which CUDA_VISIBLE_DEVICES leaves some."""

    def start(gpus, visible=None):
        monkeypatch.setattr(select, "_gpu", None)
        monkeypatch.setattr(share, "place", None)
        monkeypatch.setattr(share, "require_place", None)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        install(fake_cupy(cuda=fake_cuda(lambda: gpus)))

    return start


@pytest.mark.parametrize(
    ("gpus", "visible", "processes", "number"), [(2, None, 2, 1), (1, "1", 3, 0)]
)
def test_fewer_processes_or_one_gpu_for_each(gpus, visible, processes, number, start):
    start(2)
    divide_gpus(1, 3)
    with pytest.raises(DeviceError) as caught:
        get_backend("gpu")
    shows(
        "backend",
        "start at most {} on a machine, or set CUDA_VISIBLE_DEVICES to one GPU in each process, if "
        "the launcher gives each its own, or all are to share one",
        str(caught.value),
    )
    assert "start at most 2 on" in str(caught.value)
    start(gpus, visible)
    divide_gpus(1, processes)
    assert get_backend("gpu").device.number == number


def test_the_gpus_are_divided_before_one_is_opened(start):
    start(2)
    get_backend("gpu")
    with pytest.raises(DeviceError) as caught:
        divide_gpus(1, 2)  # as Ranks does
    shows(
        "backend",
        'make Ranks before anything asks for the GPU, such as to("gpu")',
        str(caught.value),
    )
    start(2)
    divide_gpus(1, 2)
    assert get_backend("gpu").device.number == 1


def test_threads_have_one_default_stream():
    stream = SimpleNamespace(ptr=2)
    runtime = SimpleNamespace(getDevice=lambda: 0)
    cuda = SimpleNamespace(get_current_stream=lambda: stream, runtime=runtime)
    with advised("backend", "unset CUPY_CUDA_PER_THREAD_DEFAULT_STREAM"):
        here(SimpleNamespace(cuda=cuda))
    stream.ptr = 0
    here(SimpleNamespace(cuda=cuda))


def test_the_ranks_choose_how_to_add_up(monkeypatch):
    mpi = pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))
    monkeypatch.setenv("MINIBNN_RANKS", "nccl")
    with advised("distributed", "unset MINIBNN_RANKS"):
        choose(mpi.COMM_SELF, STRICT, SUMS)
    monkeypatch.delenv("MINIBNN_RANKS")
    choose(mpi.COMM_SELF, STRICT, SUMS)
