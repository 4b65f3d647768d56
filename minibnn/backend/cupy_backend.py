"""The GPU: CuPy. Imported only when a GPU is asked for."""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import math
import sys
import warnings
from functools import partial
from types import ModuleType
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from minibnn.backend.adam import AdamStep
from minibnn.backend.array import Array
from minibnn.backend.base import DeviceError
from minibnn.backend.cublas import Cublas, fits
from minibnn.backend.cuda import Kernels, floats
from minibnn.backend.cupy_bits import CupyBits
from minibnn.backend.cupy_channels import CupyChannels
from minibnn.backend.cupy_classes import CupyClasses
from minibnn.backend.cupy_steps import CupySteps
from minibnn.backend.cupy_windows import CupyWindows
from minibnn.backend.hashing import places, stream_keys
from minibnn.backend.kept_signs import KeptSigns
from minibnn.backend.questions import questions


class CupyBackend(CupyClasses, CupyChannels, CupySteps, CupyWindows, CupyBits):
    """Arrays in the memory of a CUDA device.

    Attributes:
        tf32: whether products of float32 may round their factors to 10 bits of mantissa, as
            NVIDIA's tensor cores want them. Off at first: the fast products are not those that the
            CPU computes. Products of signs with signs are exact in this form too, and always take
            it.
    """

    name = "gpu"
    host = False

    def __init__(self, cupy: ModuleType) -> None:
        self.xp = cupy
        self.array_type = cupy.ndarray
        self.kernels = Kernels(cupy)
        self.tf32 = False
        self._cublas: Cublas | None = None
        # What `signs` has given, as long as it lives, by id; each thread may add to it.
        self._signs: WeakValueDictionary[int, Array] = WeakValueDictionary()

    def asarray(self, a: Any, dtype: Any = None) -> Array:
        """`a` on the device; a host array is copied there."""
        return self.xp.asarray(a, dtype=dtype)

    def to_host(self, a: Array) -> np.ndarray[Any, Any]:
        """`a` copied to the host, after waiting for it."""
        host: np.ndarray[Any, Any] = self.xp.asnumpy(a)
        return host

    def keep_signs(self, stores: list[Array], weights: list[Array]) -> KeptSigns:
        """They cost Adam a write, and save each layer a read, a write and a launch."""
        return KeptSigns(stores, weights, self.address)

    def address(self, a: Array) -> int:
        """Of its first value."""
        return int(a.data.ptr)

    def prove_recording(self) -> None:
        """Find out whether work can be recorded, by recording some; set `records`."""
        try:
            self._cublas = Cublas(self.xp)
            x, y = self.xp.ones((2, 2), np.float32), self.xp.empty((2, 2), np.float32)

            def work() -> None:
                self.matmul(self.binarize(x), x, out=y)

            with self.stream():
                work()
                recording = self.record(work, times=2)
                x.fill(-3)
                recording.replay()
            if float(y.sum()) != 24.0:
                raise RuntimeError("a recorded product gave a wrong result")
            self.records = True
        # Libraries, drivers and graphs fail in their own ways; training works without recording.
        except Exception as error:
            self._cublas, self.records = None, False
            self.records_not = f"{type(error).__name__}: {error}"

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """The matrix product ``a @ b``; matrices of one float type by our own handle of cuBLAS."""
        if self._cublas is None or not floats(a, b) or a.ndim != b.ndim or a.ndim not in (2, 3):
            return super().matmul(a, b, out)
        if a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
            return super().matmul(a, b, out)  # which says what is wrong, or broadcasts
        shape = (*a.shape[:-1], b.shape[-1])
        if out is None or (out.shape, out.dtype) != (shape, a.dtype) or not out.flags.c_contiguous:
            target = self.xp.empty(shape, a.dtype)
        else:
            target = out
        tf32 = self.tf32 or (self.known_signs(a) and self.known_signs(b))
        triples: Any = [(a, b, target)] if a.ndim == 2 else zip(a, b, target, strict=True)
        for left, right, product in triples:
            left = left if fits(left) else self.xp.ascontiguousarray(left)
            right = right if fits(right) else self.xp.ascontiguousarray(right)
            self._cublas.multiply(left, right, product, tf32=tf32)
        if out is not None and target is not out:
            out[...] = target
            return out
        return target

    def half_matmul(self, a: Array, b: Array) -> Array:
        """As the plain body, on tensor cores, which add up in float32."""
        if self._cublas is None:
            return super().half_matmul(a, b)
        product = self.xp.empty((len(a), b.shape[1]), np.float32)
        a, b = (m if fits(m) else self.xp.ascontiguousarray(m) for m in (a, b))
        self._cublas.multiply(a, b, product, tf32=False)
        return product

    def binarize(self, x: Array) -> Array:
        """As the plain body, in one kernel; or none, if the signs lie ready."""
        asked = questions()
        kept = None if asked is None or asked.signs is None else asked.signs.of(x)
        if kept is not None:
            return kept
        if not floats(x):
            return super().binarize(x)
        x = self.xp.ascontiguousarray(x)
        y = self.xp.empty_like(x)
        self.kernels.each("elementwise", "binarize", x.dtype, x.size, (y, x))
        return y

    def signs(self, x: Array) -> Array:
        """As the plain body; products of two such arrays then go to the tensor cores."""
        y = self.binarize(x)
        self._signs[id(y)] = y
        return y

    def known_signs(self, a: Array) -> bool:
        """Whether `signs` has given this very array."""
        return self._signs.get(id(a)) is a

    def rescale(self, x: Array, scale: float, offset: float, dtype: Any) -> Array:
        """As the plain body, in one kernel; for bytes."""
        if x.dtype != np.uint8:
            return super().rescale(x, scale, offset, dtype)
        x = self.xp.ascontiguousarray(x)
        y = self.xp.empty(x.shape, dtype)
        number = y.dtype.type
        arguments = (y, x, number(scale), number(offset))
        self.kernels.each("elementwise", "rescale", dtype, x.size, arguments)
        return y

    def gate(self, dy: Array, x: Array, limit: float) -> Array:
        """As the plain body, in one kernel."""
        if not floats(dy, x) or dy.shape != x.shape:
            return super().gate(dy, x, limit)
        dy, x = self.xp.ascontiguousarray(dy), self.xp.ascontiguousarray(x)
        dx = self.xp.empty_like(dy)
        arguments = (dx, dy, x, x.dtype.type(limit))
        self.kernels.each("elementwise", "gate", x.dtype, x.size, arguments)
        return dx

    def affine(self, shift: Array, *terms: tuple[Array, Array]) -> Array:
        """As the plain body, in one kernel."""
        arrays = [self.xp.ascontiguousarray(a) for a in (shift, *(a for t in terms for a in t))]
        x = arrays[2]
        if not floats(*arrays) or x.ndim != 2 or len(terms) > 2:
            return super().affine(shift, *terms)
        y = self.xp.empty_like(x)
        second = arrays[3:] if len(terms) == 2 else (None, None)
        arguments = (y, *arrays[:3], *second, np.int64(x.shape[1]))
        self.kernels.each("elementwise", "affine", x.dtype, x.size, arguments)
        return y

    def uniform(self, shape: tuple[int, ...], seed: int, count: int, dtype: Any) -> Array:
        """As the plain body, in one kernel."""
        places(shape)
        u = self.xp.empty(shape, dtype=dtype)
        k0, k1 = self.numbers(partial(stream_keys, seed), count, np.uint32)
        arguments = (u, *self._number(k0, np.uint32), *self._number(k1, np.uint32))
        self.kernels.each("elementwise", "uniform", dtype, u.size, arguments)
        return u

    def adam_step(
        self,
        w: Array,
        g: Array,
        m: Array,
        v: Array,
        numbers: AdamStep,
        only_if: Array | None = None,
    ) -> None:
        """As the plain body, in one kernel."""
        rate, epsilon, beta1, beta2, bound = numbers
        number = w.dtype.type
        constants = (number(beta1), number(beta2), number(math.inf if bound is None else bound))
        variables = (*self._number(rate, w.dtype), *self._number(epsilon, w.dtype))
        asked = questions()
        signs = None if asked is None or asked.signs is None else asked.signs.beside(w)
        arguments = (w, g, m, v, signs, *variables, *constants, only_if)
        self.kernels.each("elementwise", "adam", w.dtype, w.size, arguments)

    def _number(self, value: Any, dtype: Any) -> tuple[Array | None, np.generic]:
        """A number as a kernel takes it: where it stands on the device, or its value."""
        scalar = np.dtype(dtype).type
        return (value, scalar(0)) if isinstance(value, self.array_type) else (None, scalar(value))


