"""Write a file so that it appears whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

__all__ = ["whole_file"]


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file to write that takes the place of `path` once all of it is on the disk.

    If the block raises, or the machine stops at any moment, what stood at `path` before stands
    there still. The file gets the mode that the umask gives any new file.

    Raises:
        OSError: the file cannot be written.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "answer"
    ...     with whole_file(path) as file:
    ...         _ = file.write(b"42")
    ...     path.read_bytes()
    b'42'
    """
    import secrets  # imports hashlib and OpenSSL, which reading data does not need

    folder, name = os.path.split(os.path.abspath(path))
    # In the same folder, since a file can be renamed only within its file system; and not by
    # tempfile, whose files nobody but their owner may read.
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if os.name == "posix":  # the new name, too, must survive a power cut
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
