"""A sign of zero is +1: functions that are signs everywhere else are asked at zero."""

from __future__ import annotations

import copy

import numpy as np

from minibnn.backend import Array
from minibnn.functions import Function
from minibnn.layers import Layer

TINY = 1e-30  # nearer to zero than any threshold that is meant as one


def check_zero(layer: Layer, function: Function, x: Array) -> None:
    """Raise ValueError for a sign that jumps at zero and does not count both zeros as positive.

    A function is asked only if its values say that it is a sign: of one size, also next to zero,
    and opposite on the two sides. If 0 is a level of its own, numbers next to zero have it, too.

    Args:
        layer: that has the function.
        function: what to ask; a copy of it is.
        x: an argument that it was given; the shape of a sample is taken from it.
    """
    values = np.random.default_rng(0).standard_normal((8, *x.shape[1:]))
    for row, value in enumerate((0.0, -0.0, TINY, -TINY)):
        values[row] = value
    function = copy.deepcopy(function)  # which may draw
    for call in (function.forward, function.train_forward):
        try:
            with np.errstate(all="ignore"):
                y, again = call(values.copy()), call(values.copy())
        except Exception:  # it takes no such array, or draws and has no seed
            continue
        if y.shape != values.shape or not np.array_equal(y, again, equal_nan=True):
            continue  # no function of single values, or one that draws
        zero, minus_zero, above, below, *others = y
        is_sign = bool((above != 0).all() and (above == -below).all()) and all(
            (abs(other) == abs(above)).all() for other in others
        )
        if is_sign and not ((zero == above).all() and (minus_zero == above).all()):
            raise ValueError(
                f"check_gradients: {layer}: expected {function!r}, a sign, to give "
                f"{_first(above)} at 0 and -0.0, as above zero, got {_first(zero)} and "
                f"{_first(minus_zero)}; use backend_of(x).binarize(x)"
            )


def _first(values: Array) -> str:
    return f"{float(np.ravel(values)[0]):g}"
