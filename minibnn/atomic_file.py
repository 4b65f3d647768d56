"""Write a file so that it appears whole or not at all, and hurt nothing else that stands there."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["require_writable", "whole_file"]

_MAX_LINKS = 40  # as Linux has it
_TEMPORARY = ".{}.{:0>8}.tmp"
_TEMPORARY_BYTES = len(_TEMPORARY.format("", ""))


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file to write that takes the place of `path` once all of it is on the disk.

    If the block raises, or the machine stops at any moment, what stood at `path` before stands
    there still. A link is followed: the file that it leads to is replaced, or made. That file's
    mode is kept, and its owner where the system allows it; a new file gets the mode that the umask
    gives any. A hard link elsewhere keeps the old content. Pipes, devices and the names of open
    files (``/dev/stdout``) have no place to take: they are written into.

    Temporary files for the same name that a killed process has left behind are deleted, where
    the system has locks (`flock`) to tell that nobody is writing them any more.

    Raises:
        FileNotFoundError: the folder of `path` does not exist.
        IsADirectoryError: `path` is a folder.
        PermissionError: the file is read-only, or the folder cannot be written.
        OSError: the file cannot be written, or links lead in a circle.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "answer"
    ...     with whole_file(path) as file:
    ...         _ = file.write(b"42")
    ...     path.read_bytes()
    b'42'
    """
    target = _follow(os.fspath(path))
    before = _stat(target)
    if (before is not None and not stat.S_ISREG(before.st_mode)) or _descriptor(target) is not None:
        with _open_special(target, before) as file:
            yield file
        return
    _require_folder(target, before)
    _require_replaceable(target, before)
    _sweep(target)
    file, temporary = _open_temporary(target, before)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if fcntl:  # while it is locked, so that nobody takes it for a leftover
                os.replace(temporary, target)
        if not fcntl:  # Windows renames no open file
            os.replace(temporary, target)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno and error.filename in (None, temporary):
            error.filename = target  # the name that its user knows
            del error.filename2  # which None would leave in the text
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(os.path.dirname(target))


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raise what `whole_file` would, now and not after hours of work.

    A temporary file is made in the same folder with the same mode, and deleted again. What stands
    at `path` is not touched; a pipe or device is not opened.

    Raises:
        OSError: as from `whole_file`.
    """
    target = _follow(os.fspath(path))
    before = _stat(target)
    if (number := _descriptor(target)) is not None:
        os.fstat(number)  # it is open
    elif before is not None and not stat.S_ISREG(before.st_mode):
        _require_no_folder(target, before)
    else:
        _require_folder(target, before)
        _require_replaceable(target, before)
        file, temporary = _open_temporary(target, before)
        file.close()
        os.unlink(temporary)


def _follow(path: str) -> str:
    """Where a file is written: behind all links, in a folder without any.

    Step by step, since `os.path.realpath` would also read the links of /proc/self/fd, which lead
    to no path.
    """
    where = path
    for _ in range(_MAX_LINKS):
        folder, name = os.path.split(where)
        if name in ("", os.curdir, os.pardir):
            raise IsADirectoryError(errno.EISDIR, "expected a file to write, got a folder", path)
        where = os.path.join(os.path.realpath(folder), name)
        if _descriptor(where) is not None or not os.path.islink(where):
            return where
        where = os.path.join(os.path.dirname(where), os.readlink(where))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _descriptor(target: str) -> int | None:
    """The number of this process's open file that a path such as /proc/self/fd/1 means."""
    found = re.fullmatch(rf"(?:/proc/(?:{os.getpid()}|self)|/dev)/fd/(\d+)", target)
    return int(found[1]) if found else None


def _stat(target: str) -> os.stat_result | None:
    try:
        return os.stat(target)
    except FileNotFoundError:
        return None


