"""A lock on a file's name, so that two processes do not write the same file in turn."""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["FileLock", "LockedError"]

LONGEST = 240  # bytes of a name; with more, its lock's name might be too long for a file system


class LockedError(Exception):
    """Another process holds the lock.

    Attributes:
        process: its number as text, or "another process".
    """

    def __init__(self, process: str) -> None:
        super().__init__(process)
        self.process = process


class FileLock:
    """A lock for `path`: a file ``.name.lock`` beside it with the process's number.

    `release` deletes it.

    The system releases the lock when the process ends in whatever way, even if processes that it
    has forked live on; a file that is left behind locks nothing. On systems and file systems
    without locks (`flock`) nothing is locked.

    Args:
        path: of the file to be written.

    Raises:
        LockedError: if another process, or this one, holds the lock.
        OSError: if the file cannot be created.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        folder, name = os.path.split(os.path.realpath(path))
        if len(os.fsencode(name)) > LONGEST:
            import hashlib  # slow to import

            name = hashlib.sha256(os.fsencode(name)).hexdigest()
        self._path = os.path.join(folder, f".{name}.lock")
        self._file: BinaryIO | None = None
        if not fcntl:
            return
        while self._file is None:
            file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666), "rb+", 0)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = file.read(20).decode("ascii", "replace")
                file.close()
                raise LockedError(f"process {holder}" if holder else "another process") from None
            except OSError:  # a file system without locks
                file.close()
                with suppress(OSError):
                    os.unlink(self._path)
                return
            if self._is_current(file):
                self._file = file
            else:  # its holder deleted it in between: lock the new one
                file.close()
        with suppress(OSError):  # a full disk: the lock holds without the number
            self._file.truncate(0)
            self._file.write(str(os.getpid()).encode())
        _held.add(self)

    def forget(self) -> None:
        """Leave the lock to the process that this one was forked from."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _is_current(self, file: BinaryIO) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), os.stat(self._path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Release the lock and delete its file."""
        if self._file is not None:
            with suppress(OSError):
                if self._is_current(self._file):  # or somebody deleted it, and another one is there
                    os.unlink(self._path)  # before its release: nobody else can hold it yet
            self._file.close()
            self._file = None


_held: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _forget_all() -> None:
    for lock in list(_held):
        lock.forget()


if fcntl:
    os.register_at_fork(after_in_child=_forget_all)
