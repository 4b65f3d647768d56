"""Loading the library that was compiled from the C files here, and calling its functions."""

from __future__ import annotations

import ctypes
import importlib
import itertools
import os
import sys
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from minibnn.backend.array import Array

FOLDER = os.path.dirname(__file__)  # every .c and .h file in it is a source
LIBRARY = os.path.join(FOLDER, "_kernels.so")
FLOAT32 = np.dtype(np.float32)
OPENMP = 2  # what openblas_get_parallel returns
# What `products.h` is compiled for. A processor with one of them has all before it.
INSTRUCTION_SETS = ("portable", "avx2", "avx512", "avx512_vpopcntdq")


class Library:
    """The functions of the C files, called by ctypes with lengths, arrays (`at`) and floats.

    C code does not check its arguments: callers check shapes and layout first (`fits`).

    Args:
        library: from `open_library`.
        instruction_set: which of `INSTRUCTION_SETS` the products use; None for the environment
            variable ``MINIBNN_CPU`` or, if that is not set, the best that the processor has.

    Raises:
        ValueError: for an instruction set that the processor does not have.
    """

    def __init__(self, library: ctypes.CDLL, instruction_set: str | None = None) -> None:
        self.instruction_set = _choose(library.minibnn_instruction_set(), instruction_set)
        _connect_blas(library)
        library.minibnn_pass_arrays(DATA)

        def of_set(name: str) -> Any:
            return getattr(library, f"minibnn_call_{name}_{self.instruction_set}")

        self.product = _declare(of_set("product"), 8, 3)
        self.sparse_product = _declare(of_set("sparse_product"), 7, 3)
        self.blas_product = _declare(library.minibnn_call_blas_product, 7, 3)
        self.threads = _declare(library.minibnn_threads, 0, 0)
        self.convolve = _declare(of_set("convolve"), 1, 4)
        self.convolve_dW = _declare(of_set("convolve_dW"), 1, 4)
        self.convolve_dx = _declare(of_set("convolve_dx"), 1, 4)
        self.convolve_small = _declare(of_set("convolve_small"), 1, 4)
        self.convolve_small_dW = _declare(of_set("convolve_small_dW"), 1, 4)
        self.max_pool = _declare(of_set("max_pool"), 0, 4)
        self.max_pool_gradient = _declare(of_set("max_pool_gradient"), 0, 4)
        self.binary_sign = _declare(library.minibnn_call_binary_sign, 1, 2)
        self.rescale_bytes = _declare(library.minibnn_call_rescale_bytes, 1, 2, 2)
        self.all_finite = _declare(library.minibnn_call_all_finite, 1, 1)
        self.batch_sums = _declare(library.minibnn_call_batch_sums, 3, 3)
        self.batch_norm = _declare(library.minibnn_call_batch_norm, 3, 7, 1)
        self.batch_norm_gradient = _declare(library.minibnn_call_batch_norm_gradient, 3, 8)
        self.center = _declare(library.minibnn_call_center, 3, 5)
        self.scale_centered = _declare(library.minibnn_call_scale_centered, 3, 6)
        self.batch_norm_dx = _declare(library.minibnn_call_batch_norm_dx, 3, 8, 1)
        self.update_running = _declare(library.minibnn_call_update_running, 1, 4, 3)
        self.log_softmax = _declare(library.minibnn_call_log_softmax, 2, 3)
        self.cross_entropy = _declare(library.minibnn_call_cross_entropy, 3, 5)
        self.count_correct = _declare(library.minibnn_call_count_correct, 3, 2)
        gradient = library.minibnn_call_cross_entropy_gradient
        self.cross_entropy_gradient = _declare(gradient, 3, 3, 1)
        self.straight_through_gradient = _declare(
            library.minibnn_call_straight_through_gradient, 1, 3, 1
        )
        self.adam = _declare(library.minibnn_call_adam, 1, 4, 7)


def _declare(function: Any, lengths: int, pointers: int, floats: int = 0) -> Any:
    """Declare the arguments of a function, which always come in this order."""
    kinds = (ctypes.c_ssize_t, lengths), (ctypes.c_void_p, pointers), (ctypes.c_float, floats)
    function.argtypes = [kind for kind, count in kinds for _ in range(count)]
    function.restype = ctypes.c_int  # whether it computed, if it may refuse
    return function


def _choose(best: int, name: str | None) -> str:
    """The instruction set with this name, or of ``MINIBNN_CPU``, or the best one."""
    there = INSTRUCTION_SETS[: best + 1]
    who = "Library" if name else "MINIBNN_CPU"
    name = name or os.environ.get("MINIBNN_CPU") or there[-1]
    if name not in there:
        raise ValueError(
            f"{who}: expected an instruction set that this processor has, "
            f"{' or '.join(there)}, got {name!r}"
        )
    return name


