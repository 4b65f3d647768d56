"""Read and write IDX, the format of the MNIST files: a short header, then one array.

Layout, all numbers big-endian:

    byte 0, 1     zero
    byte 2        element type: 08 uint8, 09 int8, 0B int16, 0C int32, 0D float32, 0E float64
    byte 3        number of dimensions
    then          one uint32 per dimension: its size
    then          the elements in row-major order, and nothing after them

Reference: http://yann.lecun.com/exdb/mnist/, section "The IDX file format".
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from typing import Any, BinaryIO

import numpy as np

from minibnn.atomic_file import whole_file
from minibnn.backend import require_plain
from minibnn.checks import integer
from minibnn.data.errors import IdxFormatError
from minibnn.regular_file import SpecialFileError, open_regular

__all__ = ["read_idx", "read_idx_stream", "write_idx"]

_TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(np.uint8),
    0x09: np.dtype(np.int8),
    0x0B: np.dtype(np.int16),
    0x0C: np.dtype(np.int32),
    0x0D: np.dtype(np.float32),
    0x0E: np.dtype(np.float64),
}
_CODES = {dtype: code for code, dtype in _TYPES.items()}
_MAX_RANK = 64  # the limit of NumPy; the format allows 255
_CHUNK = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_AGAIN = "the file is damaged, fetch it again"

# Frequent mistakes for an IDX file: first bytes, name, hint.
_LOOK_ALIKES = (
    (b"<!doctype html", "an HTML page", "a server sent a web page instead: fetch it again"),
    (b"<html", "an HTML page", "a server sent a web page instead: fetch it again"),
    (b"<?xml", "an XML document", "a server sent an error instead: fetch it again"),
    (b"version https://git-lfs", "a Git LFS pointer", "run 'git lfs pull' to get the file itself"),
    (b"pk\x03\x04", "a zip archive", "unpack it first"),
    (b"\x93numpy", "a NumPy .npy file", "read it with numpy.load"),
    (_GZIP_MAGIC, "gzip inside gzip", "decompress it once"),
)


def read_idx(
    path: str | os.PathLike[str],
    *,
    max_bytes: int = 2**31,
) -> np.ndarray[Any, Any]:
    r"""Read the array in an IDX file, plain or gzipped (its first two bytes decide, not its name).

    A file that is cut, damaged or too long is refused. A header that declares more than the file
    contains costs no memory.

    Args:
        path: the file.
        max_bytes: the largest array to accept, in bytes.

    Shapes:
        returns any rank from 1 to 64, uint8, int8, int16, int32, float32 or float64, in the
        machine's byte order, C-contiguous and writable.

    Raises:
        IdxFormatError: the content is not exactly one IDX array of at most `max_bytes`, or `path`
            names a pipe or a device, which may have no end.
        OSError: the file cannot be opened or read.

    Reference: http://yann.lecun.com/exdb/mnist/, "The IDX file format".

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "labels.idx"
    ...     _ = path.write_bytes(b"\0\0\x08\x01" + b"\0\0\0\x03" + b"\x07\x02\x01")
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    name = os.fspath(path)
    max_bytes = integer("read_idx", "max_bytes", max_bytes)
    try:
        file, size = open_regular(name)
    except SpecialFileError as special:
        raise IdxFormatError(name, 0, "a file", special.kind, special.hint) from None
    with file:
        return read_idx_stream(name, file, size, max_bytes)


def read_idx_stream(
    name: str, file: BinaryIO, size: int, max_bytes: int = 2**31
) -> np.ndarray[Any, Any]:
    """Read the array in an open file of `size` bytes; messages call it `name`.

    Raises:
        IdxFormatError: as from `read_idx`.
    """
    gzipped = file.read(2) == _GZIP_MAGIC
    file.seek(0)
    if not gzipped:
        return _read_array(name, file, size, max_bytes)
    with gzip.GzipFile(fileobj=file) as stream:
        try:
            return _read_array(name, stream, size, max_bytes)
        except EOFError as error:  # the three errors of gzip have no useful base class in common
            got = "a gzip file that is cut short"
            raise _gzip_error(name, stream, got) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise _gzip_error(name, stream, f"corrupt gzip data ({error})") from error


def write_idx(path: str | os.PathLike[str], array: np.ndarray[Any, Any]) -> None:
    """Write an array as an IDX file, gzipped if the name ends in `.gz`.

    The write is atomic: if it is interrupted, the old file stays. The same array always gives the
    same bytes, also with gzip (from the same version of zlib).

    Shapes:
        array: any rank from 1, uint8, int8, int16, int32, float32 or float64; any memory order.

    Raises:
        TypeError: IDX has no code for the array's dtype.
        ValueError: the array has no dimensions, or a dimension is too long for the format.
        OSError: the file cannot be written.

    Reference: http://yann.lecun.com/exdb/mnist/, "The IDX file format".

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "row.idx"
    ...     write_idx(path, np.array([1, -2], dtype=np.int16))
    ...     path.read_bytes().hex(" ")
    '00 00 0b 01 00 00 00 02 00 01 ff fe'
    """
    require_plain(array)
    array = np.asarray(array)
    header = idx_header(array)
    payload = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder(">"))
    with whole_file(path) as file:
        if not os.fspath(path).endswith(".gz"):
            file.write(header)
            file.write(payload.data)
            return
        # A name or a time in the gzip header would change the bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as stream:
            stream.write(header)
            stream.write(payload.data)


