"""A packed model as one safetensors file that knows whether it is whole."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np

import minibnn
from minibnn.data.whole_file import whole_file
from minibnn.packed.bits import rows_of_flat
from minibnn.packed.errors import PackedFileError, PackError
from minibnn.packed.model import PackedModel, check_certificate
from minibnn.packed.stages import (
    Binarize,
    ConvStage,
    DenseStage,
    HostArray,
    PoolStage,
    Product,
    ScoreStage,
    Stage,
    ThresholdStage,
    size_of,
)

FORMAT, VERSION = "minibnn-packed", 1
NO_DIGEST = "0" * 64  # stands where the digest will, while it is computed
_CLASSES = {
    kind.kind: kind for kind in (Binarize, DenseStage, ConvStage, PoolStage, ThresholdStage)
} | {ScoreStage.kind: ScoreStage}
_ValueT = TypeVar("_ValueT")


def save_packed(
    packed: PackedModel,
    path: str | os.PathLike[str],
    *,
    training: dict[str, Any] | None = None,
) -> None:
    """Write a packed model to one file, which appears whole or not at all.

    The file is safetensors: any reader of these opens it. Its arrays are named ``<stage>.<name>``,
    weights as bits row after row without padding (bit i of byte j is bit 8 j + i), directions as
    bits too, integers in 16, 32 or 64 bits. Its metadata has ``format``, ``format_version``,
    ``minibnn`` (the version that wrote it), and as JSON ``architecture``, ``certificate`` and
    ``training``; ``sha256`` is the digest of the whole file with 64 zeros in its own place. One
    model gives the same bytes every time.

    Args:
        packed: the model.
        path: of the file.
        training: figures to keep beside it, such as ``{"accuracy": 0.966}``; anything that JSON
            can hold. None for those that `packed` has.

    Raises:
        TypeError: for figures that JSON cannot hold.
        OSError: if the file cannot be written.
    """
    training = packed.training if training is None else training
    data = _to_bytes(replace(packed, training=training))
    with whole_file(path) as file:
        file.write(data)


def load_packed(path: str | os.PathLike[str]) -> PackedModel:
    """Read a file that `save_packed` wrote, and refuse any other.

    Raises:
        PackedFileError: for a file that is cut off, damaged anywhere, of another program or of a
            newer version.
        OSError: if it cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read()
    return _from_bytes(data, os.fspath(path))


class _Header(NamedTuple):
    entries: dict[str, Any]  # by the name of an array: its dtype, shape and place
    metadata: dict[str, str]
    size: int  # of the header in the file, with its length

    def to_bytes(self, digest: str) -> bytes:
        """In the one form that this module writes."""
        content = {"__metadata__": {**self.metadata, "sha256": digest}, **self.entries}
        text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # so that the arrays are aligned
        return len(text).to_bytes(8, "little") + text


def _to_bytes(packed: PackedModel) -> bytes:
    from safetensors.numpy import save

    architecture = {
        "input_shape": list(packed.input_shape),
        "stages": [_describe(stage) for stage in packed.stages],
    }
    metadata = {
        "format": FORMAT,
        "format_version": str(VERSION),
        "minibnn": minibnn.__version__,
        "architecture": _json("architecture", architecture),
        "certificate": _json("certificate", packed.certificate),
        "training": _json("training", packed.training),
    }
    arrays = {name: np.ascontiguousarray(a) for name, a in packed.file_arrays().items()}
    data = save(arrays)
    # The library writes metadata in no fixed order; the header is written anew in a fixed one.
    start = 8 + int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:start])
    header = _Header(entries, metadata, start)
    digest = hashlib.sha256(header.to_bytes(NO_DIGEST) + data[start:]).hexdigest()
    return header.to_bytes(digest) + data[start:]


def _json(name: str, value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"save_packed: expected {name} that JSON can hold: {error}") from None


def _describe(stage: Stage) -> dict[str, Any]:
    """A stage without its arrays; what follows from these, or is the usual, is left out."""
    values = {k: v for k, v in vars(stage).items() if not isinstance(v, np.ndarray)}
    return {"kind": stage.kind, **{k: v for k, v in values.items() if k != "width"}}