def _require_no_folder(target: str, before: os.stat_result) -> None:
    if stat.S_ISDIR(before.st_mode):
        raise IsADirectoryError(errno.EISDIR, "expected a file to write, got a folder", target)


def _require_folder(target: str, before: os.stat_result | None) -> None:
    """Refuse to write into a folder that does not exist."""
    folder = os.path.dirname(target)
    if before is None and not os.path.isdir(folder):
        raise FileNotFoundError(
            errno.ENOENT, f"expected a folder {folder}, got none; make it first", target
        )


def _require_replaceable(target: str, before: os.stat_result | None) -> None:
    """Refuse a file that nobody may write, although its folder would allow to replace it."""
    # The mode is asked too: to the administrator the system would allow everything.
    if before and not (before.st_mode & 0o222 and os.access(target, os.W_OK)):
        raise PermissionError(
            errno.EACCES,
            "expected a file that may be replaced, got one that is read-only; make it writable "
            "(chmod u+w), or choose another name",
            target,
        )


def _open_special(target: str, before: os.stat_result | None) -> BinaryIO:
    """Open a pipe, a device, or a file that is open already, without replacing it."""
    number = _descriptor(target)
    if number is not None:  # its own position goes on, which a second opening would not know
        return os.fdopen(os.dup(number), "wb")
    if before:
        _require_no_folder(target, before)
    return open(target, "wb")


def _open_temporary(target: str, before: os.stat_result | None) -> tuple[BinaryIO, str]:
    """Make a new locked file beside the target, with the mode that the target will have."""
    import secrets  # imports hashlib and OpenSSL, which reading data does not need

    folder, name = os.path.split(target)
    mode = 0o666 if before is None else stat.S_IMODE(before.st_mode) & 0o777
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        # In the same folder, since a file can be renamed only within its file system; and not by
        # tempfile, whose files nobody but their owner may read.
        stem = _stem(folder, name)
        temporary = os.path.join(folder, _TEMPORARY.format(stem, secrets.token_hex(4)))
        try:
            file = os.fdopen(os.open(temporary, flags, mode), "wb")
        except OSError as error:
            error.filename = target  # the name that its user knows
            raise
        try:
            if fcntl:
                with suppress(OSError):  # a file system without locks; nothing is swept up there
                    fcntl.flock(file, fcntl.LOCK_EX)
                if not os.path.exists(temporary):  # swept up before it was locked
                    file.close()
                    continue
            if before is not None and os.name == "posix":
                with suppress(OSError):  # one can give files to one's own groups only
                    os.fchown(file.fileno(), -1, before.st_gid)
                with suppress(OSError):  # and only the administrator to somebody else
                    os.fchown(file.fileno(), before.st_uid, -1)
                os.fchmod(file.fileno(), mode)  # what the umask has taken away
            return file, temporary
        except BaseException:
            file.close()
            os.unlink(temporary)
            raise


def _stem(folder: str, name: str) -> str:
    """As much of a name as leaves room for what a temporary file's name has beside it."""
    longest = 255
    if os.name == "posix":
        with suppress(OSError):  # of a folder that is not there
            longest = os.pathconf(folder, "PC_NAME_MAX")
    room = longest - _TEMPORARY_BYTES
    while len(os.fsencode(name)) > room:
        name = name[:-1]
    return name


def _sweep(target: str) -> None:
    """Delete the temporary files of this name whose processes have ended."""
    if not fcntl:
        return
    folder, name = os.path.split(target)
    leftover = re.compile(re.escape(f".{_stem(folder, name)}.") + r"[0-9a-f]{8}\.tmp")
    with suppress(OSError), os.scandir(folder) as entries:  # some folders cannot be listed
        for entry in entries:
            if leftover.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError), open(entry.path, "rb+") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)


def _sync_folder(folder: str) -> None:
    """Let the new name, too, survive a power cut, where the system can do that for a folder.

    The file is saved already, so a system that cannot is no reason to report a failure.
    """
    if os.name == "posix":
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
