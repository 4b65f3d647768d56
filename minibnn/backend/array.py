"""What an array is: for the type checker, and for those who get one."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

# An array of whichever library holds it: numpy.ndarray or cupy.ndarray. The two share no base
# class and no stub, so the honest static type is Any.
Array: TypeAlias = Any
# As many floats at most go one by one into a sum over the batch.
MOST_TERMS = 1024


def require_plain(a: Any) -> None:
    """Raise TypeError for a NumPy array whose class computes otherwise than a plain one.

    The mask of a masked array would be ignored, and a matrix has another product. Subclasses that
    compute as arrays do, such as `numpy.memmap`, are welcome.
    """
    if isinstance(a, np.ma.MaskedArray):
        raise TypeError(
            "expected an array without a mask, got a numpy masked array, whose mask would be "
            "ignored; say what stands in the masked places: a.filled(value)"
        )
    if isinstance(a, np.matrix) or (
        isinstance(a, np.ndarray) and type(a).__array_ufunc__ is not np.ndarray.__array_ufunc__
    ):
        raise TypeError(
            f"expected a plain array, got a {type(a).__name__}, which computes otherwise; convert "
            "it with numpy.asarray"
        )
