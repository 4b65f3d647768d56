"""A packed model as one file, with the latent weights beside it if training is to go on."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from minibnn.atomic_file import whole_file
from minibnn.backend import backend_of
from minibnn.input_contract import InputContract
from minibnn.layers import Layer
from minibnn.packed import walk
from minibnn.packed.container import MAX_HEADER, VERSION, Container, read, read_header, write
from minibnn.packed.describe import build, describe, from_json, to_json
from minibnn.packed.errors import PackedFileError, PackError
from minibnn.packed.model import PackedModel, check_certificate
from minibnn.packed.stages import HostArray
from minibnn.parameter import Buffer, Parameter
from minibnn.regular_file import SpecialFileError, open_regular
from minibnn.version import __version__

MAX_BYTES = 2**31  # of a file that is read: no model here comes near it
LATENT = "latent."  # how the names of arrays begin that are not the packed model's
_Model = TypeVar("_Model", bound=Layer)


@dataclass(frozen=True)
class PackedFileInfo:
    """What a file of `save_packed` consists of; the three parts add up to its bytes.

    Attributes:
        format_version: of the file.
        minibnn: the version that wrote it.
        sha256: the digest of all its bytes, with zeros in the digest's own place.
        header_bytes: everything but arrays.
        payload_bytes: the packed model's arrays, its `nbytes`.
        latent_bytes: the latent weights and buffers that `load_latents` reads; 0 without.
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


def save_packed(
    packed: PackedModel,
    path: str | os.PathLike[str],
    *,
    training: dict[str, Any] | None = None,
    model: Layer | None = None,
) -> None:
    """Write a packed model to one file, which appears whole or not at all.

    The file is safetensors: any reader of these opens it, and ``docs/packed-format.md`` describes
    it. One model gives the same bytes every time.

    Args:
        packed: the model.
        path: of the file; what stands there is replaced.
        training: figures to keep beside it, such as ``{"accuracy": 0.966}``; a dict of anything
            that JSON can hold. None for those that `packed` has.
        model: the model that was packed, whose latent weights and buffers are to go into the file
            too, in its dtype, so that `load_latents` can go on training. They are several times
            as large as the rest.

    Raises:
        TypeError: for figures that JSON cannot hold, and for what is no packed model.
        PackError: if `model` is not what was packed.
        OSError: if the file cannot be written.

    >>> import pathlib, tempfile
    >>> from minibnn import Dense, Rescale, Sequential, SignSTE, pack
    >>> def build():
    ...     return Sequential(Rescale(1 / 255), Dense(784, 10, weight_quantizer=SignSTE()))
    >>> model = build().initialize(0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "digits.safetensors"
    ...     save_packed(pack(model, (784,)), path, model=model)
    ...     again = load_latents(path, build())
    >>> bool((again[1].weight.data == model[1].weight.data).all())
    True
    """
    if not isinstance(packed, PackedModel):
        got = type(packed).__name__
        raise TypeError(f"save_packed: expected a PackedModel, got {got}; pack(model) makes one")
    training = packed.training if training is None else training
    arrays = packed.file_arrays()
    if model is not None:
        try:
            packed.verify(model)
        except PackError as error:
            raise PackError(f"save_packed: expected the model that was packed: {error}") from None
        arrays |= {LATENT + name: value for name, value in _values(model).items()}
    data = write(_metadata(packed, training), arrays)
    try:
        _packed(read(data, os.fspath(path)))
    except PackedFileError as error:
        raise PackError(
            f"save_packed: expected a model that can be loaded again, got {error}"
        ) from None
    with whole_file(path) as file:
        file.write(data)


def load_packed(path: str | os.PathLike[str]) -> PackedModel:
    """Read a file that `save_packed` wrote, and refuse any other.

    Latent weights in it are checked as part of the file and left where they are.

    Raises:
        PackedFileError: for a file that is cut off, damaged anywhere, of another program or of a
            newer version, or larger than 2 GiB; for a pipe or a device, which may have no end; and
            for a program that costs more than any sensible one, by the limit: memory, operations,
            stages, channels, classes (``docs/packed-format.md`` lists them all).
        OSError: if it cannot be read.
    """
    return _packed(_read(path))