def _connect_blas(library: ctypes.CDLL) -> None:
    """Tell C the functions of NumPy's OpenBLAS, whose threads are then replaced by those in C.

    Another BLAS has other functions, and one made with OpenMP would start threads of its own in
    each of those in C: both keep their own threads, and C has as many as the environment variable
    ``OMP_NUM_THREADS`` says, or as there are processors.
    """
    processors = getattr(os, "process_cpu_count", os.cpu_count)() or 1
    if hasattr(os, "sched_getaffinity"):
        processors = len(os.sched_getaffinity(0))
    said = os.environ.get("OMP_NUM_THREADS", "")
    own = int(said) if said.isdigit() and int(said) else processors
    arguments: tuple[Any, ...] = None, None, None, 0, own
    umath = importlib.import_module("numpy._core._multiarray_umath")
    numpy = ctypes.CDLL(umath.__file__)  # symbols are searched in what it was linked to
    for prefix, suffix in itertools.product(("scipy_", ""), ("64_", "")):
        names = "openblas_get_num_threads", "openblas_set_num_threads", "cblas_sgemm"
        try:
            kind = getattr(numpy, f"{prefix}openblas_get_parallel{suffix}")()
            found = [getattr(numpy, f"{prefix}{name}{suffix}") for name in names]
        except AttributeError:
            continue
        if kind != OPENMP:
            arguments = *(ctypes.cast(f, ctypes.c_void_p) for f in found), suffix == "64_", 0
            break
    library.minibnn_use_blas.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int] * 2
    library.minibnn_use_blas(*arguments)


def fits(*arrays: Array) -> bool:
    """Whether C can take these arrays: float32, row-major without gaps, aligned, writable."""
    for a in arrays:  # noqa: SIM110  # several times faster than all()
        if a.dtype != FLOAT32 or not a.flags.carray:
            return False
    return True


def _place_of_data() -> int:
    """Where in an array's object the address of its data is, in bytes; 0 if it is not found there.

    NumPy's ABI has it behind the part that all Python objects have.
    """
    a = np.empty(1)
    if sys.implementation.name != "cpython":  # there, id() is not an address
        return 0
    place = object.__basicsize__
    found = ctypes.c_void_p.from_address(id(a) + place).value == a.ctypes.data
    return place if found else 0


DATA = _place_of_data()
# What is passed for an array, which has to exist until the call returns: see `calls.c`. NumPy's own
# answer takes ten times as long.
at: Callable[[Array], int] = id if DATA else lambda a: a.ctypes.data


def open_library() -> ctypes.CDLL | None:
    """The compiled kernels; None if they were not built, or built from other sources.

    The environment variable ``MINIBNN_COMPILED=0`` disables them. A file that differs from the
    built one by a single byte is not loaded: a missing page would end the process.
    """
    if os.environ.get("MINIBNN_COMPILED") == "0" or not os.path.exists(LIBRARY):
        return None
    try:
        problem = "it is cut off or damaged"
        if _whole(LIBRARY):
            library = ctypes.CDLL(LIBRARY)
            problem = "it was built from other sources"
            if library.minibnn_source() & 0xFFFFFFFF == zlib.crc32(_sources()):
                return library
    except (OSError, AttributeError) as error:  # from another machine, or not a library
        problem = str(error)
    import logging

    logging.getLogger("minibnn").warning(
        'backend: %s is left out: %s; build it again, in the clone: pip install -e "."',
        os.path.basename(LIBRARY),
        problem,
    )
    return None


def _whole(library: str) -> bool:
    """Whether a library has the size and the checksum that its ``.seal`` file states.

    Raises:
        OSError: if one of the files cannot be read.
    """
    said = _content(os.path.splitext(library)[0] + ".seal", 100).split()
    if not os.path.isfile(library) or said[:1] != [b"%d" % os.path.getsize(library)]:
        return False
    return said[1:] == [b"%d" % zlib.crc32(_content(library))]


def _sources() -> bytes:
    """The C files, in the order of their names, as `tools/build_kernels.py` reads them."""
    names = sorted(name for name in os.listdir(FOLDER) if name.endswith((".c", ".h")))
    return b"".join(_content(os.path.join(FOLDER, name)) for name in names)


def _content(path: str, size: int = -1) -> bytes:
    """A file's content; empty for a pipe, a device or a folder, which may have no end."""
    if os.path.exists(path) and not os.path.isfile(path):
        return b""
    with open(path, "rb") as file:
        return file.read(size)
