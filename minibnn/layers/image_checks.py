"""Checks of layers with windows on images: their arguments and their input."""

from __future__ import annotations

from typing import Any

from minibnn.backend import Array
from minibnn.checks import integer
from minibnn.layers.base import Layer
from minibnn.windows import Windows


def pair(who: str, name: str, value: Any, *, least: int, other: str = "") -> tuple[int, int]:
    """(rows, columns), from a number for both or from a pair."""
    try:
        down, across = value if isinstance(value, tuple | list) else (value, value)
        both = integer(who, name, down), integer(who, name, across)
    except (TypeError, ValueError):
        raise TypeError(
            f"{who}: expected {name} to be an integer or a pair of them{other}, got {value!r}"
        ) from None
    if min(both) < least:
        raise ValueError(f"{who}: expected {name} of at least {least}, got {value!r}")
    return both


def check_images(layer: Layer, x: Array, channels: int | None = None) -> None:
    """Raise ValueError unless `x` is a batch of images with this number of channels."""
    if x.ndim == 4 and channels in (None, x.shape[-1]):
        return
    hint = ""
    if x.ndim == 3 and channels == x.shape[-1]:
        hint = "; for a single image, give a batch of one: x[None]"
    elif x.ndim == 3:
        hint = f"; images need a channel axis: put Reshape({(*x.shape[1:], 1)}) first"
        if channels not in (None, 1):
            hint += f", and make the layer's {channels} channels one"
    elif x.ndim == 2:
        hint = (
            "; images have rows, columns and channels: put Reshape((height, width, channels)) first"
        )
    elif x.ndim == 4 and x.shape[1] == channels:
        hint = "; channels are the last axis: x.transpose(0, 2, 3, 1)"
    wanted = "channels" if channels is None else channels
    raise ValueError(
        f"{layer}: expected x of shape (batch, height, width, {wanted}), got {x.shape}{hint}"
    )


def check_fit(layer: Layer, windows: Windows, shape: tuple[int, ...], hint: str) -> None:
    """Raise ValueError unless at least one window fits on images of this padded shape."""
    if min(windows.counts(shape)) < 1:
        reach = [d * (n - 1) + 1 for n, d in zip(windows.size, windows.dilation, strict=True)]
        raise ValueError(
            f"{layer}: expected images of at least {reach[0]} x {reach[1]} pixels, the reach of a "
            f"window, got {shape[1]} x {shape[2]}; {hint}"
        )
