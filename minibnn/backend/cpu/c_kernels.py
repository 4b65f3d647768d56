"""Loading the library that was compiled from `kernels.c`, and calling its functions."""

from __future__ import annotations

import ctypes
import os
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from minibnn.backend.array import Array

SOURCE = os.path.join(os.path.dirname(__file__), "kernels.c")
LIBRARY = os.path.join(os.path.dirname(__file__), "_kernels.so")
FLOAT32 = np.dtype(np.float32)


class Library:
    """The functions of `kernels.c`, called by ctypes with lengths, addresses (`at`) and floats.

    C code does not check its arguments: callers check shapes and layout first (`fits`).

    Args:
        library: from `open_library`.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self.binary_sign = _declare(library.minibnn_binary_sign, 1, 2)
        self.rescale_bytes = _declare(library.minibnn_rescale_bytes, 1, 2, 2)
        self.column_dots = _declare(library.minibnn_column_dots, 2, 3)
        self.batch_norm = _declare(library.minibnn_batch_norm, 3, 7, 1)
        self.batch_norm_dx = _declare(library.minibnn_batch_norm_dx, 3, 8)
        self.log_softmax = _declare(library.minibnn_log_softmax, 2, 3)
        self.straight_through_gradient = _declare(
            library.minibnn_straight_through_gradient, 1, 3, 1
        )
        self.adam = _declare(library.minibnn_adam, 1, 4, 7)


def _declare(function: Any, lengths: int, pointers: int, floats: int = 0) -> Any:
    """Declare the arguments of a function, which always come in this order."""
    kinds = (ctypes.c_ssize_t, lengths), (ctypes.c_void_p, pointers), (ctypes.c_float, floats)
    function.argtypes = [kind for kind, count in kinds for _ in range(count)]
    function.restype = None
    return function


def fits(*arrays: Array) -> bool:
    """Whether C can take these arrays: float32, row-major without gaps, aligned, writable."""
    for a in arrays:  # noqa: SIM110  # several times faster than all()
        if a.dtype != FLOAT32 or not a.flags.carray:
            return False
    return True


# What ctypes passes as the address of an array, in half the time of `a.ctypes.data`.
at: Callable[[Array], Any] = (ctypes.c_char * 0).from_buffer


def open_library() -> ctypes.CDLL | None:
    """The compiled kernels; None if they were not built, or built from another `kernels.c`.

    The environment variable ``MINIBNN_COMPILED=0`` disables them. A file that differs from the
    built one by a single byte is not loaded: a missing page would end the process.
    """
    if os.environ.get("MINIBNN_COMPILED") == "0" or not os.path.exists(LIBRARY):
        return None
    try:
        problem = "it is cut off or damaged"
        if _whole(LIBRARY):
            library = ctypes.CDLL(LIBRARY)
            problem = "it was built from another kernels.c"
            if library.minibnn_source() & 0xFFFFFFFF == zlib.crc32(_content(SOURCE)):
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


def _content(path: str, size: int = -1) -> bytes:
    """A file's content; empty for a pipe, a device or a folder, which may have no end."""
    if os.path.exists(path) and not os.path.isfile(path):
        return b""
    with open(path, "rb") as file:
        return file.read(size)
