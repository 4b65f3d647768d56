"""Open the file that a user named, and refuse what is none or is too large."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from minibnn.data.errors import DatasetNotFoundError, SamplesError
from minibnn.regular_file import SpecialFileError, open_regular

__all__ = ["MOST_BYTES", "open_source"]

MOST_BYTES = 2**31


@contextmanager
def open_source(
    path: str | os.PathLike[str], most: int = MOST_BYTES
) -> Iterator[tuple[BinaryIO, int]]:
    """The open file and its size in bytes.

    Raises:
        DatasetNotFoundError: there is no such file, or it cannot be read.
        SamplesError: it is a pipe, a device or a folder, or has more than `most` bytes.
    """
    name = os.fspath(path)
    try:
        file, size = open_regular(name)
    except SpecialFileError as special:
        raise SamplesError(name, "a file", special.kind, special.hint) from None
    except IsADirectoryError:
        raise SamplesError(name, "a file", "a folder", "name a file in it") from None
    except (OSError, ValueError) as error:  # ValueError: a byte 0 in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise DatasetNotFoundError(
            f"{name}: expected a file that can be read, got {reason}; check the name"
        ) from None
    with file:
        if size > most:
            hint = "split the file"
            raise SamplesError(name, f"at most {most} bytes", f"{size}", hint)
        yield file, size
