"""Write files atomically: a file appears complete or not at all."""

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

__all__ = ["UnsyncedError", "require_writable", "whole_file"]

_MAX_LINKS = 40  # the same limit as in Linux
_TEMPORARY = ".{}.{:0>8}.tmp"
_TEMPORARY_BYTES = len(_TEMPORARY.format("", ""))
# What a file system answers that cannot sync folders, or not this one.
_CANNOT_SYNC = {
    errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS,
    errno.EACCES, errno.EPERM, errno.EBADF,
}  # fmt: skip


class UnsyncedError(OSError):
    """A file is complete and in its place, but a power cut may bring the old one back."""


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file for writing; it replaces `path` once all of it is on the disk.

    If the block raises, or the machine stops at any moment, `path` keeps its old content. Symbolic
    links are followed: the target is replaced or created. A replaced file keeps its mode, and its
    owner where the system allows it; the umask decides the mode of a new file. Other hard links
    keep the old content. Pipes, devices and the names of open files (``/dev/stdout``) cannot be
    replaced, so they are written to directly.

    Temporary files of the same name that a killed process has left are deleted too. This needs
    locks (`flock`), which show that no process still writes them.

    Raises:
        FileNotFoundError: the folder of `path` does not exist.
        IsADirectoryError: `path` is a folder.
        PermissionError: the file is read-only, or the folder is not writable.
        UnsyncedError: the file is written, but the disk failed to record its name. If it is the
            file system that cannot do this for any folder, nothing is raised.
        OSError: the file cannot be written, or the links form a circle.

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
            if fcntl:  # while the file is locked, so that no process takes it for a leftover
                os.replace(temporary, target)
        if not fcntl:  # Windows cannot rename an open file
            os.replace(temporary, target)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno and error.filename in (None, temporary):
            error.filename = target  # the name that the user knows
            del error.filename2  # None would stay in the message
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(target)


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raise the error that `whole_file` would raise, before hours of work rather than after.

    This creates and deletes a temporary file in the same folder, with the same mode. It does not
    change `path`, and does not open a pipe or a device.

    Raises:
        OSError: as from `whole_file`.
    """
    target = _follow(os.fspath(path))
    before = _stat(target)
    if (number := _descriptor(target)) is not None:
        os.fstat(number)  # raises if it is not open
    elif before is not None and not stat.S_ISREG(before.st_mode):
        _require_no_folder(target, before)
    else:
        _require_folder(target, before)
        _require_replaceable(target, before)
        file, temporary = _open_temporary(target, before)
        file.close()
        os.unlink(temporary)


def _follow(path: str) -> str:
    """The path without symbolic links.

    `os.path.realpath` would also follow the links in /proc/self/fd, which may not lead to a path.
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
    """The file descriptor that a path such as /proc/self/fd/1 names; None for other paths."""
    found = re.fullmatch(rf"(?:/proc/(?:{os.getpid()}|self)|/dev)/fd/(\d+)", target)
    return int(found[1]) if found else None


def _stat(target: str) -> os.stat_result | None:
    try:
        return os.stat(target)
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        folder = os.path.dirname(target)
        raise NotADirectoryError(
            errno.ENOTDIR, f"expected a folder {folder}, got a file; choose another folder", target
        ) from error


def _require_no_folder(target: str, before: os.stat_result) -> None:
    if stat.S_ISDIR(before.st_mode):
        raise IsADirectoryError(errno.EISDIR, "expected a file to write, got a folder", target)


def _require_folder(target: str, before: os.stat_result | None) -> None:
    """Raise FileNotFoundError if the folder does not exist."""
    folder = os.path.dirname(target)
    if before is None and not os.path.isdir(folder):
        raise FileNotFoundError(
            errno.ENOENT, f"expected a folder {folder}, got none; make it first", target
        )


def _require_replaceable(target: str, before: os.stat_result | None) -> None:
    """Raise PermissionError for a read-only file, even if its folder allows replacing it."""
    # `os.access` alone is not enough: it is True for the administrator.
    if before and not (before.st_mode & 0o222 and os.access(target, os.W_OK)):
        raise PermissionError(
            errno.EACCES,
            "expected a file that may be replaced, got one that is read-only; make it writable "
            "(chmod u+w), or choose another name",
            target,
        )


def _open_special(target: str, before: os.stat_result | None) -> BinaryIO:
    """Open a pipe, a device, or a file that is already open, without replacing it."""
    number = _descriptor(target)
    if number is not None:  # a duplicate continues at the current position
        return os.fdopen(os.dup(number), "wb")
    if before:
        _require_no_folder(target, before)
    return open(target, "wb")


def _open_temporary(target: str, before: os.stat_result | None) -> tuple[BinaryIO, str]:
    """Create a locked file in the target's folder, with the mode that the target will have."""
    import secrets  # slow: it imports hashlib and OpenSSL, which reading does not need

    folder, name = os.path.split(target)
    mode = 0o666 if before is None else stat.S_IMODE(before.st_mode) & 0o777
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        # In the same folder, since a rename must stay within one file system. Not with tempfile,
        # since only the owner may read its files.
        stem = _stem(folder, name)
        temporary = os.path.join(folder, _TEMPORARY.format(stem, secrets.token_hex(4)))
        try:
            file = os.fdopen(os.open(temporary, flags, mode), "wb")
        except OSError as error:
            error.filename = target  # the name that the user knows
            raise
        try:
            if fcntl:
                with suppress(OSError):  # file systems without locks keep their leftovers
                    fcntl.flock(file, fcntl.LOCK_EX)
                if not os.path.exists(temporary):  # another process deleted it before the lock
                    file.close()
                    continue
            if before is not None and os.name == "posix":
                with suppress(OSError):  # users can give files only to their own groups
                    os.fchown(file.fileno(), -1, before.st_gid)
                with suppress(OSError):  # and only the administrator can change the owner
                    os.fchown(file.fileno(), before.st_uid, -1)
                os.fchmod(file.fileno(), mode)  # restore bits that the umask has cleared
            return file, temporary
        except BaseException:
            file.close()
            os.unlink(temporary)
            raise


def _stem(folder: str, name: str) -> str:
    """The name, shortened if the temporary file's name would be too long."""
    longest = 255
    if os.name == "posix":
        with suppress(OSError):  # if the folder does not exist
            longest = os.pathconf(folder, "PC_NAME_MAX")
    room = longest - _TEMPORARY_BYTES
    while len(os.fsencode(name)) > room:
        name = name[:-1]
    return name


def _sweep(target: str) -> None:
    """Delete temporary files for this name whose processes have ended."""
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


def _sync_folder(target: str) -> None:
    """Make the new name survive a power cut, if the file system can sync folders.

    Raises:
        UnsyncedError: if it can, and failed.
    """
    if os.name != "posix":
        return
    try:
        handle = os.open(os.path.dirname(target), os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise UnsyncedError(
                error.errno,
                f"the new file is in place, but may not survive a power cut: {error.strerror} in "
                "fsync of its folder; check the disk",
                target,
            ) from None