def _from_bytes(data: bytes, path: str) -> PackedModel:
    def refuse(expected: str, got: str, mend: str = "save it again") -> NoReturn:
        raise PackedFileError(f"{path}: expected {expected}, got {got}; {mend}")

    header = _read_header(data, path)
    metadata = header.metadata
    if metadata.get("format") != FORMAT:
        got = "none" if "format" not in metadata else repr(metadata["format"])
        refuse(f"safetensors of the format {FORMAT!r}", got, "use a file of save_packed")
    if metadata.get("format_version") != str(VERSION):
        refuse(
            f"format version {VERSION}",
            repr(metadata.get("format_version")),
            f"use the minibnn that wrote it ({metadata.get('minibnn')!r}) or a later one",
        )
    ends = [entry["data_offsets"][1] for entry in header.entries.values()]
    size = header.size + max(ends, default=0)
    if len(data) != size:
        refuse(f"{size:,} bytes", f"{len(data):,}: it is cut off, or something follows it")
    stated = metadata.pop("sha256", None)
    digest = hashlib.sha256(header.to_bytes(NO_DIGEST) + data[header.size :]).hexdigest()
    if stated != digest or header.to_bytes(digest) != data[: header.size]:
        refuse("the content that its sha256 is of", "another: it is damaged")
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        architecture = json.loads(metadata["architecture"])
        certificate, training = (json.loads(metadata[k]) for k in ("certificate", "training"))
        shape = tuple(architecture["input_shape"])
        stages = _stages(architecture["stages"], load(data))
        packed = PackedModel(shape, stages, certificate, training)
        _require_fit(packed)
        check_certificate(packed)
    except (SafetensorError, KeyError, TypeError, ValueError, PackError) as error:
        refuse("a packed model", f"what is none ({error})")
    return packed


def _read_header(data: bytes, path: str) -> _Header:
    """The header as it stands, its form checked as far as this module relies on it."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise PackedFileError(
            f"{path}: expected a whole safetensors file, got {len(data):,} bytes, too few for its "
            "header; it is cut off, or no safetensors"
        )
    try:
        entries = json.loads(data[8 : 8 + length])
        metadata = entries.pop("__metadata__", {})
        texts = all(isinstance(v, str) for v in metadata.values())
        ends = all(isinstance(entry["data_offsets"][1], int) for entry in entries.values())
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        texts = ends = False
    if not (texts and ends):
        raise PackedFileError(
            f"{path}: expected a safetensors header, got something else; it is damaged, or no "
            "safetensors"
        )
    return _Header(entries, metadata, 8 + length)


def _stages(described: list[dict[str, Any]], arrays: dict[str, HostArray]) -> tuple[Stage, ...]:
    stages: list[Stage] = []
    for i, description in enumerate(described):
        values = {k: _tuples(v) for k, v in description.items()}
        kind = _CLASSES[values.pop("kind")]
        own = {k.partition(".")[2]: a for k, a in arrays.items() if k.partition(".")[0] == str(i)}
        if issubclass(kind, Product):
            values["width"] = size_of(values["in_shape"])
            if kind is ConvStage:
                values["width"] = size_of((*values["size"], values["in_shape"][-1]))
            own["weights"] = rows_of_flat(own["weights"], values["out_shape"][-1], values["width"])
        elif kind is ThresholdStage:
            n = len(own["thresholds"])
            bits = own.get("falling", np.zeros(-(-n // 8), np.uint8))
            own["falling"] = np.unpackbits(bits, bitorder="little", count=n).astype(bool)
            own["thresholds"] = own["thresholds"].astype(np.int32)
        elif kind is ScoreStage:
            own |= {name: own[name].astype(np.int64) for name in ("A", "B")}
        stages.append(kind(**{**values, **own}))
    return tuple(stages)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _require_fit(packed: PackedModel) -> None:
    """Raise ValueError unless each stage takes as many values as the one before gives."""
    size = size_of(packed.input_shape)
    for stage in packed.stages:
        if size_of(stage.in_shape) != size:
            raise ValueError(f"a {stage.kind} stage of {stage.in_shape} after {size} values")
        size = size_of(stage.out_shape)
    if packed.classes != size:
        raise ValueError(f"{packed.classes} scores of {size} values")