def open_gpu() -> CupyBackend:
    """The GPU backend, after proving that it works.

    Raises:
        DeviceError: if CuPy cannot be imported, finds no device, cannot compile and run
            a kernel, or cannot multiply two matrices.
    """
    stage = "import CuPy"
    cupy: Any = None
    try:
        with warnings.catch_warnings():  # a warning is no failure, also where it is made an error
            warnings.simplefilter("default")
            cupy = importlib.import_module("cupy")
        stage = "find a CUDA device"
        # Unlike cupy.is_available(), this raises with the driver's own reason.
        if cupy.cuda.runtime.getDeviceCount() == 0:
            raise RuntimeError("there is none")
        stage = "compile and run a kernel"
        backend = CupyBackend(cupy)
        ones = cupy.ones((2, 2), dtype=np.float32)
        if float(backend.binarize(-ones).sum()) != -4.0:
            raise RuntimeError("the signs of four negative numbers do not sum to -4")
        stage = "multiply matrices"
        if float(backend.matmul(ones, ones)[0, 0]) != 2.0:
            raise RuntimeError("a 2x2 product of ones is not 2")
        backend.prove_recording()
    # A broken CUDA installation raises nearly anything (OSError, ImportError, CuPy's own
    # compile and runtime errors), and each of them means the same here: no GPU.
    except Exception as error:
        raise _explain(stage, error, cupy) from error
    return backend


