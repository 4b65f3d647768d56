"""The file format: safetensors with a digest of the whole file."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, NamedTuple, NoReturn

import numpy as np

from minibnn.packed.errors import PackedFileError
from minibnn.packed.stages import HostArray

FORMAT, VERSION = "minibnn-packed", 1
MAX_HEADER = 2**22  # bytes
NO_DIGEST = "0" * 64  # in place of the digest while it is computed
_DTYPES = {
    "U8": np.uint8,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
    "F32": np.float32,
    "F64": np.float64,
}


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
    data: bytes

    def sizes(self) -> dict[str, int]:
        """The bytes of each array."""
        return {k: e["data_offsets"][1] - e["data_offsets"][0] for k, e in self.entries.items()}

    def arrays(self) -> dict[str, HostArray]:
        """All arrays by name."""
        start, payload, arrays = self.header_bytes, memoryview(self.data), {}
        for name, entry in self.entries.items():
            begin, end = entry["data_offsets"]
            dtype = np.dtype(_DTYPES[entry["dtype"]]).newbyteorder("<")
            flat = np.frombuffer(payload[start + begin : start + end], dtype)
            arrays[name] = flat.astype(dtype.newbyteorder("=")).reshape(entry["shape"])
        return arrays


def write(metadata: dict[str, str], arrays: dict[str, HostArray]) -> bytes:
    """The bytes of a file; equal arguments give equal bytes."""
    from safetensors.numpy import save

    data = save({name: np.ascontiguousarray(a) for name, a in arrays.items()})
    # The safetensors package writes metadata in no fixed order, so the header is made anew here.
    start = 8 + int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:start])
    metadata = {"format": FORMAT, "format_version": str(VERSION), **metadata}
    payload = memoryview(data)[start:]
    digest = _digest(_header(metadata, entries, NO_DIGEST), payload)
    return _header(metadata, entries, digest) + payload


def read(data: bytes, path: str) -> Container:
    """The parts of a file that `write` made.

    Raises:
        PackedFileError: for a file that is cut off, damaged, from another program or from a newer
            version.
    """
    metadata, entries, start = read_header(data, len(data), path)
    stated = metadata.pop("sha256", None)
    digest = _digest(_header(metadata, entries, NO_DIGEST), memoryview(data)[start:])
    if stated != digest or _header(metadata, entries, digest) != data[:start]:
        raise PackedFileError(
            f"{path}: expected the content that its sha256 is of, got another; it is damaged"
        )
    return Container(path, metadata, entries, start, digest, data)


def read_header(
    data: bytes, size: int, path: str
) -> tuple[dict[str, str], dict[str, dict[str, Any]], int]:
    """The metadata, the arrays' entries, and the offset of the first array.

    Args:
        data: the beginning of the file, including the whole header.
        size: of the file.
        path: of the file, for messages.

    Raises:
        PackedFileError: as from `read`.
    """

    def refuse(expected: str, got: str, hint: str) -> NoReturn:
        raise PackedFileError(f"{path}: expected {expected}, got {got}; {hint}")

    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > size - 8:
        refuse(
            "a whole safetensors file",
            f"{size:,} bytes, too few for its header",
            "it is cut off, or no safetensors",
        )
    start = 8 + length
    if length > MAX_HEADER:
        got = f"one of {length:,} bytes"
        refuse(f"a header of at most {MAX_HEADER:,} bytes", got, "leave figures out of it")
    try:
        entries = json.loads(data[8:start])
        metadata = entries.pop("__metadata__", {})
        plain = all(type(v) is str for v in metadata.values())
    except (ValueError, TypeError, AttributeError, RecursionError):
        plain = False
    if not plain:
        refuse("a safetensors header", "something else", "it is damaged, or no safetensors")
    if metadata.get("format") != FORMAT:
        got = "none" if "format" not in metadata else _short(metadata["format"])
        refuse(f"safetensors of the format {FORMAT!r}", got, "use a file of save_packed")
    if metadata.get("format_version") != str(VERSION):
        refuse(
            f"format version {VERSION}",
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


def _header(metadata: dict[str, str], entries: dict[str, Any], digest: str) -> bytes:
    """The header with its length in front, in canonical form."""
    content = {"__metadata__": {**metadata, "sha256": digest}, **entries}
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays are aligned
    return len(text).to_bytes(8, "little") + text


def _digest(header: bytes, payload: memoryview) -> str:
    digest = hashlib.sha256(header)
    digest.update(payload)
    return digest.hexdigest()


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
        if type(dtype) is not str or dtype not in _DTYPES or len(span) != 2 or len(shape) > 8:
            return None
        if span[1] - span[0] != math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize:
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