def idx_header(array: np.ndarray[Any, Any]) -> bytes:
    """The bytes before the elements of `array` in an IDX file."""
    code = _CODES.get(array.dtype.newbyteorder("="))
    if code is None:
        allowed = ", ".join(dtype.name for dtype in _CODES)
        hint = ".astype(np.uint8)" if array.dtype == np.bool_ else ".astype(...) to one of them"
        raise TypeError(
            f"write_idx: expected a dtype that IDX can hold ({allowed}), "
            f"got {array.dtype}; convert it with {hint}"
        )
    if array.ndim == 0:
        raise ValueError(
            "write_idx: expected at least one dimension, got a 0-d array; use array.reshape(1)"
        )
    if max(array.shape) >= 2**32:
        raise ValueError(
            f"write_idx: expected every dimension below 2**32, got shape {array.shape}; "
            "split the array over several files"
        )
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)


def _read_array(
    path: str, stream: BinaryIO | gzip.GzipFile, size: int, max_bytes: int
) -> np.ndarray[Any, Any]:
    """Read header and elements, and check that the file ends there."""
    dtype, shape = _read_header(path, stream)
    start = 4 + 4 * len(shape)
    # Python's integers do not overflow. An absurd size is refused even beside an empty dimension.
    if math.prod(max(size, 1) for size in shape) * dtype.itemsize > max_bytes:
        got = f"dimensions {shape} of {dtype}"
        hint = "raise max_bytes if the file truly is that large"
        raise IdxFormatError(path, 4, f"at most {max_bytes} bytes (max_bytes)", got, hint)
    declared = math.prod(shape) * dtype.itemsize
    gzipped = isinstance(stream, gzip.GzipFile)
    largest = start + declared + declared // 16 + (1 << 16)
    if gzipped and size > largest:  # gzip skips trailing zeros byte by byte, which takes long
        expected = f"at most {largest} bytes of gzip for {shape} {dtype}"
        hint = "two files joined, or wrong dimensions in the header?"
        raise IdxFormatError(path, start, expected, f"{size}", hint)
    payload = _read_at_most(stream, declared + 1)
    expected = f"{declared} bytes of elements for {shape} {dtype}"
    if len(payload) < declared:
        end = start + len(payload)
        raise IdxFormatError(path, end, expected, f"{len(payload)} bytes", f"cut off: {_AGAIN}")
    if len(payload) > declared:
        # The exact excess of a gzip file would require unpacking all of it; it may be a bomb.
        got = "more" if gzipped else f"{stream.seek(0, os.SEEK_END) - start} bytes"
        hint = "two files joined, or wrong dimensions in the header?"
        raise IdxFormatError(path, start + declared, expected, got, hint)
    array = np.ndarray(shape, dtype.newbyteorder(">"), buffer=payload)
    return array.astype(dtype, copy=False)


def _read_header(
    path: str, stream: BinaryIO | gzip.GzipFile
) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Read the element type and the sizes of the dimensions."""
    magic = stream.read(4)
    if len(magic) < 4:
        got = f"a file that ends inside its header, after {len(magic)} bytes"
        raise IdxFormatError(path, len(magic), "an IDX header of 4 bytes or more", got, _AGAIN)
    if magic[:2] != b"\x00\x00":
        got, hint = _look_alike(magic + stream.read(60))
        raise IdxFormatError(path, 0, "an IDX file (two zero bytes first)", got, hint)
    _, code, rank = struct.unpack(">HBB", magic)
    if code not in _TYPES:
        expected = "an element type 08, 09, 0b, 0c, 0d or 0e"
        raise IdxFormatError(path, 2, expected, f"code {code:02x}", "is this an IDX file?")
    if not 1 <= rank <= _MAX_RANK:
        expected = f"1 to {_MAX_RANK} dimensions"
        raise IdxFormatError(path, 3, expected, f"{rank}", "is this an IDX file?")
    sizes = stream.read(4 * rank)
    if len(sizes) < 4 * rank:
        end = 4 + len(sizes)
        got = f"a file that ends inside its header, after {end} bytes"
        raise IdxFormatError(path, end, f"the sizes of {rank} dimensions", got, _AGAIN)
    return _TYPES[code], struct.unpack(f">{rank}I", sizes)


def _look_alike(head: bytes) -> tuple[str, str]:
    """What a file that is not IDX seems to be, and a hint."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for prefix, name, hint in _LOOK_ALIKES:
        if start.startswith(prefix):
            return name, hint
    shown = f"bytes {head[:4].hex(' ')}"
    if head[1] in _TYPES and head[2:4] == b"\x00\x00":
        return f"{shown}, a byte-swapped header", "IDX is big-endian: write it with write_idx"
    return shown, "is this an IDX file?"


def _read_at_most(stream: BinaryIO | gzip.GzipFile, count: int) -> bytearray:
    """Read up to `count` bytes; memory grows with the bytes that arrive."""
    received = bytearray()
    while chunk := stream.read(min(_CHUNK, count - len(received))):
        received += chunk
    return received


def _gzip_error(path: str, stream: gzip.GzipFile, got: str) -> IdxFormatError:
    return IdxFormatError(path, stream.tell(), "a whole gzip file", got, _AGAIN)
