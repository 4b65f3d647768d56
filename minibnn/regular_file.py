"""Open a named file to read, if it is one: no pipe that never ends, and no device."""

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
    """What has this name is no file.

    Attributes:
        kind: what it is.
        hint: what to do about it.
    """

    hint = "copy what it gives into a file, and name that"

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def open_regular(path: str | os.PathLike[str]) -> tuple[BinaryIO, int]:
    """Open a file and say how many bytes it has; whoever reads no more than these comes to an end.

    A link is followed. Process substitution (``/dev/fd/63``) is a pipe, and refused like any.

    Raises:
        SpecialFileError: for a pipe, a device or a socket, none of which is opened or waited for.
        IsADirectoryError: for a folder.
        OSError: if it cannot be opened.
    """
    name = os.fspath(path)
    _require_regular(name, os.stat(name))  # before, since to open some devices has effects
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    file = os.fdopen(os.open(name, flags), "rb")
    try:
        found = os.fstat(file.fileno())
        _require_regular(name, found)  # after, since another may have taken its place
    except BaseException:
        file.close()
        raise
    if not found.st_size:  # among the files of /proc, which tell no size, some never end
        file.close()
        return io.BytesIO(), 0
    return file, found.st_size


def _require_regular(name: str, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    if not stat.S_ISREG(found.st_mode):
        kinds = (kind for is_kind, kind in _KINDS if is_kind(found.st_mode))
        raise SpecialFileError(next(kinds, "something else"))
