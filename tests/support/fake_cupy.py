"""A module that looks like CuPy as far as opening a GPU goes, on a machine with one GPU or two."""

from __future__ import annotations

import types
from types import SimpleNamespace

import numpy as np


class Gpu(np.ndarray):
    """An array on one of the GPUs."""

    def __array_finalize__(self, like):
        self.device_id = getattr(like, "device_id", 0)

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data, device_id=self.device_id)


class FakeModule:
    """CuPy's RawModule without a compiler, as far as the check of a GPU needs it."""

    def __init__(self, code, options):
        assert "KERNEL binary_sign(" in code

    def get_function(self, name):
        def run(blocks, threads, arguments):
            y, x, _ = arguments
            y[...] = np.where(x >= 0, 1, -1)

        assert name == "binary_sign"
        return run


def fake_cuda(count=lambda: 1, capability=(9, 0), nvrtc=(13, 2)):
    """`cupy.cuda`; the current GPU is `runtime.current`, or the one whose `Device` is in use."""
    major, minor = capability
    runtime = SimpleNamespace(current=0, getDeviceCount=count)
    runtime.getDevice = lambda: runtime.current
    runtime.runtimeGetVersion = lambda: 13020
    runtime.getDeviceProperties = lambda number: {
        "major": major, "minor": minor, "name": b"Imagined GPU"
    }  # fmt: skip

    class Device:
        def __init__(self, number):
            self.id = number

        def use(self):
            runtime.current = self.id

        def __enter__(self):
            self.before, runtime.current = runtime.current, self.id

        def __exit__(self, *error):
            runtime.current = self.before

    compiler = SimpleNamespace(getVersion=lambda: nvrtc)
    return SimpleNamespace(runtime=runtime, nvrtc=compiler, Device=Device)


def fake_cupy(**changes):
    """A module that looks like a working CuPy as far as the check goes."""
    cupy = types.ModuleType("cupy")
    cupy.__version__ = "14.2.0"
    cupy.ndarray = Gpu
    cupy.RawModule = FakeModule
    cupy.empty_like = np.empty_like
    cupy.ascontiguousarray = lambda a: a
    cupy.cuda = fake_cuda()
    cupy.matmul = np.matmul

    def on_current(a):
        """A copy on the current GPU, unless it is there."""
        current = cupy.cuda.runtime.current
        if getattr(a, "device_id", None) != current:
            a = np.array(a).view(Gpu)
            a.device_id = current
        return a

    cupy.asarray = lambda a, dtype=None: on_current(np.asanyarray(a, dtype))
    cupy.ones = lambda shape, dtype: on_current(np.ones(shape, dtype))
    cupy.empty = lambda shape, dtype: on_current(np.empty(shape, dtype))
    vars(cupy).update(changes)
    return cupy


def failing(error):
    """A function that raises it."""

    def fail(*args, **kwargs):
        raise error

    return fail


# The stages of opening a GPU, each with a CuPy that fails there.
FAILING_STAGES = {
    "import CuPy": None,
    "find a CUDA device": fake_cupy(cuda=fake_cuda(count=lambda: 0)),
    "compile and run a kernel": fake_cupy(ones=failing(RuntimeError("libnvrtc.so not found"))),
    "multiply matrices": fake_cupy(matmul=failing(OSError("libcublas.so not found"))),
}
