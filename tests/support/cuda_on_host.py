"""The CUDA kernels on the host: compiled with g++, run block by block, thread by thread.

`HostKernels` stands in for `minibnn.backend.cuda.Kernels`. The code around it, which chooses grids
and arguments, stays CupyBackend's, with NumPy as its array module: `HOST_CUDA` is that backend. So
what the kernels compute, and that they stay within their arrays, is tested on machines without a GPU.

Every launch runs twice, with the threads of a block in ascending and in descending order between
barriers, and must write the same bytes both times: a race shows.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import shutil
import subprocess
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from compiled_once import compiled_once

from minibnn.backend import Backend, register_backend
from minibnn.backend.cuda.backend import CupyBackend
from minibnn.backend.cuda.kernels import Kernels, _three, source

HEADER = Path(__file__).with_suffix(".h")
NAMES = re.compile(r"^KERNEL (?:__launch_bounds__\(.*?\)\s)?(\w+)\(", re.MULTILINE)
GUARD = 64  # bytes of a pattern before each array, at least, which must still be there afterwards


def kernel_names(text: str) -> list[str]:
    """The kernels of a file."""
    return NAMES.findall(text)


class HostKernels(Kernels):
    """Runs kernels on NumPy arrays.

    Args:
        macros: what the compiler is told beside the options, such as ``"-D__CUDA_ARCH__=600"``.
    """

    def __init__(self, *macros: str) -> None:
        self._macros = macros
        self._libraries: dict[tuple[str, np.dtype], ctypes.CDLL] = {}
        self.launches: list[str] = []
        self.grids: list[tuple[int, ...]] = []  # of each launch, in blocks

    def compiled(self, file: str, dtype: Any) -> ctypes.CDLL:
        key = file, np.dtype(dtype)
        if key not in self._libraries:
            if shutil.which("g++") is None:
                pytest.skip("no C++ compiler to run the kernels with")
            text = source(file, dtype)
            ways = "".join(
                f'extern "C" int run_{name}(void** a, unsigned* s, bool descending) {{ return '
                f"host::run([](void** a) {{ host::call({name}, a); }}, a, {{s[0], s[1], s[2]}}, "
                f"{{s[3], s[4], s[5]}}, descending); }}\n"
                f'extern "C" int sizes_{name}(int* out) {{ return host::sizes({name}, out); }}\n'
                for name in kernel_names(text)
            )
            program = f'#include "{HEADER}"\n{text}\n{ways}'
            # No fused multiply-adds, as OPTIONS of the kernels asks of NVIDIA's compiler.
            options = ["-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror",
                       "-Wno-unknown-pragmas", "-Wno-unused-function", "-shared", "-fPIC",
                       # A load that is not aligned ends the process: a GPU would refuse it, too.
                       # So does an access beside a static array: shared memory has no guards.
                       "-fsanitize=alignment,bounds,object-size",
                       "-fsanitize-undefined-trap-on-error"]  # fmt: skip
            command = ["g++", *options, *self._macros, "-x", "c++", "-", "-o"]

            def make(library: Path) -> None:
                done = subprocess.run(
                    [*command, library], input=program, capture_output=True, text=True
                )
                assert done.returncode == 0, done.stderr

            digest = zlib.crc32("\n".join([*command, program]).encode())
            library = compiled_once(f"{file}_{key[1]}_{digest:08x}.so", make)
            self._libraries[key] = ctypes.CDLL(str(library))
        return self._libraries[key]

    def launch(
        self, file: str, name: str, dtype: Any, arguments: Any, *, blocks: Any, threads: Any = 256
    ) -> None:
        library = self.compiled(file, dtype)
        self.launches.append(name)
        sizes = (ctypes.c_int * 64)()
        count = getattr(library, f"sizes_{name}")(sizes)
        assert count == len(arguments), f"{name} takes {count} arguments, got {len(arguments)}"
        grid = [*_three(blocks), 1, 1][:3] + [*_three(threads), 1, 1][:3]
        self.grids.append(tuple(grid[:3]))
        assert np.prod(grid[3:]) <= 1024, f"{name}: more than 1024 threads in a block"
        assert grid[1] <= 65535, f"{name}: more than 65535 blocks in y"
        before = {id(a): a.copy() for a in arguments if isinstance(a, np.ndarray)}
        results = []
        for descending in (True, False):
            for a in arguments:
                if isinstance(a, np.ndarray):
                    a[...] = before[id(a)]
            self._run(library, name, arguments, sizes, grid, descending)
            results.append([a.tobytes() for a in arguments if isinstance(a, np.ndarray)])
        assert results[0] == results[1], f"{name}: its result depends on the order of its threads"

    def _run(
        self, library: Any, name: str, arguments: Any, sizes: Any, grid: Any, descending: bool
    ) -> None:
        held, guarded = [], []
        for size, a in zip(sizes, arguments, strict=False):
            if a is None:
                assert size == -1, f"{name}: None for a number"
                held.append(ctypes.c_void_p(0))
            elif isinstance(a, np.ndarray):
                assert size == -1, f"{name}: an array for a number"
                assert a.flags.c_contiguous, f"{name}: an array that is not contiguous"
                copy = Guarded(a)
                guarded.append((a, copy))
                held.append(ctypes.c_void_p(copy.address))
            else:
                assert isinstance(a, np.generic), f"{name}: {a!r} has no exact type"
                assert a.itemsize == size, f"{name}: {a!r} for a parameter of {size} bytes"
                held.append(ctypes.create_string_buffer(a.tobytes(), size))
        pointers = (ctypes.c_void_p * len(held))(*(ctypes.addressof(h) for h in held))
        shape = (ctypes.c_uint * 6)(*grid)
        status = getattr(library, f"run_{name}")(pointers, shape, ctypes.c_bool(descending))
        assert status == 0, f"{name}: threads of a block wait at different barriers"
        for a, copy in guarded:
            assert copy.intact(), f"{name} wrote beside an array of shape {a.shape}"
            a[...] = copy.values(a)


class Guarded:
    """A copy of an array with a guard on both sides.

    It ends where a page begins that nobody may touch, so to read on beyond the array ends the
    process (from the 16th byte on). Its address is as aligned as the array's, no better: a kernel
    with wide loads must ask. What NumPy allocates they may use.
    """

    def __init__(self, a: np.ndarray) -> None:
        self.size = a.nbytes
        usable = -(-(self.size + GUARD + 16) // mmap.PAGESIZE) * mmap.PAGESIZE
        pages = mmap.mmap(-1, usable + mmap.PAGESIZE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        last = ctypes.c_void_p(base + usable)
        assert ctypes.CDLL(None).mprotect(last, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
        end = base + usable - self.size
        self.address = end - (end - a.ctypes.data) % 16
        self.memory = np.frombuffer(pages, np.uint8, usable)
        self.memory[...] = 0xFF  # as floats: nan
        self.start = self.address - base
        self.inside[...] = np.frombuffer(a.tobytes(), np.uint8)

    @property
    def inside(self) -> np.ndarray:
        return self.memory[self.start : self.start + self.size]

    def intact(self) -> bool:
        before, after = self.memory[: self.start], self.memory[self.start + self.size :]
        return bool((before == 0xFF).all() and (after == 0xFF).all())

    def values(self, a: np.ndarray) -> np.ndarray:
        return np.frombuffer(self.inside.tobytes(), a.dtype).reshape(a.shape)


class _Numpy:
    """NumPy whose empty arrays are full of a pattern: what a kernel leaves out shows."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, *args: Any, **kwargs: Any) -> Any:
        return _spoiled(np.empty(*args, **kwargs))

    def empty_like(self, *args: Any, **kwargs: Any) -> Any:
        return _spoiled(np.empty_like(*args, **kwargs))


