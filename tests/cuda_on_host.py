"""The CUDA kernels on the host: compiled with g++, run block by block, thread by thread.

`HostKernels` stands in for `minibnn.backend.cuda.Kernels`. The code around it, which chooses grids
and arguments, stays CupyBackend's, with NumPy as its array module: `HOST_CUDA` is that backend. So
what the kernels compute, and that they stay within their arrays, is tested on machines without a GPU.

Every launch runs twice, with the threads of a block in ascending and in descending order between
barriers, and must write the same bytes both times: a race shows.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import pytest

from minibnn.backend.cuda import source
from minibnn.backend.cuda.kernels import Kernels, _three
from minibnn.backend.cupy_backend import CupyBackend

HEADER = Path(__file__).with_suffix(".h")
NAMES = re.compile(r"^KERNEL (?:__launch_bounds__\(.*?\)\s)?(\w+)\(", re.MULTILINE)
GUARD = 64  # bytes of a pattern before and after each array, which must still be there afterwards


def kernel_names(text: str) -> list[str]:
    """The kernels of a file."""
    return NAMES.findall(text)


class HostKernels(Kernels):
    """Runs kernels on NumPy arrays."""

    def __init__(self) -> None:
        self._libraries: dict[tuple[str, np.dtype], ctypes.CDLL] = {}
        self._folder = tempfile.TemporaryDirectory()
        self.launches: list[str] = []

    def library(self, file: str, dtype: Any) -> ctypes.CDLL:
        key = file, np.dtype(dtype)
        if key not in self._libraries:
            if shutil.which("g++") is None:
                pytest.skip("no C++ compiler to run the kernels with")
            cpp = Path(self._folder.name, f"{file}_{key[1]}.cpp")
            text = source(file, dtype)
            ways = "".join(
                f'extern "C" int run_{name}(void** a, unsigned* s, bool descending) {{ return '
                f"host::run([](void** a) {{ host::call({name}, a); }}, a, {{s[0], s[1], s[2]}}, "
                f"{{s[3], s[4], s[5]}}, descending); }}\n"
                f'extern "C" int sizes_{name}(int* out) {{ return host::sizes({name}, out); }}\n'
                for name in kernel_names(text)
            )
            cpp.write_text(f'#include "{HEADER}"\n{text}\n{ways}')
            options = ["-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror",
                       "-Wno-unknown-pragmas", "-Wno-unused-function", "-shared", "-fPIC"]  # fmt: skip
            library = cpp.with_suffix(".so")
            done = subprocess.run(
                ["g++", *options, cpp, "-o", library], capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            self._libraries[key] = ctypes.CDLL(str(library))
        return self._libraries[key]

    def launch(
        self, file: str, name: str, dtype: Any, arguments: Any, *, blocks: Any, threads: Any = 256
    ) -> None:
        library = self.library(file, dtype)
        self.launches.append(name)
        sizes = (ctypes.c_int * 64)()
        count = getattr(library, f"sizes_{name}")(sizes)
        assert count == len(arguments), f"{name} takes {count} arguments, got {len(arguments)}"
        grid = [*_three(blocks), 1, 1][:3] + [*_three(threads), 1, 1][:3]
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
    """A copy of an array with a guard on both sides."""

    def __init__(self, a: np.ndarray) -> None:
        self.size = a.nbytes
        # As aligned as what CUDA allocates, so that wide loads may be used.
        raw = np.full(self.size + 2 * GUARD + 512, 0xFF, np.uint8)  # as floats: nan
        start = -(raw.ctypes.data + GUARD) % 256
        self.memory = raw[start : start + self.size + 2 * GUARD]
        self.memory[GUARD : GUARD + self.size] = np.frombuffer(a.tobytes(), np.uint8)
        self.address = self.memory.ctypes.data + GUARD

    def intact(self) -> bool:
        return bool((self.memory[:GUARD] == 0xFF).all() and (self.memory[-GUARD:] == 0xFF).all())

    def values(self, a: np.ndarray) -> np.ndarray:
        inside = self.memory[GUARD : GUARD + self.size]
        return np.frombuffer(inside.tobytes(), a.dtype).reshape(a.shape)


class HostCudaBackend(CupyBackend):
    """CupyBackend with NumPy for CuPy: its kernels run on the host."""

    name = "cuda on host"

    def __init__(self) -> None:
        self.xp = np
        self.array_type = np.ndarray
        self.kernels = HostKernels()
        self.records = False
        self.tf32 = False
        self._cublas = None
        self._signs = WeakValueDictionary()

    def address(self, a: Any) -> int:
        return a.ctypes.data

    def asarray(self, a: Any, dtype: Any = None) -> Any:
        return np.asarray(a, dtype=dtype)

    def to_host(self, a: Any) -> Any:
        return a

    def matmul(self, a: Any, b: Any, out: Any = None) -> Any:
        return np.matmul(a, b, out=out)


HOST_CUDA = HostCudaBackend()
