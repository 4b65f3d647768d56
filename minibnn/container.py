"""The container of minibnn's own files: safetensors with a digest of the whole file.

A `Format` is one kind of file: its name, its version, its limits and its error. What such a file
says in its texts and arrays is for the room that has the format to write and to check.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, NoReturn, TypeAlias

import numpy as np

from minibnn.regular_file import SpecialFileError, open_regular

__all__ = ["DTYPES", "Container", "Format", "read", "read_file", "read_header", "to_bytes", "write"]

HostArray: TypeAlias = np.ndarray[Any, Any]

NO_DIGEST = "0" * 64  # in place of the digest while it is computed
METADATA = "__metadata__"  # the header's key for texts, which no array can have as its name
# In the order in which the safetensors package writes arrays: large values first, so that all are
# aligned.
DTYPES: dict[str, np.dtype[Any]] = {
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_CODES = {dtype: code for code, dtype in DTYPES.items()}
_ORDER = {code: i for i, code in enumerate(DTYPES)}


@dataclass(frozen=True)
class Format:
    """A kind of file, with what its error messages say.

    Attributes:
        name: in the metadata, such as ``"minibnn-packed"``.
        version: of a file, unless its metadata say another; a reader refuses every other.
        content: what a file has, with its article: ``"a packed model"``.
        writer: the function that writes such files.
        error: the class of errors of files, a ValueError.
        max_bytes: of a file.
        older: versions that a reader takes as well. Metadata may have one of them as
            ``format_version``.
        max_header: bytes of the header, which has all texts.
        header_hint: what to do if the header is larger.
    """

    name: str
    version: int
    content: str
    writer: str
    error: type[ValueError]
    max_bytes: int
    max_header: int = 2**22
    header_hint: str = "leave figures out of it"
    older: tuple[int, ...] = ()


class Container(NamedTuple):
    """The parts of a file.

    Attributes:
        path: of the file, for messages.
        metadata: texts by name, without the digest.
        entries: the dtype, shape and offsets of each array, as in the header.
        header_bytes: size of the header, including its length field and its padding.
        sha256: the digest.
        data: the whole file.
    """

    path: str
    metadata: dict[str, str]
    entries: dict[str, dict[str, Any]]
    header_bytes: int
    sha256: str
    data: bytes | bytearray

    def sizes(self) -> dict[str, int]:
        """The bytes of each array."""
        return {k: e["data_offsets"][1] - e["data_offsets"][0] for k, e in self.entries.items()}

    def arrays(self) -> dict[str, HostArray]:
        """All arrays by name, as copies, which keep nothing else of the file in memory."""
        return {name: array.copy() for name, array in self.views().items()}

    def views(self) -> dict[str, HostArray]:
        """All arrays by name, as views of the file's bytes where these are aligned."""
        start, payload, arrays = self.header_bytes, memoryview(self.data), {}
        for name, entry in self.entries.items():
            begin, end = entry["data_offsets"]
            dtype = DTYPES[entry["dtype"]]
            flat = np.frombuffer(payload[start + begin : start + end], dtype)
            flat = np.require(flat, dtype.newbyteorder("="), "A")
            arrays[name] = flat.reshape(entry["shape"])
        return arrays


def to_bytes(form: Format, metadata: dict[str, str], arrays: Mapping[str, HostArray]) -> bytes:
    """The bytes of a file; equal arguments give equal bytes.

    Raises:
        TypeError: for an array of another dtype than `DTYPES` has.
    """
    first, ordered = _prepare(form, metadata, arrays)
    return b"".join([first, *map(_plain_bytes, ordered)])


