"""Array operations that layers, losses and functions share; each runs where its arrays live."""

from __future__ import annotations

import math
from typing import Any

from minibnn.backend.array import MOST_TERMS, Array
from minibnn.backend.select import backend_of
from minibnn.backend.whole_batch import running


def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    """The matrix product ``a @ b``; minibnn multiplies matrices only this way.

    Shapes: a (..., n, k), b (..., k, m); the result and `out` (..., n, m).
    """
    return backend_of(a).matmul(a, b, out)


def batch_sum(x: Array, out: Array | None = None) -> Array:
    """Sums over all axes but the last: over the batch and over the positions in a sample.

    .. equations::

        sum[c] = sum over n and p of x[n, p, c]

    The sums are accurate in float32, and the order of the additions depends only on the shape; see
    `two_stage_sum`. Training computes all sums over a batch this way.

    Shapes: x (batch, ..., channels); the sums and `out` (channels,).

    Args:
        x: the values.
        out: where to write the sums; None for a new array.

    >>> import numpy as np
    >>> batch_sum(np.arange(12.0).reshape(2, 3, 2))
    array([30., 36.])
    """
    return backend_of(x).run(two_stage_sum, x, out)


def batch_mean(x: Array) -> Array:
    """Means over all axes but the last: `batch_sum` divided by the number of values in a channel.

    Where several processes compute parts of a batch, it is the mean over the whole batch; see
    `over_whole_batch`.

    Shapes: x (batch, ..., channels); the means (channels,).
    """
    n, sums = over_whole_batch(math.prod(x.shape[:-1]), batch_sum(x))
    return sums / n


def over_whole_batch(n: int, *sums: Array) -> tuple[Any, ...]:
    """The number of values of a channel, and sums over them, in the whole batch.

    In training on several ranks, a layer sees only a part of the batch. A layer of your own with
    a statistic over the batch calls this, in forward, backward or both; every part makes the same
    calls. In all other training it returns its arguments. Gradients of parameters are added up
    elsewhere, and need no call.

    Args:
        n: the number of values in this part.
        sums: over this part's samples, of one shape.
    """
    part = running.part
    return (n, *sums) if part is None else part.over_whole_batch(n, *sums)


def batch_total(x: Array) -> Array:
    """The sum of all values of a batch, for losses.

    It is accurate in float32: values are added in pairs, the pairs in pairs, and so on. The order
    depends only on the shape.

    Shapes: x any; the sum ().
    """
    return x.sum()


def two_stage_sum(x: Array, out: Array | None) -> Array:
    """`batch_sum`: over the batch first, then over the positions.

    The rounding error of a sum grows with the number of terms in one accumulator, and a batch of
    images has a million terms for each channel. Here an accumulator has at most `MOST_TERMS`: a
    larger batch is summed in halves. The first stage is a product with a row of ones, the fastest
    way to sum rows.

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
