"""The errors of a backend: a GPU that cannot be used, an update that is refused."""

from __future__ import annotations

from minibnn.backend.array import Array


class DeviceError(RuntimeError):
    """The GPU was asked for and cannot be used. The message names the stage that failed.

    Attributes:
        reason: the stage and its error in a few words.
        passing: whether the GPU was only full or taken, so that a later call may find it free.
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
