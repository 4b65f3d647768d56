"""Weights of samples: how they enter a loss.

.. equations::

    L = sum_n w[n] l[n] / sum_n w[n]

So a sample of weight 2 counts as two equal samples, and one of weight 0 as none. The mean over a
batch whose weights are all 0 is 0, and so is its gradient.
"""

from __future__ import annotations

from minibnn.backend import Array, backend_of, batch_total


def require_weights(who: str, weights: Array, outputs: Array) -> Array:
    """The weights in the dtype of the outputs; their values are checked on the host only.

    Raises:
        TypeError: for weights on another device, or that are not numbers.
        ValueError: for another shape than (batch,), and on the host for weights that are negative
            or not finite.
    """
    backend = backend_of(outputs)
    if backend_of(weights) is not backend:
        raise TypeError(
            f"{who}: expected weights on the outputs' device, {backend.name}, got an array on "
            f"{backend_of(weights).name}; move them with get_backend({backend.name!r}).asarray"
        )
    check_weights(who, weights, len(outputs), look=backend.host)
    return weights.astype(outputs.dtype, copy=False)


def check_weights(who: str, weights: Array, samples: int, *, look: bool) -> None:
    """Raise unless weights are numbers of the right shape.

    Args:
        who: the message begins with it.
        weights: (samples,).
        samples: their number.
        look: whether to check the values too, which waits for the device.
    """
    if weights.shape != (samples,):
        hint = "; use weights.ravel()" if weights.size == samples else ""
        raise ValueError(
            f"{who}: expected weights of shape ({samples},), got {weights.shape}{hint}"
        )
    if weights.dtype.kind not in "fiub":
        raise TypeError(
            f"{who}: expected numbers as weights, got {weights.dtype}; if they are numbers, use "
            "weights.astype('float32')"
        )
    if look and samples and not (weights.min() >= 0 and weights.max() < float("inf")):
        raise ValueError(
            f"{who}: expected finite weights of at least 0, got {weights.min()} to "
            f"{weights.max()}; a weight of 0 leaves a sample out"
        )


def weighted(values: Array, weights: Array) -> Array:
    """Each sample's values times its weight.

    Shapes: values and result (N, ...); weights (N,).
    """
    return values * weights.reshape(-1, *[1] * (values.ndim - 1))


def total_weight(weights: Array) -> Array:
    """The sum of the weights, or 1 if they are all 0: ()."""
    total = batch_total(weights)
    return backend_of(weights).xp.where(total > 0, total, 1).astype(weights.dtype, copy=False)
