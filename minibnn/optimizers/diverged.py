"""The error of a training that left the finite numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minibnn.backend import Array, backend_of

if TYPE_CHECKING:
    import pandas as pd

HINT = "try a smaller learning rate, and look for nan or inf in the data"

LOSS = "the loss"
OVERFLOW = "a value after the update"


class DivergedError(ArithmeticError):
    """Nan or inf in a loss, in a gradient, or in what an update would have made of a parameter.

    The update was refused: the parameters are those from before that batch. Of an update that
    overflows those parts are refused, alike in bound and lr_scale, where it does. Batch norm's
    running statistics may have taken the batch in, if its means and variances are finite.

    Attributes:
        value: what was found, nan or inf.
        epoch: counted from 1; None in a loop without `fit`.
        batch: counted from 1; None if it showed only after the epoch, or in a loop without `fit`.
        history: the epochs completed before, as `fit` would have returned them.
        what: where it showed: ``"the loss"``, ``"the gradient of 0.weight"``.
        cause: where it came from, as far as that was found, and what to do.
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


def diverged(what: str, a: Array, hint: str) -> DivergedError:
    """The error for an array on the host that is not finite."""
    value = float(a[~backend_of(a).xp.isfinite(a)][0])
    return DivergedError(value, None, None, None, what, hint)
