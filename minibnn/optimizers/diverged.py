"""The error for a training that reached nan or inf."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from minibnn.backend import Array, backend_of

if TYPE_CHECKING:
    import pandas as pd

HINT = "try a smaller learning rate, and look for nan or inf in the data"

LOSS = "the loss"
OVERFLOW = "a value after the update"


class DivergedError(ArithmeticError):
    """Nan or inf in a loss, in a gradient, or in the updated value of a parameter.

    The update was refused: the parameters are those from before that batch. If the update itself
    overflows, it is refused only in the segments where it does so. (A segment holds parameters with
    the same bound and lr_scale.) Batch norm's running statistics may include the batch, if its
    means and variances are finite.

    Attributes:
        value: nan or inf.
        epoch: counted from 1; None in a loop without `fit`.
        batch: counted from 1; None if found only after the epoch, or in a loop without `fit`.
        history: the epochs completed before, as `fit` would have returned them.
        what: where it was found: ``"the loss"``, ``"the gradient of 0.weight"``.
        cause: where it came from, as far as known, and a hint.
    """

    def __init__(
        self,
        value: float,
        epoch: int | None,
        batch: int | None,
        history: pd.DataFrame | None,
        what: str = LOSS,
        cause: str = HINT,
    ) -> None:
        super().__init__(value, epoch, batch, history, what, cause)
        self.value = value
        self.epoch = epoch
        self.batch = batch
        self.history = history
        self.what = what
        self.cause = cause

    def __str__(self) -> str:
        if self.epoch is None:
            return f"{self.what} became {self.value}, and nothing was updated; {self.cause}"
        stopped = "in" if self.what == OVERFLOW else "before"
        where = (
            f"epoch {self.epoch}, batch {self.batch}, and training stopped {stopped} that update"
        )
        if self.batch is None:
            where = f"the evaluation after epoch {self.epoch}"
            if self.what != LOSS:
                where = f"epoch {self.epoch}"
        return f"fit: {self.what} became {self.value} in {where}; {self.cause}"


def diverged(what: str, a: Array, hint: str = HINT) -> DivergedError:
    """A DivergedError with the first value of `a`, on the host, that is not finite."""
    value = float(a[~backend_of(a).xp.isfinite(a)][0])
    return DivergedError(value, None, None, None, what, hint)


def overflowed(what: str) -> DivergedError:
    """The error for a number of the host that the parameters' dtype cannot hold."""
    hint = "use a smaller learning rate, or a smaller lr_scale"
    return DivergedError(math.inf, None, None, None, what, hint)


def wrong_scalars(optimizer: object, found: list[Any]) -> TypeError:
    """The error for a `scalars` of a user's optimiser that does not return numbers."""
    return TypeError(
        f"{type(optimizer).__name__}.scalars: expected a tuple of numbers, got {found[0]!r}; "
        "return (learning_rate,), say, with the comma"
    )
