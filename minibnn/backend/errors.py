"""Errors of a backend: the GPU cannot be used, a write was refused, or something is no array."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

from minibnn.backend.array import Array


class DeviceError(RuntimeError):
    """The GPU was requested and cannot be used. The message names the stage that failed.

    Attributes:
        reason: the stage and its error in a few words.
        passing: True if the GPU is only full or in use; a later call may succeed.
    """

    def __init__(self, message: str, reason: str, *, passing: bool = False) -> None:
        super().__init__(message, reason)
        self.reason = reason
        self.passing = passing

    def __str__(self) -> str:
        return str(self.args[0])


class NotFinite(ArithmeticError):  # noqa: N818 (it says what was found)
    """A masked write was refused on the host, because a value would become nan or inf.

    Attributes:
        array: the values that are not all finite.
    """

    def __init__(self, array: Array) -> None:
        super().__init__(f"masked_write: expected finite values, got {array}")
        self.array = array


def wrong_shapes(pairs: tuple[tuple[Array, Array], ...]) -> ValueError:
    """The error for a masked write of arrays whose shapes differ."""
    old, new = next((old, new) for old, new in pairs if old.shape != new.shape)
    return ValueError(
        f"masked_write: expected new values of shape {old.shape}, like the state, got {new.shape}"
    )


def no_array(a: object) -> TypeError:
    """The error for what is no array, with how to make one.

    There is no such hint for what NumPy would only put into an array, such as a set.
    """
    hint = ""
    if hasattr(a, "toarray"):  # SciPy's sparse matrices
        hint = "; convert it with toarray()"
    elif hasattr(a, "__array__") or (isinstance(a, Sequence | Real) and not isinstance(a, str)):
        hint = "; convert it with numpy.asarray"
    return TypeError(f"expected a NumPy or CuPy array, got {type(a).__name__}{hint}")
