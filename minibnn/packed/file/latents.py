"""Latent weights beside a packed model in its file, so that training can continue."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import TypeVar

import numpy as np

from minibnn.backend import backend_of
from minibnn.input_contract import InputContract
from minibnn.layers import Layer
from minibnn.packed.compile.lower import lower
from minibnn.packed.errors import PackedFileError, PackError
from minibnn.packed.file.container import read_file
from minibnn.packed.file.load import LATENT, packed_model
from minibnn.packed.model import PackedModel
from minibnn.packed.stages import HostArray
from minibnn.parameter import Buffer, Parameter

_Model = TypeVar("_Model", bound=Layer)


def load_latents(path: str | os.PathLike[str], model: _Model) -> _Model:
    """Fill a model with the latent weights and buffers of a file, to continue training.

    Everything is checked before the model changes: names, shapes, dtypes, and that the filled model
    is, bit for bit, the packed model of the file (`PackedModel.verify`). The file has neither the
    optimiser's state nor the random streams of dropout and stochastic signs, so both start anew.

    Args:
        path: a file of ``save_packed(packed, path, model=model)``.
        model: of the same architecture, with or without values, on any device. Its arrays are
            written in place, so an optimiser that holds them stays valid.

    Returns:
        the model.

    Raises:
        PackedFileError: for a file without latent weights, or with another model's; and as from
            `load_packed`.
        OSError: if it cannot be read.
    """
    container = read_file(path)
    packed = packed_model(container)
    arrays = container.arrays()
    latents = {k.removeprefix(LATENT): a for k, a in arrays.items() if k.startswith(LATENT)}
    name = os.fspath(path)
    if not latents and [*_holders(model)]:  # a model without parameters has no latent weights
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
        np.dtype(packed.input_dtype), packed.input_shape, source=f"load_latents, {name}"
    )
    return model


def _holders(model: Layer) -> Iterator[tuple[str, Parameter | Buffer]]:
    """All parameters and buffers with their paths."""
    yield from model.named_parameters()
    yield from _buffers("", model)


def _buffers(path: str, layer: Layer) -> Iterator[tuple[str, Buffer]]:
    yield from ((path + buffer.name, buffer) for buffer in layer.own_parts()[1])
    for name, child in layer.named_children():
        yield from _buffers(f"{path}{name}.", child)


def latent_arrays(model: Layer) -> dict[str, HostArray]:
    """The values of a model's parameters and buffers by path, on the host.

    Arrays without values (direct feedback before the first training pass) are left out.

    Raises:
        PackError: for two of the same path.
    """
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
    """Raise PackedFileError unless the latents fit this initialised copy of the model."""
    optional = {path for path, holder in _holders(trial) if holder.data is None}
    if optional & set(latents):  # drawn in the first training pass, which determines their shapes
        try:
            # Before anything is computed on such images.
            lower(trial, packed.input_shape, packed.input_dtype)
        except PackError as error:
            raise PackedFileError(
                f"{name}: expected latent arrays that fit the model, got those of another: {error}"
            ) from None
        images = np.zeros((2, *packed.input_shape), packed.input_dtype)
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