def write(
    file: BinaryIO,
    path: str,
    form: Format,
    metadata: dict[str, str],
    arrays: Mapping[str, HostArray],
) -> None:
    """Write what `to_bytes` returns to an open file, without a copy of all arrays in memory.

    Args:
        file: open for writing; it need not be able to seek.
        path: of the file, for messages.
        form: the kind of file.
        metadata: texts by name.
        arrays: on the host, by name.

    Raises:
        form.error: before anything is written, if `read` would refuse the file's size.
        TypeError: for an array of another dtype than `DTYPES` has.
    """
    first, ordered = _prepare(form, metadata, arrays)
    if len(first) - 8 > form.max_header:
        raise form.error(
            f"{path}: expected a header of at most {form.max_header:,} bytes, got one of "
            f"{len(first) - 8:,} bytes; {form.header_hint}"
        )
    size = len(first) + sum(a.nbytes for a in ordered)
    if size > form.max_bytes:
        raise form.error(
            f"{path}: expected {form.content} of at most {form.max_bytes:,} bytes, got {size:,}"
        )
    file.write(first)
    for array in ordered:
        file.write(_plain_bytes(array))


def _sha256(data: bytes) -> Any:
    import hashlib  # slow: it imports OpenSSL, which training alone does not need

    return hashlib.sha256(data)