def _spoiled(a: Any) -> Any:
    a[...] = np.frombuffer(b"\xa5" * a.itemsize, a.dtype)[0]
    return a


class HostCudaBackend(CupyBackend):
    """CupyBackend with NumPy for CuPy: its kernels run on the host."""

    name = "cuda on host"

    def __init__(self, kernels: HostKernels) -> None:
        Backend.__init__(self)
        self.device = SimpleNamespace(capability=(9, 0), has_tf32=True)
        self.xp = _Numpy()
        self.array_type = np.ndarray
        self.kernels = kernels
        self._tf32 = False
        self._cublas = None

    def asarray(self, a: Any, dtype: Any = None) -> Any:
        return np.asarray(a, dtype=dtype)

    def to_host(self, a: Any) -> Any:
        return a

    def matmul(self, a: Any, b: Any, out: Any = None) -> Any:
        return np.matmul(a, b, out=out)


HOST_CUDA = HostCudaBackend(HostKernels())


class OnCuda(np.ndarray):
    """An array of `CUDA_ARRAYS`, by which `backend_of` knows it."""


class _Xp:
    """_Numpy whose results are OnCuda."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(_Numpy(), name)
        if isinstance(function, type):
            return function

        def on_cuda(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            return result.view(OnCuda) if isinstance(result, np.ndarray) else result

        return on_cuda


class CudaArraysBackend(HostCudaBackend):
    """HostCudaBackend with arrays of its own, for code that asks arrays where they are."""

    name = "cuda arrays on host"

    def __init__(self, kernels: HostKernels) -> None:
        super().__init__(kernels)
        self.xp = _Xp()
        self.array_type = OnCuda

    def asarray(self, a: Any, dtype: Any = None) -> Any:
        return np.array(a, dtype=dtype).view(OnCuda)

    def to_host(self, a: Any) -> Any:
        return a.view(np.ndarray)


CUDA_ARRAYS = CudaArraysBackend(HOST_CUDA.kernels)
register_backend(CUDA_ARRAYS)


def launched(*names: str, forget: bool = False) -> None:
    """Each test of a kernel says which it means, so that none passes on the reference.

    Args:
        names: of the kernels launched in this test, in order.
        forget: whether to begin anew after that.
    """
    assert HOST_CUDA.kernels.launches == list(names)
    if forget:
        HOST_CUDA.kernels.launches.clear()
