"""The GPU: CuPy. Imported only when a GPU is asked for."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from minibnn.backend.array import Array, require_plain
from minibnn.backend.cuda.bits import CupyBits
from minibnn.backend.cuda.channels import CupyChannels
from minibnn.backend.cuda.classes import CupyClasses
from minibnn.backend.cuda.cublas import Cublas, fits
from minibnn.backend.cuda.kernels import Kernels, floats
from minibnn.backend.cuda.signs import CupySigns
from minibnn.backend.cuda.steps import CupySteps
from minibnn.backend.cuda.windows import CupyWindows
from minibnn.backend.hashing import places, stream_keys
from minibnn.backend.implementations import CUDA


class CupyBackend(CupyClasses, CupyChannels, CupySteps, CupyWindows, CupyBits, CupySigns):
    """Arrays in the memory of a CUDA device."""

    name = "gpu"
    host = False
    tables = (CUDA,)

    def __init__(self, cupy: ModuleType) -> None:
        super().__init__()
        self.xp = cupy
        self.array_type = cupy.ndarray
        self.kernels = Kernels(cupy)
        self._tf32 = False
        self._cublas: Cublas | None = None
        self._signs = WeakValueDictionary()

    @property
    def tf32(self) -> bool:
        """Whether products of float32 may round their factors to 10 bits of mantissa.

        NVIDIA's tensor cores want them so. Off at first: the fast products are not those that the
        CPU computes. A product of signs with signs is exact in this form too, and takes it where a
        layer said that both are signs (`mark_signs`).
        """
        return self._tf32

    @tf32.setter
    def tf32(self, allowed: bool) -> None:
        self._tf32 = bool(allowed)

    def asarray(self, a: Any, dtype: Any = None) -> Array:
        """`a` on the device; a host array is copied there."""
        require_plain(a)
        return self.xp.asarray(a, dtype=dtype)

    def to_host(self, a: Array) -> np.ndarray[Any, Any]:
        """`a` copied to the host, after waiting for it."""
        host: np.ndarray[Any, Any] = self.xp.asnumpy(a)
        return host

    def free_idle_memory(self) -> None:
        """Empty CuPy's common pool of what nobody uses."""
        self.xp.get_default_memory_pool().free_all_blocks()

    def prepare_stream(self) -> None:
        """The handle for its products."""
        if self._cublas is not None:
            self._cublas.handle()

    def prove_recording(self) -> None:
        """Find out whether work can be recorded, by recording some; set `records`."""
        try:
            self._cublas = Cublas(self.xp)
            x, y = self.xp.ones((2, 2), np.float32), self.xp.empty((2, 2), np.float32)

            def work() -> None:
                with self.aside(x):
                    self.matmul(self.binarize(x), x, out=y)
                self.join()

            with self.stream():
                work()
                recordings = self.record(work, (2,), lanes=True)
                x.fill(-3)
                recordings[2].replay()
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

    def normalize(self, rows: Array, mean: Array, scale: Array, shift: Array) -> Array:
        """As the plain body, in one kernel."""
        if not floats(rows, mean, scale, shift):
            return super().normalize(rows, mean, scale, shift)
        rows = self.xp.ascontiguousarray(rows)
        y = self.xp.empty_like(rows)
        arguments = (y, rows, mean, scale, shift, np.int64(mean.size))
        self.kernels.each("elementwise", "normalize", rows.dtype, rows.size, arguments)
        return y

    def uniform(self, shape: tuple[int, ...], seed: int, count: int, dtype: Any) -> Array:
        """As the plain body, in one kernel."""
        places(shape)
        u = self.xp.empty(shape, dtype=dtype)
        k0, k1 = self.numbers(partial(stream_keys, seed), count, np.uint32)
        arguments = (u, *self.number(k0, np.uint32), *self.number(k1, np.uint32))
        self.kernels.each("elementwise", "uniform", dtype, u.size, arguments)
        return u
