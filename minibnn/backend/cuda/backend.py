"""The backend of the GPU. Imported only when a GPU is requested."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import numpy as np

from minibnn.backend.array import Array, require_plain
from minibnn.backend.base import Backend
from minibnn.backend.capture.graphs import Graphs
from minibnn.backend.cuda.cublas import Cublas, fits
from minibnn.backend.cuda.device import (
    WITH_TF32,
    Device,
    gpu_of,
    passing_hint,
    version_words,
)
from minibnn.backend.cuda.kernels import Kernels, floats
from minibnn.backend.cuda.signs import binary_sign
from minibnn.backend.errors import DeviceError
from minibnn.backend.implementations import CUDA


class CupyBackend(Backend):
    """Arrays in the memory of one CUDA device, the current one when the backend is opened."""

    name = "gpu"
    host = False
    tables = (CUDA,)

    def __init__(self, cupy: ModuleType, device: Device) -> None:
        super().__init__()
        self.xp = cupy
        self.array_type = cupy.ndarray
        self.device = device
        self.kernels = Kernels(cupy, device)
        self._tf32 = False
        self._cublas: Cublas | None = None

    @property
    def tf32(self) -> bool:
        """Whether float32 products may round their factors to 10 bits of mantissa.

        NVIDIA's tensor cores compute such products faster. The default is False, since they differ
        from the products that the CPU computes. On a GPU without TF32 it stays False, with a
        warning.
        """
        return self._tf32

    @tf32.setter
    def tf32(self, allowed: bool) -> None:
        without = self._without_tf32() if allowed else ""
        if without:
            warnings.warn(f"tf32: ignored, float32 stays exact: {without}", stacklevel=2)
        self._tf32 = bool(allowed) and not without

    def _without_tf32(self) -> str:
        """Why there is no TF32; empty if there is."""
        if not self.device.has_tf32:
            return (
                f"this GPU has compute capability {version_words(self.device.capability)}, and "
                f"TF32 came with {version_words(WITH_TF32)}"
            )
        return "" if self._cublas is not None else f"CuPy multiplies ({self.no_graphs})"

    def asarray(self, a: Any, dtype: Any = None) -> Array:
        """`a` on the device; a host array is copied there."""
        require_plain(a)
        self.device.require_current()
        if isinstance(a, self.array_type):
            self.device.require_own(a)
        return self.xp.asarray(a, dtype=dtype)

    def to_host(self, a: Array) -> np.ndarray[Any, Any]:
        """`a` copied to the host, after waiting for the device."""
        host: np.ndarray[Any, Any] = self.xp.asnumpy(a)
        return host

    def require_place(self, number: int, processes: int) -> None:
        """Raise DeviceError unless this GPU is that of the process; see `gpu_of`."""
        its = gpu_of(self.xp, number, processes)
        if its != self.device.number:
            reason = (
                f"expected GPU {its} for process {number} of {processes} on this machine, got GPU "
                f"{self.device.number}, which was opened before"
            )
            hint = 'make Ranks before anything asks for the GPU, such as to("gpu")'
            raise DeviceError(f'device "gpu": {reason}\n  hint:  {hint}', reason)

    def prove_graphs(self) -> None:
        """Test whether work can be captured, and set `graphs`."""
        try:
            self._cublas = Cublas(self.xp, self.device)
            graphs = Graphs(self.xp)
            x, y = self.xp.ones((2, 2), np.float32), self.xp.empty((2, 2), np.float32)

            def work() -> None:
                self.matmul(binary_sign(self, x), x, out=y)

            with graphs.stream():
                work()
                captured = graphs.capture(work, (2,))
                x.fill(-3)
                captured[2].replay()
            if float(y.sum()) != 24.0:
                raise RuntimeError("a captured product gave a wrong result")
            self.graphs = graphs
        # Each library and driver raises errors of its own; training works without graphs.
        except Exception as error:
            if passing_hint(error):  # a later call may succeed
                raise
            self._cublas, self.graphs = None, None
            self.no_graphs = f"{type(error).__name__}: {error}"

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """The matrix product ``a @ b``; by our own cuBLAS handle for matrices of one float type."""
        if self._cublas is None or not floats(a, b) or a.ndim != b.ndim or a.ndim not in (2, 3):
            return super().matmul(a, b, out)
        if a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
            return super().matmul(a, b, out)  # which broadcasts, or raises
        shape = (*a.shape[:-1], b.shape[-1])
        if out is None or (out.shape, out.dtype) != (shape, a.dtype) or not out.flags.c_contiguous:
            target = self.xp.empty(shape, a.dtype)
        else:
            target = out
        triples: Any = [(a, b, target)] if a.ndim == 2 else zip(a, b, target, strict=True)
        for left, right, product in triples:
            left = left if fits(left) else self.xp.ascontiguousarray(left)
            right = right if fits(right) else self.xp.ascontiguousarray(right)
            self._cublas.multiply(left, right, product, tf32=self.tf32)
        if out is not None and target is not out:
            out[...] = target
            return out
        return target

    def half_matmul(self, a: Array, b: Array) -> Array:
        """``a @ b`` of float16, summed in float32: exact for integers whose sums stay below 2^24.

        It runs on tensor cores, if cuBLAS was found.

        Shapes: a (n, k), b (k, m), both float16; the result (n, m) of float32.
        """
        if self._cublas is None:
            return self.matmul(a.astype(np.float32), b.astype(np.float32))
        product = self.xp.empty((len(a), b.shape[1]), np.float32)
        a, b = (m if fits(m) else self.xp.ascontiguousarray(m) for m in (a, b))
        self._cublas.multiply(a, b, product, tf32=False)
        return product
