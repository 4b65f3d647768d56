"""Check that a model was trained on what its packed form takes: bytes, of one shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from minibnn.encoding.base import Fitted
from minibnn.input_contract import InputContract
from minibnn.layers import (
    Concatenate,
    Dropout,
    Flatten,
    Layer,
    Rescale,
    Reshape,
    Residual,
    Sequential,
)
from minibnn.packed.errors import PackError
from minibnn.packed.stages import DTYPES, HostArray, Shape


def trained_input(model: Layer, given: Shape | None) -> tuple[Shape, str]:
    """The shape and the dtype of one sample: what `model` was trained on.

    A model that begins with a code, or with `Standardize`, takes the dtype that it was trained on.
    Any other takes bytes.

    Raises:
        PackError: as from `trained_shape`; for a coded model, if it is not known what it was
            trained on, or if this was another dtype than `DTYPES`.
    """
    if not _is_coded(model):
        return trained_shape(model, given), "uint8"
    contract = next((c for c in _contracts_of_the_input(model) if c), None)
    if contract is None:
        shape = given or (next(x.features for x in _inside(model) if isinstance(x, Fitted)),)
        raise PackError(
            "pack: expected a model that knows its input, got one that was not trained by fit; say "
            f"it: model.input_contract = InputContract('float32', {shape}); pack(model)"
        )
    if str(contract.dtype) not in DTYPES:
        small = "int16" if contract.dtype.kind in "iu" else "float32"
        raise PackError(
            f"pack: expected inputs of {', '.join(DTYPES[:-1])} or {DTYPES[-1]}, got a model that "
            f"was trained on {contract}; train it on x.astype({small!r})"
        )
    if given not in (None, contract.shape):
        raise _another_shape(contract.shape, given)
    return contract.shape, str(contract.dtype)


def _contracts_of_the_input(model: Layer) -> Iterator[InputContract | None]:
    """Those of the first layer and of what holds it; later layers may take other values."""
    for layer in _in_order(model):
        yield layer.input_contract
        if not isinstance(layer, Sequential | Dropout):
            return


def _is_coded(model: Layer) -> bool:
    """Whether a code or `Standardize` comes before any product or sign, perhaps in a branch."""
    return bool(_codes(model))


def _codes(layer: Layer) -> bool | None:
    """Whether a layer codes the input, itself or in a branch; None if it passes values on."""
    if isinstance(layer, Fitted):
        return True
    if isinstance(layer, Residual | Concatenate):
        return any(_codes(branch) for _, branch in layer.named_children())
    if isinstance(layer, Sequential):
        return next((known for known in map(_codes, layer) if known is not None), None)
    return None if isinstance(layer, Dropout | Flatten | Reshape | Rescale) else False


def _inside(layer: Layer) -> Iterator[Layer]:
    """A layer and all layers in it, inside any container."""
    yield layer
    for _, child in layer.named_children():
        yield from _inside(child)


def trained_shape(model: Layer, given: Shape | None) -> Shape:
    """The shape of one image: the shape that `model` was trained on, or else `given`.

    Raises:
        PackError: for a model that was trained on anything but bytes, for another shape than in
            training, and if no shape is known.
    """
    shape = _known_shape(model, given) or given
    if shape is None:
        raise PackError(
            "pack: expected input_shape, the shape of one sample, since the model has not been "
            "trained on any; write pack(model, (28, 28)) for images, pack(model, (30,)) for rows "
            "of 30 bytes"
        )
    if given not in (None, shape):
        raise _another_shape(shape, given)
    return shape


def _another_shape(shape: Shape, given: Shape | None) -> PackError:
    return PackError(
        f"pack: expected input_shape {shape}, which the model was trained on, got {given}; leave "
        "it out: pack(model)"
    )


def _known_shape(model: Layer, given: Shape | None) -> Shape | None:
    """The shape that the model was trained on, or None if it is not known.

    A model that was assembled after training has no contract of its own. Then its first layer with
    a contract must have been trained on what the layers before it now make of bytes.

    Raises:
        PackError: for a model that was trained on anything but bytes.
    """
    ends: HostArray = np.array([[0], [255]], np.uint8)
    shape_is_kept = True
    for layer in _in_order(model):
        contract = layer.input_contract
        if contract is not None:
            shape = contract.shape if given is None else given
            said = f"input_contract = InputContract('uint8', {shape})"
            if ends.dtype == np.uint8 and not contract.bytes_only:
                _refuse_direct(contract, said)
            if ends.dtype != np.uint8 and not _spans(contract, ends):
                low, high = sorted(ends[:, 0].tolist())
                raise PackError(
                    f"pack: expected {layer} to be trained on what the layers before it make of "
                    f"bytes, {low:.6g} to {high:.6g}, got one trained on {contract}; train the "
                    "whole on bytes (uint8); or, if these layers do what was done outside of it, "
                    f"say so: model.{said}; pack(model)"
                )
            return contract.shape if shape_is_kept else None
        if isinstance(layer, Rescale):
            with np.errstate(all="ignore"):  # `lower` refuses an infinite scale
                ends = layer.forward(ends)
        elif isinstance(layer, Flatten | Reshape):
            shape_is_kept = False
        elif not isinstance(layer, Sequential | Dropout):
            break  # later layers take other values than the input's
    return None


def _in_order(layer: Layer) -> Iterator[Layer]:
    """A container, then its layers, in the order of evaluation."""
    yield layer
    if isinstance(layer, Sequential):
        for child in layer:
            yield from _in_order(child)


def _spans(contract: InputContract, ends: HostArray) -> bool:
    """Whether the range in training is that of rescaled bytes, to half a byte."""
    if contract.low is None or contract.high is None:
        return False
    low, high = sorted(map(float, ends[:, 0]))
    half = (high - low) / 510
    return abs(contract.low - low) <= half and abs(contract.high - high) <= half


def _refuse_direct(contract: InputContract, said: str) -> NoReturn:
    hints = ["train it on bytes (uint8), with Rescale(1 / 255) as its first layer"]
    floats = contract.dtype.kind == "f"
    if (contract.low, contract.high) in ((None, None), (0, 255)):
        what = "floats" if floats else contract.dtype
        hints.append(f"if these were bytes as {what}, say so: model.{said}; pack(model)")
    if floats and (contract.low, contract.high) != (0, 255):
        low, high = _scaled_range(contract)
        offset = f", {low:.7g}" if low else ""
        hints.append(
            f"if these were bytes that you scaled outside, 0 to {low:.7g} and 255 to {high:.7g}, "
            "put that scaling inside, and say so: whole = "
            f"Sequential(Rescale({high - low:.7g} / 255{offset}), model); whole.{said}; pack(whole)"
        )
    raise PackError(
        "pack: expected a model that was trained on bytes, whole numbers from 0 to 255, which are "
        f"all that its packed form takes, got one trained on {contract}; {'; or, '.join(hints)}"
    )


def _scaled_range(contract: InputContract) -> tuple[float, float]:
    """The probable images of 0 and 255: a usual range, or else the range in training."""
    if contract.low is None or contract.high is None:
        return 0.0, 1.0
    for low, high in ((0.0, 1.0), (-1.0, 1.0)):
        if low <= contract.low and contract.high <= high:
            return low, high
    return contract.low, contract.high