def packed_file_info(path: str | os.PathLike[str]) -> PackedFileInfo:
    """How large the parts of a file are, and what it says of itself.

    Raises:
        PackedFileError: as from `load_packed`.
        OSError: if it cannot be read.
    """
    container = _read(path)
    _packed(container)
    sizes = container.sizes()
    latent = sum(n for name, n in sizes.items() if name.startswith(LATENT))
    return PackedFileInfo(
        VERSION,
        container.metadata["minibnn"],
        container.sha256,
        container.header_bytes,
        sum(sizes.values()) - latent,
        latent,
    )


def load_latents(path: str | os.PathLike[str], model: _Model) -> _Model:
    """Fill a model with the latent weights and buffers of a file, to go on training.

    Everything is checked before anything is written: names, shapes, dtypes, and that the filled
    model, bit for bit, is the one that the file has packed (`PackedModel.verify`). What only the
    optimiser knows is not in the file: its moments start anew. So do the streams that dropout and
    stochastic signs draw from.

    Args:
        path: a file of ``save_packed(packed, path, model=model)``.
        model: of the same architecture, freshly built or with values; on any device. Its arrays
            are written in place, so an optimiser that holds them stays intact.

    Returns:
        the model.

    Raises:
        PackedFileError: for a file without latent weights, or with those of another model; and as
            from `load_packed`.
        OSError: if it cannot be read.
    """
    container = _read(path)
    packed = _packed(container)
    arrays = container.arrays()
    latents = {k.removeprefix(LATENT): a for k, a in arrays.items() if k.startswith(LATENT)}
    name = os.fspath(path)
    if not latents:
        raise PackedFileError(
            f"{name}: expected latent weights, got the packed model alone; save it with "
            "save_packed(packed, path, model=model)"
        )
    fresh = any(parameter.data is None for parameter in model.parameters())
    dtype = next(iter(latents.values())).dtype if fresh else model.dtype
    trial = copy.deepcopy(model).to("cpu")
    if fresh:
        trial.initialize(0, dtype)
    _require_fit(name, trial, packed, latents)
    _fill(trial, latents)
    try:
        packed.verify(trial)
    except PackError as error:
        raise PackedFileError(
            f"{name}: expected the latent weights of the model that it has packed, got others "
            f"({error}); save it again, or build the model that was saved"
        ) from None
    if fresh:
        model.initialize(0, dtype)
    _fill(model, latents)
    model.input_contract = InputContract(
        np.dtype(np.uint8), packed.input_shape, source=f"load_latents, {name}"
    )
    return model


# --- the packed part ------------------------------------------------------------------------------


def _metadata(packed: PackedModel, training: dict[str, Any]) -> dict[str, str]:
    if type(training) is not dict:
        raise TypeError(f"save_packed: expected training as a dict, got {training!r}")
    try:
        figures = to_json(training)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"save_packed: expected training that JSON can hold: {error}") from None
    return {
        "minibnn": __version__,
        "architecture": to_json(describe(packed.input_shape, packed.stages)),
        "certificate": to_json(packed.certificate),
        "training": figures,
    }


def _read(path: str | os.PathLike[str]) -> Container:
    name = os.fspath(path)
    try:
        file, size = open_regular(name)
    except SpecialFileError as special:
        raise PackedFileError(
            f"{name}: expected a packed model, got {special.kind}; {special.hint}"
        ) from None
    with file:
        if size > MAX_BYTES:
            raise PackedFileError(
                f"{name}: expected a packed model of at most {MAX_BYTES:,} bytes, got {size:,}; "
                "is this a file of save_packed?"
            )
        # The header first: a file that is not as long as it says is not read, however long it is.
        head = file.read(8)
        length = int.from_bytes(head, "little")
        head += file.read(length if length <= min(MAX_HEADER, size) else 0)
        read_header(head, size, name)
        return read(head + file.read(size - len(head)), name)


