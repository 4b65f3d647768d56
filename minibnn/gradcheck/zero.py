"""A sign of zero is +1: functions that have two values everywhere else are asked at zero."""

from __future__ import annotations

import copy

import numpy as np

from minibnn.backend import Array
from minibnn.functions import Function
from minibnn.layers import Layer

TINY = 1e-30  # nearer to zero than any threshold that is meant as one


def check_zero(layer: Layer, function: Function, x: Array) -> None:
    """Raise ValueError for a function of two values that has a third at zero, or the wrong one.

    Its values say whether it is one: the same two next to zero and far from it. If they are
    opposite, it is a sign, and both zeros count as positive. If 0 is a level of its own, numbers
    next to zero have it, too.

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
        two_values = bool((above != below).all()) and all(
            ((other == above) | (other == below)).all() for other in others
        )
        if not two_values:
            continue
        is_sign = bool((above == -below).all())
        right = (zero == above) | ((zero == below) & (not is_sign))
        if not (right & (minus_zero == zero)).all():
            expected = f"{_first(above)}" if is_sign else f"{_first(below)} or {_first(above)}"
            raise ValueError(
                f"check_gradients: {layer}: expected {function!r}, which has two values elsewhere, "
                f"to give {expected} at both zeros, got {_first(zero)} at 0 and "
                f"{_first(minus_zero)} at -0.0; use minibnn.functions.sign(x)"
            )


def _first(values: Array) -> str:
    return f"{float(np.ravel(values)[0]):g}"
