"""A safetensors file that knows whether it is whole: arrays, metadata, and a digest of both."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, NamedTuple, NoReturn

import numpy as np

from minibnn.packed.errors import PackedFileError
from minibnn.packed.stages import HostArray

FORMAT, VERSION = "minibnn-packed", 1
MAX_HEADER = 2**22  # bytes; a header has a line for each array, and the figures about training
NO_DIGEST = "0" * 64  # stands where the digest will, while it is computed
_DTYPES = {
    "U8": np.uint8,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
    "F32": np.float32,
    "F64": np.float64,
}


class Container(NamedTuple):
    """What a file consists of.

    Attributes:
        path: of the file, for messages.
        metadata: texts by name; without the digest where it is `read`.
        entries: of each array its dtype, shape and place, as the header has them.
        header_bytes: size of the header in the file, with its length and its padding.
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
        """All of them."""
        start, payload, arrays = self.header_bytes, memoryview(self.data), {}
        for name, entry in self.entries.items():
            begin, end = entry["data_offsets"]
            dtype = np.dtype(_DTYPES[entry["dtype"]]).newbyteorder("<")
            flat = np.frombuffer(payload[start + begin : start + end], dtype)
            arrays[name] = flat.astype(dtype.newbyteorder("=")).reshape(entry["shape"])
        return arrays


def write(metadata: dict[str, str], arrays: dict[str, HostArray]) -> bytes:
    """A file's bytes: the same for the same arguments."""
    from safetensors.numpy import save

    data = save({name: np.ascontiguousarray(a) for name, a in arrays.items()})
    # The library writes metadata in no fixed order; the header is written anew in a fixed one.
    start = 8 + int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:start])
    metadata = {"format": FORMAT, "format_version": str(VERSION), **metadata}
    payload = memoryview(data)[start:]
    digest = _digest(_header(metadata, entries, NO_DIGEST), payload)
    return _header(metadata, entries, digest) + payload


def read(data: bytes, path: str) -> Container:
    """Take a file's bytes apart, if `write` made them.

    Raises:
        PackedFileError: for a file that is cut off, damaged anywhere, of another program or of a
            newer version.
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
    """The metadata, the arrays' entries, and where they start, if the file's size fits to them.

    Args:
        data: the beginning of the file, with all of its header.
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
    """With its length in front, in the one form that there is for each content."""
    content = {"__metadata__": {**metadata, "sha256": digest}, **entries}
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays are aligned
    return len(text).to_bytes(8, "little") + text


def _digest(header: bytes, payload: memoryview) -> str:
    digest = hashlib.sha256(header)
    digest.update(payload)
    return digest.hexdigest()


def _payload_size(entries: dict[str, Any]) -> int | None:
    """Where the last array ends; None unless they lie side by side and are as long as they say."""
    places = []
    for entry in entries.values():
        if type(entry) is not dict or set(entry) != {"dtype", "shape", "data_offsets"}:
            return None
        dtype, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, *place] if type(shape) is type(place) is list else [None]
        if not all(type(n) is int and 0 <= n < 2**62 for n in numbers):
            return None
        if type(dtype) is not str or dtype not in _DTYPES or len(place) != 2 or len(shape) > 8:
            return None
        if place[1] - place[0] != math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize:
            return None
        places.append((place[0], place[1]))
    end = 0
    for begin, stop in sorted(places):
        if begin != end:
            return None
        end = stop
    return end


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
