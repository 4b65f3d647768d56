"""The sign of zero is +1: check functions of two values at zero."""

from __future__ import annotations

import copy

import numpy as np

from minibnn.backend import Array
from minibnn.functions import Function
from minibnn.layers import Layer

TINY = 1e-30  # closer to zero than any deliberate threshold


def check_zero(layer: Layer, function: Function, x: Array) -> None:
    """Raise ValueError if a function of two values has a third value at zero, or the wrong one.

    A function has two values if they are the same close to zero and far from it. If they are
    opposite, it is a sign, and both zeros count as positive. If 0 is a level of its own, numbers
    close to zero have this level, too.

    Args:
        layer: the layer that has the function.
        function: the function to check; only a copy of it is called.
        x: an argument that it was given, for the shape of a sample.
    """
    values = np.random.default_rng(0).standard_normal((8, *x.shape[1:]))
    for row, value in enumerate((0.0, -0.0, TINY, -TINY)):
        values[row] = value
    function = copy.deepcopy(function)  # it may draw
    for call in (function.forward, function.train_forward):
        try:
            with np.errstate(all="ignore"):
                y, again = call(values.copy()), call(values.copy())
        except Exception:  # it does not take this array, or draws without a seed
            continue
        if y.shape != values.shape or not np.array_equal(y, again, equal_nan=True):
            continue  # not elementwise, or it draws
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
