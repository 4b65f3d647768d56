"""The type of arrays, and the check for array classes that minibnn cannot use."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

# numpy.ndarray or cupy.ndarray. They share no base class and no stubs, so the static type is Any.
Array: TypeAlias = Any
# The most floats that one accumulator takes in a sum over the batch.
MOST_TERMS = 1024


def require_plain(a: Any) -> None:
    """Raise TypeError for a NumPy array whose class computes differently from a plain array.

    The mask of a masked array would be ignored, and `numpy.matrix` multiplies differently.
    Subclasses that compute like plain arrays, such as `numpy.memmap`, are allowed.
    """
    if isinstance(a, np.ma.MaskedArray):
        raise TypeError(
            "expected an array without a mask, got a numpy masked array, whose mask would be "
            "ignored; replace the masked values: a.filled(value)"
        )
    if isinstance(a, np.matrix) or (
        isinstance(a, np.ndarray) and type(a).__array_ufunc__ is not np.ndarray.__array_ufunc__
    ):
        raise TypeError(
            f"expected a plain array, got a {type(a).__name__}, which computes differently; "
            "convert it with numpy.asarray"
        )