def _prepare(
    form: Format, metadata: dict[str, str], arrays: Mapping[str, HostArray]
) -> tuple[bytes, list[HostArray]]:
    """The header with its digest, and the arrays in the order of the file."""
    codes = {name: _code(name, array) for name, array in arrays.items()}
    entries: dict[str, Any] = {}
    ordered, end = [], 0
    for name in sorted(arrays, key=lambda name: (_ORDER[codes[name]], name)):
        array = arrays[name]
        begin, end = end, end + array.nbytes
        entries[name] = {
            "dtype": codes[name],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
        ordered.append(array)
    metadata = {"format": form.name, "format_version": str(form.version), **metadata}
    sha = _sha256(header(metadata, entries, NO_DIGEST))
    for array in ordered:
        sha.update(_plain_bytes(array))
    return header(metadata, entries, sha.hexdigest()), ordered


def _code(name: str, array: HostArray) -> str:
    if name == METADATA:
        raise ValueError(
            f"expected another name for an array than {name!r}, which safetensors uses"
        )
    code = _CODES.get(array.dtype.newbyteorder("<"))
    if code is None:
        raise TypeError(
            f"expected integers, bools, float32 or float64 in the array {name!r}, got "
            f"{array.dtype}; convert it, with astype(np.float32) for instance"
        )
    return code


def _plain_bytes(array: HostArray) -> Any:
    """The array's bytes in row-major order, little-endian, without a copy if they are that."""
    plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return plain.reshape(-1).view(np.uint8)


def read_file(path: str | os.PathLike[str], form: Format) -> Container:
    """The parts of a file, if it is whole and not too large.

    Raises:
        form.error: as from `read`; for a file larger than the format allows, and for a pipe or a
            device.
        OSError: if it cannot be read.
    """
    name = os.fspath(path)
    try:
        file, size = open_regular(name)
    except SpecialFileError as special:
        raise form.error(
            f"{name}: expected {form.content}, got {special.kind}; {special.hint}"
        ) from None
    with file:
        if size > form.max_bytes:
            raise form.error(
                f"{name}: expected {form.content} of at most {form.max_bytes:,} bytes, got "
                f"{size:,}; is this a file of {form.writer}?"
            )
        # The header comes first, so that a file of another length than it states is not read.
        head = file.read(8)
        length = int.from_bytes(head, "little")
        head += file.read(length if length <= min(form.max_header, size) else 0)
        read_header(head, size, name, form)
        data = bytearray(size)
        data[: len(head)] = head
        end = len(head)
        with memoryview(data) as view:
            while more := file.readinto(view[end:]):  # type: ignore[attr-defined]
                end += more
        return read(data if end == size else data[:end], name, form)  # shorter by now


def read(data: bytes | bytearray, path: str, form: Format) -> Container:
    """The parts of a file that `write` made.

    Raises:
        form.error: for a file that is cut off, damaged, from another program or from a newer
            version.
    """
    metadata, entries, start = read_header(data, len(data), path, form)
    stated = metadata.pop("sha256", None)
    right = digest(metadata, entries, memoryview(data)[start:])
    if stated != right or header(metadata, entries, right) != data[:start]:
        raise form.error(
            f"{path}: expected the content that its sha256 is of, got another; it is damaged"
        )
    payload: HostArray = np.frombuffer(data, np.uint8)[start:]
    for name, entry in entries.items():
        begin, end = entry["data_offsets"]
        if entry["dtype"] == "BOOL" and (payload[begin:end] > 1).any():
            raise form.error(
                f"{path}: expected bytes of 0 and 1 as the bools {_short(name)}, got others; it is "
                "damaged"
            )
    return Container(path, metadata, entries, start, right, data)


def read_header(
    data: bytes | bytearray, size: int, path: str, form: Format
) -> tuple[dict[str, str], dict[str, dict[str, Any]], int]:
    """The metadata, the arrays' entries, and the offset of the first array.

    Args:
        data: the beginning of the file, including the whole header.
        size: of the file.
        path: of the file, for messages.
        form: the kind of file.

    Raises:
        form.error: as from `read`.
    """

    def refuse(expected: str, got: str, hint: str) -> NoReturn:
        raise form.error(f"{path}: expected {expected}, got {got}; {hint}")

    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > size - 8:
        refuse(
            "a whole safetensors file",
            f"{size:,} bytes, too few for its header",
            "it is cut off, or no safetensors",
        )
    start = 8 + length
    if length > form.max_header:
        got = f"one of {length:,} bytes"
        refuse(f"a header of at most {form.max_header:,} bytes", got, form.header_hint)
    try:
        entries = json.loads(data[8:start])
        metadata = entries.pop(METADATA, {})
        plain = all(type(v) is str for v in metadata.values())
    except (ValueError, TypeError, AttributeError, RecursionError):
        plain = False
    if not plain:
        refuse("a safetensors header", "something else", "it is damaged, or no safetensors")
    if metadata.get("format") != form.name:
        got = "none" if "format" not in metadata else _short(metadata["format"])
        refuse(f"safetensors of the format {form.name!r}", got, f"use a file of {form.writer}")
    versions = [str(version) for version in (*form.older, form.version)]
    if metadata.get("format_version") not in versions:
        refuse(
            f"format version {' or '.join(versions)}",
            _short(metadata.get("format_version")),
            f"use the minibnn that wrote it ({_short(metadata.get('minibnn'))}) or a later one",
        )
    payload = _payload_size(entries)
    if payload is None:
        refuse("arrays one after another", "a header that says otherwise", "it is damaged")
    if size != start + payload:
        expected, got = f"{start + payload:,} bytes", f"{size:,}"
        refuse(expected, got, "it is cut off, or something follows it")
    return metadata, entries, start


def header(metadata: dict[str, str], entries: dict[str, Any], sha256: str) -> bytes:
    """The header with its length in front, in canonical form."""
    content = {METADATA: {**metadata, "sha256": sha256}, **entries}
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays are aligned
    return len(text).to_bytes(8, "little") + text


def digest(
    metadata: dict[str, str], entries: dict[str, Any], payload: bytes | bytearray | memoryview
) -> str:
    """The SHA-256 of a file, with zeros in the place of the digest."""
    sha = _sha256(header(metadata, entries, NO_DIGEST))
    sha.update(payload)
    found: str = sha.hexdigest()
    return found


def _payload_size(entries: dict[str, Any]) -> int | None:
    """The end of the last array; None if arrays overlap, leave gaps, or have the wrong size."""
    spans = []
    for entry in entries.values():
        if type(entry) is not dict or set(entry) != {"dtype", "shape", "data_offsets"}:
            return None
        dtype, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, *span] if type(shape) is type(span) is list else [None]
        if not all(type(n) is int and 0 <= n < 2**62 for n in numbers):
            return None
        if type(dtype) is not str or dtype not in DTYPES or len(span) != 2 or len(shape) > 8:
            return None
        if span[1] - span[0] != math.prod(shape) * DTYPES[dtype].itemsize:
            return None
        spans.append((span[0], span[1]))
    end = 0
    for begin, stop in sorted(spans):
        if begin != end:
            return None
        end = stop
    return end


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
