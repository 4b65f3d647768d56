"""The wall: the bits of the first layer that has some, a tile for each of its units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from minibnn.functions import Function, weight_levels
from minibnn.layers import Layer
from minibnn.parameter import Parameter

HostArray: TypeAlias = np.ndarray[Any, Any]

MOST_BITS = 2**17  # of a frame
MOST_COLOURS = 4  # channels that are shown side by side
MOST_OF_A_NUMBER = 64  # bits of an input code that are shown as a row


@dataclass(frozen=True)
class Wall:
    """Which weights are shown, and how.

    Attributes:
        path: of the weight, such as ``"2.weight"``.
        layer: its layer's short name.
        units: of the layer; the first `shown` of them are shown.
        shown: how many units have a tile.
        inputs: how many weights of a unit are shown.
        tile: rows and columns of a tile; the last row may be incomplete.
        meaning: what a tile shows, in words.
        low: the lower of the two values: -1, or 0; a scale does not count.
    """

    path: str
    layer: str
    units: int
    shown: int
    inputs: int
    tile: tuple[int, int]
    meaning: str
    low: int


@dataclass(frozen=True)
class FirstBits:
    """The weight that the wall shows.

    Attributes:
        path: such as ``"2.weight"``.
        layer: which it belongs to.
        weight: with the latent weights.
        quantizer: from these to the bits.
        low: as in `Wall`.
    """

    path: str
    layer: Layer
    weight: Parameter
    quantizer: Function
    low: int


def find_bits(model: Layer) -> FirstBits | None:
    """The first weight of two values, of which only one is above zero."""
    layers = dict(_layers("", model))
    for path, parameter, function in model.named_quantized():
        shape = parameter.shape
        levels = weight_levels(function, len(shape), shape[-1])
        if levels is not None and len(levels) == 2 and levels[0] <= 0 < levels[1]:
            layer = layers[path.rpartition(".")[0]]
            return FirstBits(path, layer, parameter, function, -1 if levels[0] < 0 else 0)
    return None


def _layers(path: str, layer: Layer) -> Any:
    yield path, layer
    for name, child in layer.named_children():
        yield from _layers(f"{path}.{name}" if path else name, child)


def layout(bits: FirstBits, sample: tuple[int, ...] | None) -> tuple[Wall, HostArray]:
    """The wall of a weight, and which of a unit's inputs stands where.

    Args:
        bits: the weight; its last axis counts the units.
        sample: the shape of one sample, if it is known.

    Returns:
        the wall, and the inputs in the order of the tile, row by row.
    """
    *own, units = bits.weight.shape
    order, tile, meaning = _tile(tuple(own), sample)
    order = order[:MOST_BITS]
    shown = max(1, min(units, MOST_BITS // len(order)))
    name = str(bits.layer)
    return Wall(bits.path, name, units, shown, len(order), tile, meaning, bits.low), order


def _tile(
    own: tuple[int, ...], sample: tuple[int, ...] | None
) -> tuple[HostArray, tuple[int, int], str]:
    """The order of a unit's inputs, the tile's shape, and its meaning."""
    n = math.prod(own)
    if len(own) == 3 and own[2] <= MOST_COLOURS:
        return _image(own, f"a window of {own[0]}x{own[1]} pixels")
    if len(own) == 2 and own[1] <= MOST_OF_A_NUMBER:
        k, channels = own
        order = np.arange(n).reshape(own).T.ravel()
        return order, (channels, k), f"a window of {k} steps, a row for each of {channels} channels"
    if len(own) == 1 and sample is not None:
        if len(sample) in (2, 3) and math.prod(sample) == n and (*sample, 1)[2] <= MOST_COLOURS:
            return _image((*sample, 1)[:3], f"{sample[0]}x{sample[1]} pixels")
        features = math.prod(sample)
        if n % features == 0 and 1 < n // features <= MOST_OF_A_NUMBER:
            tile = features, n // features
            return np.arange(n), tile, f"{features} numbers, a row of {tile[1]} bits for each"
    columns = math.isqrt(n - 1) + 1
    return np.arange(n), (-(-n // columns), columns), f"{n:,} inputs"


def _image(shape: tuple[int, ...], meaning: str) -> tuple[HostArray, tuple[int, int], str]:
    height, width, channels = shape
    order = np.arange(math.prod(shape)).reshape(shape).transpose(0, 2, 1).ravel()
    more = f", {channels} channels side by side" if channels > 1 else ""
    return order, (height, width * channels), meaning + more


def wall_bits(positive: HostArray, wall: Wall, order: HostArray) -> HostArray:
    """The bits of all tiles, packed eight to a byte, the first in the highest place.

    Args:
        positive: which of the weight's values are above zero, in its shape.
        wall: the wall.
        order: as from `layout`.
    """
    rows = positive.reshape(-1, wall.units).T[: wall.shown]
    return np.packbits(rows[:, order])