def _packed(container: Container) -> PackedModel:
    arrays = {k: a for k, a in container.arrays().items() if not k.startswith(LATENT)}
    metadata = container.metadata
    try:
        expected = {"format", "format_version", "minibnn", "architecture", "certificate"}
        if set(metadata) != expected | {"training"}:
            raise ValueError(f"metadata {sorted(metadata)}")
        texts = {name: metadata[name] for name in ("architecture", "certificate", "training")}
        values = {name: from_json(text) for name, text in texts.items()}
        shape, stages = build(values["architecture"], arrays)
        packed = PackedModel(shape, stages, values["certificate"], values["training"])
        check_certificate(packed)
        if type(packed.training) is not dict:
            raise ValueError("training that is no object")
        values["architecture"] = describe(shape, stages)  # without what it need not say
        for name, text in texts.items():
            if to_json(values[name]) != text:
                raise ValueError(f"{name} in another form of JSON than save_packed's")
    except (ValueError, PackError, RecursionError) as error:
        raise PackedFileError(
            f"{container.path}: expected a packed model, got what is none ({error}); save it again"
        ) from None
    return packed


# --- the latent part ------------------------------------------------------------------------------


def _holders(model: Layer) -> Iterator[tuple[str, Parameter | Buffer]]:
    """All parameters and buffers with their paths.

    Raises:
        PackError: for two of one path.
    """
    yield from model.named_parameters()
    yield from _buffers("", model)


def _buffers(path: str, layer: Layer) -> Iterator[tuple[str, Buffer]]:
    yield from ((path + buffer.name, buffer) for buffer in layer.own_parts()[1])
    for name, child in layer.named_children():
        yield from _buffers(f"{path}{name}.", child)


def _values(model: Layer) -> dict[str, HostArray]:
    """On the host, by path; without those that nothing has been drawn for yet."""
    values: dict[str, HostArray] = {}
    for path, holder in _holders(model):
        if path in values:
            raise PackError(f"save_packed: expected one array named {path!r} in the model, got two")
        if holder.data is not None:
            values[path] = backend_of(holder.data).to_host(holder.data)
    return values


def _fill(model: Layer, latents: dict[str, HostArray]) -> None:
    for path, holder in _holders(model):
        if path not in latents:
            continue
        values = model.backend.asarray(latents[path])
        if holder.data is None:
            holder.data = values
        else:
            holder.data[...] = values


def _require_fit(
    name: str, trial: Layer, packed: PackedModel, latents: dict[str, HostArray]
) -> None:
    """Raise PackedFileError unless the file has what this initialised copy of the model takes."""
    optional = {path for path, holder in _holders(trial) if holder.data is None}
    if optional & set(latents):  # drawn in the first training pass, which tells their shapes
        try:
            walk.read(trial, packed.input_shape)  # before anything is computed on such images
        except PackError as error:
            raise PackedFileError(
                f"{name}: expected latent arrays that fit the model, got those of another: {error}"
            ) from None
        images = np.zeros((2, *packed.input_shape), np.uint8)
        with np.errstate(all="ignore"):
            trial.forward(images, train=True)
        trial.forget()
    shapes = {
        path: (h.data.shape, h.data.dtype) for path, h in _holders(trial) if h.data is not None
    }
    for path in sorted({*shapes, *latents}):
        here, there = shapes.get(path), latents.get(path)
        if here is None or there is None or here != (there.shape, there.dtype):
            wanted, got = (
                "none" if a is None else f"{a[1]} {a[0]}"
                for a in (here, None if there is None else (there.shape, there.dtype))
            )
            raise PackedFileError(
                f"{name}: expected latent arrays that fit the model, {wanted} for {path!r}, got "
                f"{got}; build the model that was saved"
            )
