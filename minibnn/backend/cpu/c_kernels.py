"""The C kernels (`kernels.c`): finding the library that was built from them, and calling it."""

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
    """The functions of `kernels.c`, as ctypes calls them: lengths, addresses (`at`), floats.

    C reads where it is told to: who calls one checks shapes and layout before (`fits`).

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
    """Tell ctypes the arguments, which always come in this order."""
    kinds = (ctypes.c_ssize_t, lengths), (ctypes.c_void_p, pointers), (ctypes.c_float, floats)
    function.argtypes = [kind for kind, count in kinds for _ in range(count)]
    function.restype = None
    return function


def fits(*arrays: Array) -> bool:
    """Whether C can take these: float32, row-major without gaps, aligned, writable."""
    for a in arrays:  # noqa: SIM110  # several times faster than all()
        if a.dtype != FLOAT32 or not a.flags.carray:
            return False
    return True


# What ctypes passes as the address of an array, in half the time of `a.ctypes.data`.
at: Callable[[Array], Any] = (ctypes.c_char * 0).from_buffer


def open_library() -> ctypes.CDLL | None:
    """The compiled kernels; None if they were not built, or not from today's `kernels.c`.

    The environment variable ``MINIBNN_COMPILED=0`` leaves them out. Nothing is loaded but what was
    built, byte for byte: a page that the file lacks would end the process.
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
    except (OSError, AttributeError) as error:  # of another machine, say, or not a library
        problem = str(error)
    import logging

    logging.getLogger("minibnn").warning(
        'backend: %s is left out: %s; build it again, in the clone: pip install -e "."',
        os.path.basename(LIBRARY),
        problem,
    )
    return None


def _whole(library: str) -> bool:
    """Whether a library has the size and the checksum that its seal says.

    Raises:
        OSError: if one of the two cannot be read.
    """
    said = _content(os.path.splitext(library)[0] + ".seal", 100).split()
    if not os.path.isfile(library) or said[:1] != [b"%d" % os.path.getsize(library)]:
        return False
    return said[1:] == [b"%d" % zlib.crc32(_content(library))]


def _content(path: str, size: int = -1) -> bytes:
    """What a file has, or nothing for a pipe, a device or a folder, which may never end."""
    if os.path.exists(path) and not os.path.isfile(path):
        return b""
    with open(path, "rb") as file:
        return file.read(size)
