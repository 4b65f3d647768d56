"""How far the values of a packed model may be from the model's, carried from stage to stage.

An array of errors has three rows, and a column for each channel. Each bounds a difference of values
in the model's own units, for all inputs:

.. code-block:: text

    SAME    between the packed model and the model in exact arithmetic, if all signs and levels
            before agree
    ANY     the same, whatever these do
    FLOAT   what the model itself rounds since the last sign

SAME and ANY come from weights that were rounded to a byte, and from fixed-point numbers. Where ANY
is 0, signs agree by themselves. The bounds are float64, whose own rounding `SLACK` covers.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from minibnn.packed.compile.fold import Fold, rounding
from minibnn.packed.compile.weights import Weights
from minibnn.packed.integer_stages import IntegerProduct
from minibnn.packed.ranges import Range, rows_of
from minibnn.packed.stages import HostArray, Product, ScoreStage, Shape

SAME, ANY, FLOAT = range(3)
SLACK = 1 + 1e-9


def no_error(channels: int) -> HostArray:
    """The errors of exact values."""
    return np.zeros((3, channels))


def of_shape(errors: HostArray, before: Shape, after: Shape) -> HostArray:
    """The errors of the same values as samples of another shape."""
    if before[-1] == after[-1]:
        return errors
    spread = np.broadcast_to(errors.reshape(3, *(1,) * (len(before) - 1), -1), (3, *before))
    found: HostArray = spread.reshape(3, -1, after[-1]).max(axis=1)
    return found


def of_sums(
    stage: Product | IntegerProduct,
    weights: Weights,
    errors: HostArray,
    largest: HostArray,
    dtype: np.dtype[Any],
) -> HostArray:
    """The errors of a product's sums, before the bias.

    .. equations::

        sum w x' - sum s q x  =  sum w (x' - x) + sum (w - s q) x

    Args:
        stage: the product.
        weights: w, s and q; what the model's floats round in w counts, too.
        errors: of x, for each channel.
        largest: of ``|x|``, for each channel, including a border.
        dtype: of the model, which rounds each of its products and sums.
    """
    size = abs(weights.model)

    def times(factors: HostArray, channels: HostArray) -> HostArray:
        """For each row, the sum of its products; without a copy of all weights."""
        rows = np.broadcast_to(rows_of(stage, channels), factors.shape)
        sums: HostArray = np.einsum("ci,ci->c", factors, rows, dtype=np.float64)
        return sums

    found = np.array([times(size, row) for row in errors])
    if weights.rest is not None:
        found[:FLOAT] += times(weights.rest, largest)
    if weights.float_rest is not None:
        found[FLOAT] += times(weights.float_rest, largest)
    sizes = times(size, largest + errors[ANY] + errors[FLOAT])
    found[FLOAT] += rounding(sizes, weights.rows.shape[1] + 2, dtype)
    return found


def of_levels(
    errors: HostArray, least: HostArray, greatest: HostArray, step: float, most: float
) -> HostArray:
    """The errors of signs and levels, from those of the values before.

    Where a value may be off, so may be the sign, unless the whole range is far from the change.

    Args:
        errors: before.
        least: of the values, minus the last threshold.
        greatest: of the values, minus the first threshold.
        step: from one level to the next; 2 for signs.
        most: from the first level to the last.
    """
    off = errors[ANY]
    turns = (off > 0) & (least <= off) & (greatest >= -off)
    after = no_error(errors.shape[1])
    after[ANY] = np.where(turns, np.minimum(off + step, most), 0)
    return after


def largest_of(taken: Range, unit: float, offset: float = 0.0) -> HostArray:
    """The largest size of ``unit x + offset`` in each channel."""
    ends = [abs(end * unit + offset) for end in taken]
    return np.maximum(*ends) * SLACK


def of_outputs(fold: Fold, stage: ScoreStage, errors: HostArray, precise: bool) -> HostArray:
    """The bounds SAME and ANY on the outputs, whatever the inputs.

    Beside `errors` there is what ``float32(acc) scale + offset`` rounds; they are infinite where
    float32 is. If `precise`, the bounds hold for ``score / 2^shift``, too.
    """
    found, unit, info = [], Fraction(2) ** -stage.shift, np.finfo(np.float32)
    eps, tiny, huge = (float(n) for n in (info.eps, info.smallest_subnormal, info.max))
    ends = zip(*(end.tolist() for end in fold.product.reach()), strict=True)
    integers = zip(stage.A.tolist(), stage.B.tolist(), strict=True)
    for (A, B), (a, b), two in zip(integers, fold.coefficients, ends, strict=True):
        most = max(map(abs, two))
        largest = abs(a) * most + abs(b)
        if 2 * largest > huge:
            found.append(math.inf)
            continue
        rounded = 5 * eps * float(largest) + tiny * (most + 2)
        lost = max(float(abs((A * unit - a) * acc + B * unit - b)) for acc in two)
        found.append(max(rounded, lost if precise else 0))
    total: HostArray = (errors[:FLOAT] + errors[FLOAT] + np.array(found)).max(axis=1) * SLACK
    return total
