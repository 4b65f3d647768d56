"""Open a file for reading, and refuse pipes and devices, which may have no end."""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import BinaryIO

__all__ = ["SpecialFileError", "open_regular"]

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


class SpecialFileError(Exception):
    """The path names a pipe, a device or a socket.

    Attributes:
        kind: which of them, such as ``"a pipe"``.
        hint: how to continue.
    """

    hint = "copy what it gives into a file, and name that"

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def open_regular(path: str | os.PathLike[str]) -> tuple[BinaryIO, int]:
    """Open a file, and return it with its size in bytes. Reading must stop at this size.

    Symbolic links are followed. Process substitution (``/dev/fd/63``) is a pipe, and is refused.

    Raises:
        SpecialFileError: for a pipe, a device or a socket. It is neither opened nor waited for.
        IsADirectoryError: for a folder.
        OSError: if it cannot be opened.
    """
    name = os.fspath(path)
    _require_regular(name, os.stat(name))  # before: opening some devices has effects
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    file = os.fdopen(os.open(name, flags), "rb")
    try:
        found = os.fstat(file.fileno())
        _require_regular(name, found)  # after: the file may have been replaced
    except BaseException:
        file.close()
        raise
    if not found.st_size:  # files in /proc report size 0, and some have no end
        file.close()
        return io.BytesIO(), 0
    return file, found.st_size


def _require_regular(name: str, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    if not stat.S_ISREG(found.st_mode):
        kinds = (kind for is_kind, kind in _KINDS if is_kind(found.st_mode))
        raise SpecialFileError(next(kinds, "something else"))
