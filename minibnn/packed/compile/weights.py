"""The weights of a layer as integers of a byte, exact or rounded."""

from __future__ import annotations

import math
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
        float_rest: the same where the rows are exact, and the model's floats round its weights.
    """

    rows: HostArray
    size: tuple[Fraction, ...]
    model: HostArray
    rest: HostArray | None
    float_rest: HostArray | None = None

    @property
    def binary(self) -> bool:
        """Whether all integers are +1 and -1."""
        return bool((abs(self.rows) == 1).all())


def weights_of(layer: Weighted, Wq: HostArray) -> Weights:
    """The integers for finite weights `Wq` of a layer.

    A channel's are exact if its weights are multiples of one number, up to 127 times. So they are
    for signs, ternary weights and powers of two, with or without a scale. `DoReFaWeights` of up to
    7 bits are taken for what its formula says, odd multiples of 1 / (2^bits - 1), which floats
    round. The weights of other channels are rounded: the largest becomes 127 or -127.
    """
    model = Wq.reshape(-1, Wq.shape[-1]).T
    quantizer = layer.weight_quantizer
    if isinstance(quantizer, DoReFaWeights) and 2**quantizer.bits - 1 <= MOST:
        n = 2**quantizer.bits - 1
        rows = np.rint(model * n).astype(np.int8)
        off = abs(model - rows / float(n))
        return Weights(rows, (Fraction(1, n),) * len(rows), model, None, off)
    first = abs(model[:, 0])
    if (abs(model) == first[:, None]).all():  # weights of 0 are bits, too, of the size 0
        rows = np.where(model >= 0, np.int8(1), np.int8(-1))
        return Weights(rows, tuple(Fraction(float(a)) for a in first), model, None)
    size = np.array(
        [_common_unit(row) or abs(row).max() / MOST for row in model.astype(np.float64)]
    )
    rows = np.rint(model / size[:, None]).clip(-MOST, MOST)
    rest = abs(model - rows * size[:, None])
    units = tuple(map(Fraction, size.tolist()))
    return Weights(rows.astype(np.int8), units, model, rest if rest.any() else None)


def _common_unit(row: HostArray) -> float | None:
    """The greatest number of which all in the row are multiples, if at most 127 times; or None."""
    sizes = abs(row[row != 0])
    if not len(sizes):
        return 1.0
    if sizes.max() > MOST * sizes.min():
        return None
    exponent = 53 - int(np.frexp(sizes.min())[1])
    whole = np.ldexp(sizes, exponent).astype(np.int64)  # below 2^60, without rounding
    unit = int(np.gcd.reduce(whole))
    return None if int(whole.max()) > MOST * unit else math.ldexp(unit, -exponent)
