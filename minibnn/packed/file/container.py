"""The format of packed models' files; `minibnn/container.py` reads and writes it."""

from __future__ import annotations

import os

from minibnn import container
from minibnn.container import Container, Format
from minibnn.packed.errors import PackedFileError
from minibnn.packed.stages import HostArray

PACKED = Format(
    name="minibnn-packed",
    version=2,
    older=(1,),
    content="a packed model",
    writer="save_packed",
    error=PackedFileError,
    max_bytes=2**31,
)


def write(metadata: dict[str, str], arrays: dict[str, HostArray]) -> bytes:
    """The bytes of a file; equal arguments give equal bytes."""
    return container.to_bytes(PACKED, metadata, arrays)


def read(data: bytes, path: str) -> Container:
    """The parts of a file that `write` made.

    Raises:
        PackedFileError: for a file that is cut off, damaged, from another program or from a newer
            version.
    """
    return container.read(data, path, PACKED)


def read_file(path: str | os.PathLike[str]) -> Container:
    """The parts of a file, if it is whole and not too large.

    Raises:
        PackedFileError: as from `load_packed`.
        OSError: if it cannot be read.
    """
    return container.read_file(path, PACKED)
