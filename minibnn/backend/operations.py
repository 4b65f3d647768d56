"""Operations on arrays that layers, losses and functions share, each done where its arrays live."""

from __future__ import annotations

import math

from minibnn.backend.array import MOST_TERMS, Array
from minibnn.backend.select import backend_of


def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    """The matrix product ``a @ b``: the one way to multiply matrices here.

    Shapes: a (..., n, k), b (..., k, m); the result and `out` (..., n, m).
    """
    return backend_of(a).matmul(a, b, out)


def batch_sum(x: Array, out: Array | None = None) -> Array:
    """Sums over all axes but the last: over the batch and over the positions in a sample.

    .. code-block:: text

        sum[c] = sum over n and p of x[n, p, c]

    Accurate in float32, and added up in an order that depends on the shape alone; see
    `two_stage_sum`. Sums over a batch are taken this way wherever training needs one.

    Shapes: x (batch, ..., channels); the sums and `out` (channels,).

    Args:
        x: the values.
        out: takes the sums, if it is given.

    >>> import numpy as np
    >>> batch_sum(np.arange(12.0).reshape(2, 3, 2))
    array([30., 36.])
    """
    return backend_of(x).run(two_stage_sum, x, out)


def batch_mean(x: Array) -> Array:
    """Means over all axes but the last: `batch_sum` over the number of values a channel has.

    Shapes: x (batch, ..., channels); the means (channels,).
    """
    return batch_sum(x) / math.prod(x.shape[:-1])


def batch_total(x: Array) -> Array:
    """The sum of all values of a batch, for losses.

    Accurate in float32, since it is added up in pairs, the pairs in pairs, and so on, in an order
    that depends on the shape alone.

    Shapes: x any; the sum ().
    """
    return x.sum()


def two_stage_sum(x: Array, out: Array | None) -> Array:
    """`batch_sum`: over the batch first, then over the positions.

    A sum's rounding error grows with how many numbers one accumulator takes in, and a batch of
    images has a million for each channel; here it has `MOST_TERMS` at most: a larger batch is
    added up by halves. The first stage is a product with ones, the fastest sum of rows there is.

    Shapes: as in `batch_sum`.
    """
    xp, batch, channels = backend_of(x).xp, len(x), x.shape[-1]
    if batch > MOST_TERMS:
        first, second = x[: batch // 2], x[batch // 2 :]
        return xp.add(two_stage_sum(first, None), two_stage_sum(second, None), out=out)
    positions = math.prod(x.shape[1:-1])
    ones = xp.ones((1, batch), x.dtype)
    sums = matmul(ones, x.reshape(batch, positions * channels)).reshape(positions, channels)
    return sums.sum(axis=0, out=out) if positions <= MOST_TERMS else two_stage_sum(sums, out)
