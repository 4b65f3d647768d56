"""Reading a packed model from a file, and refusing every other file."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from typing import Any

from minibnn.container import Container
from minibnn.packed.compile.fold import Integers, certificates
from minibnn.packed.description import describe, format_version, to_json
from minibnn.packed.errors import PackedFileError, PackError
from minibnn.packed.file.architecture import build
from minibnn.packed.file.container import read_file
from minibnn.packed.integer_stages import LevelStage
from minibnn.packed.model import PackedModel
from minibnn.packed.ranges import Range, ranges
from minibnn.packed.stages import PoolStage, Product, ThresholdStage, sources_of

LATENT = "latent."  # the prefix of arrays that are latent weights or buffers


@dataclass(frozen=True)
class PackedFileInfo:
    """The parts of a file of `save_packed`; their sizes add up to the file's.

    Attributes:
        format_version: of the file.
        minibnn: the version that wrote it.
        sha256: the digest of all bytes of the file, with zeros in place of the digest.
        header_bytes: everything except arrays.
        payload_bytes: the packed model's arrays, `PackedModel.nbytes`.
        latent_bytes: the latent weights and buffers that `load_latents` reads, or 0.
    """

    format_version: int
    minibnn: str
    sha256: str
    header_bytes: int
    payload_bytes: int
    latent_bytes: int

    @property
    def bytes(self) -> int:
        """The size of the file."""
        return self.header_bytes + self.payload_bytes + self.latent_bytes


def load_packed(path: str | os.PathLike[str]) -> PackedModel:
    """Read a file that `save_packed` wrote, and refuse any other.

    Latent weights are covered by the file's digest, but not loaded.

    Raises:
        PackedFileError: for a file that is cut off, damaged, larger than 2 GiB, from another
            program or from a newer version; for a pipe or a device; and for a model that exceeds
            a limit on memory, operations, stages, channels or classes (``docs/packed-format.md``).
        OSError: if it cannot be read.
    """
    return packed_model(read_file(path))


def packed_file_info(path: str | os.PathLike[str]) -> PackedFileInfo:
    """The sizes of a file's parts, its version and its digest.

    Raises:
        PackedFileError: as from `load_packed`.
        OSError: if it cannot be read.
    """
    container = read_file(path)
    packed_model(container)
    sizes = container.sizes()
    latent = sum(n for name, n in sizes.items() if name.startswith(LATENT))
    return PackedFileInfo(
        int(container.metadata["format_version"]),
        container.metadata["minibnn"],
        container.sha256,
        container.header_bytes,
        sum(sizes.values()) - latent,
        latent,
    )


def packed_model(container: Container) -> PackedModel:
    """The packed model of a file, checked.

    Raises:
        PackedFileError: as from `load_packed`.
    """
    arrays = {k: a for k, a in container.arrays().items() if not k.startswith(LATENT)}
    metadata = container.metadata
    try:
        expected = {"format", "format_version", "minibnn", "architecture", "certificate"}
        if set(metadata) != expected | {"training"}:
            raise ValueError(f"metadata {sorted(metadata)}")
        texts = {name: metadata[name] for name in ("architecture", "certificate", "training")}
        values = {name: _from_json(text) for name, text in texts.items()}
        interface, stages = build(values["architecture"], arrays)
        packed = PackedModel(
            interface.shape, stages, values["certificate"], values["training"], interface.dtype,
            interface.features, interface.classes, interface.numbers,
        )  # fmt: skip
        if metadata["format_version"] != str(format_version(interface, stages)):
            raise ValueError("another format version than save_packed's")
        _check_certificate(packed)
        if type(packed.training) is not dict:
            raise ValueError("training that is no object")
        values["architecture"] = describe(interface, stages)  # without defaults
        for name, text in texts.items():
            if to_json(values[name]) != text:
                raise ValueError(f"{name} in another form of JSON than save_packed's")
    except (ValueError, PackError, RecursionError) as error:
        raise PackedFileError(
            f"{container.path}: expected a packed model, got something else ({error}); save it "
            "again"
        ) from None
    return packed


def _check_certificate(packed: PackedModel) -> None:
    """Raise PackError unless the certificate is one that `pack` gives with these thresholds."""
    certificate = packed.certificate
    known = [[to_json(entry) for entry in entries] for entries in possible_entries(packed)]
    listed = certificate.get("thresholds") if type(certificate) is dict else None
    if (
        type(listed) is not list
        or not set(certificate) <= {"thresholds", "bound"}
        or len(listed) != len(known)
        or not all(to_json(e) in texts for e, texts in zip(listed, known, strict=True))
    ):
        raise PackError("expected a certificate of these thresholds, got another")
    if "bound" in certificate:
        _check_bound(certificate["bound"])


def possible_entries(packed: PackedModel) -> list[list[dict[str, Any]]]:
    """For each stage with thresholds, the entries that `pack` may give it in a certificate."""
    found = ranges(packed.input_shape, packed.stages)
    return [
        [{"stage": i, **entry} for entry in certificates(_sums_before(packed, found, i), stage)]
        for i, stage in enumerate(packed.stages)
        if isinstance(stage, ThresholdStage | LevelStage)
    ]


def _sums_before(packed: PackedModel, found: list[Range], i: int) -> Product | Integers:
    """What stage i compares: the sums of a product, perhaps pooled, or other integers."""
    (at,) = sources_of(i, packed.stages[i])
    while isinstance(packed.stages[at], PoolStage):
        (at,) = sources_of(at, packed.stages[at])
    source = packed.stages[at]
    if isinstance(source, Product):
        return source
    (at,) = sources_of(i, packed.stages[i])
    return Integers(*found[at].of_shape(packed.stages[at].out_shape, packed.stages[i].in_shape))


def _check_bound(bound: Any) -> None:
    if type(bound) is not dict or set(bound) != {"same_signs", "any_signs"}:
        raise PackError("expected two numbers as the bound, got others")
    same, any_ = bound["same_signs"], bound["any_signs"]
    if not (type(same) is type(any_) is float and 0 <= same <= any_ < math.inf):
        raise PackError("expected two numbers as the bound, the second not below the first")


def _from_json(text: str) -> Any:
    """The value that `to_json` was given.

    Raises:
        ValueError: for anything else.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("JSON nested too deep") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"expected numbers, got {name}")