def _explain(stage: str, error: Exception, cupy: Any) -> DeviceError:
    driver = _driver_cuda_version()
    installed = next((extra for extra in ("cuda12", "cuda13") if _is_installed(extra)), None)
    too_old = driver is not None and driver < (13, 0)  # newer drivers run both builds
    extra = "cuda12" if too_old else installed or "cuda13"
    mend = f'pip install -e ".[{extra}]"'
    if installed not in (None, extra):  # two builds of CuPy in one environment break each other
        mend = f"pip uninstall cupy-{installed}x, then {mend}"
    mend = f"in the checkout: {mend}"
    if driver is None:
        mend = f"install an NVIDIA driver, then, {mend}"
    seen = "no NVIDIA driver" if driver is None else f"a driver for CUDA {driver[0]}.{driver[1]}"
    version = "not installed" if cupy is None else cupy.__version__
    reason = f"failed to {stage}: {type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
        reason = f"failed to {stage}, which is not installed"
    return DeviceError(
        f'device "gpu" is unavailable: {reason}\n'
        f"  found: CuPy {version}; {seen}\n"
        f'  mend:  {mend}; or use device "cpu"',
        reason,
    )


def _is_installed(extra: str) -> bool:
    """Whether the CuPy build that an extra names is there, working or not."""
    try:
        importlib.metadata.distribution(f"cupy-{extra}x")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _driver_cuda_version() -> tuple[int, int] | None:
    """The newest CUDA version that the installed driver supports, or None without a driver."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        version = ctypes.c_int()
        if library.cuDriverGetVersion(ctypes.byref(version)) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return version.value // 1000, version.value % 1000 // 10
