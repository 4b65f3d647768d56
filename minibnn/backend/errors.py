"""Errors of a backend: the GPU cannot be used, or a write was refused."""

from __future__ import annotations

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
