"""The weights of a layer as integers of a byte, exact or rounded."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from minibnn.functions import DoReFaWeights
from minibnn.layers.weighted import Weighted
from minibnn.packed.stages import HostArray

MOST = 127  # the largest weight


class Weights(NamedTuple):
    """Rows of integers: weight i of channel c is ``size[c] rows[c, i]``, up to `rest`.

    Attributes:
        rows: (channels, width) of int8, from -127 to 127.
        size: of each channel.
        model: (channels, width) of floats, the model's own weights.
        rest: (channels, width) of float64, ``|model - size rows|``; None if all of them are 0.
    """

    rows: HostArray
    size: tuple[Fraction, ...]
    model: HostArray
    rest: HostArray | None

    @property
    def binary(self) -> bool:
        """Whether all integers are +1 and -1."""
        return bool((abs(self.rows) == 1).all())


def weights_of(layer: Weighted, Wq: HostArray) -> Weights:
    """The integers for finite weights `Wq` of a layer.

    They are exact if a channel's weights are multiples of one number, up to 127 times. So they are
    for signs, ternary weights and powers of two, with or without a scale. `DoReFaWeights` of up to
    7 bits are taken for what its formula says, odd multiples of 1 / (2^bits - 1), which floats
    round. All other weights are rounded: the largest of a channel becomes 127 or -127.
    """
    model = Wq.reshape(-1, Wq.shape[-1]).T
    quantizer = layer.weight_quantizer
    if isinstance(quantizer, DoReFaWeights) and 2**quantizer.bits - 1 <= MOST:
        n = 2**quantizer.bits - 1
        rows = np.rint(model * n).astype(np.int8)
        return Weights(rows, (Fraction(1, n),) * len(rows), model, None)
    first = abs(model[:, 0])
    if (abs(model) == first[:, None]).all():  # weights of 0 are bits, too, of the size 0
        rows = np.where(model >= 0, np.int8(1), np.int8(-1))
        return Weights(rows, tuple(Fraction(float(a)) for a in first), model, None)
    units = [_common_unit(row) for row in model.astype(np.float64)]
    exact = [unit for unit in units if unit is not None]
    if len(exact) == len(units):
        floats = np.array([float(unit) for unit in exact])[:, None]
        return Weights(np.rint(model / floats).astype(np.int8), tuple(exact), model, None)
    size = tuple(Fraction(float(m)) / MOST or Fraction(1) for m in abs(model).max(axis=1))
    floats = np.array([float(s) for s in size])[:, None]
    near = np.rint(model / floats).clip(-MOST, MOST)
    return Weights(near.astype(np.int8), size, model, abs(model - near * floats))


def _common_unit(row: HostArray) -> Fraction | None:
    """The greatest number of which all in the row are multiples, if at most 127 times; or None."""
    sizes = abs(row[row != 0])
    if not len(sizes):
        return Fraction(1)
    exponent = int(np.frexp(sizes.min())[1])
    if sizes.max() > MOST * sizes.min():
        return None
    whole = np.ldexp(sizes, 53 - exponent).astype(np.int64)  # below 2^60, without rounding
    unit = int(np.gcd.reduce(whole))
    if int(whole.max()) > MOST * unit:
        return None
    return Fraction(unit) * Fraction(2) ** (exponent - 53)
