"""Stopping when a number has not improved for some epochs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from minibnn.backend import Array, backend_of
from minibnn.checks import boolean, integer
from minibnn.layers import Layer
from minibnn.parameter import Buffer, Parameter
from minibnn.state import State, Stateful

if TYPE_CHECKING:
    import pandas as pd

# Columns of a history by their stems: whether larger numbers are better.
LARGER = {"loss": False, "mae": False, "acc": True, "label_acc": True, "balanced_acc": True,
          "f1": True, "r2": True}  # fmt: skip


class EarlyStopping(Stateful):
    """Stops a training whose monitored number has not improved for some epochs: a callback.

    A number that is nan, or equal to the best one, is no improvement. For a number of the training
    set, epochs after which `fit` does not evaluate it (``evaluate_train=5``) do not count. With a
    checkpoint, a training that is resumed stops in the same epoch with the same values.

    A second call of `fit` with the same model goes on, and starts anew if the model's values were
    changed in between. Make another object for another training.

    Args:
        monitor: a column of the history, such as ``"loss_validation"`` or ``"acc_test"``.
        patience: how many epochs without improvement stop the training, at least 1.
        restore_best: whether the model gets the values back that it had after the best epoch:
            parameters and running statistics, whatever ends the training, but an error. The
            optimiser keeps its last state.
        larger_is_better: None knows it for a loss and for minibnn's metrics; for a metric of your
            own, True or False.

    Attributes:
        best: the best number so far; None before the first.
        best_epoch: its epoch.
        waited: how many epochs have passed since.

    Raises:
        TypeError: for arguments of other types, such as ``larger_is_better="min"``.
        ValueError: for a patience below 1; from `fit`, if the history has no such column, or it is
            not known whether larger numbers are better.

    >>> EarlyStopping("loss_validation", patience=3)
    EarlyStopping('loss_validation', patience=3, restore_best=True)
    """

    def __init__(
        self,
        monitor: str,
        patience: int,
        restore_best: bool = True,
        *,
        larger_is_better: bool | None = None,
    ) -> None:
        if not isinstance(monitor, str):
            raise TypeError(
                f"EarlyStopping: expected the name of a column, got {monitor!r}; write "
                "EarlyStopping('loss_validation', patience=5)"
            )
        self.monitor = monitor
        self.patience = integer("EarlyStopping", "patience", patience)
        if self.patience < 1:
            raise ValueError(
                f"EarlyStopping: expected patience of at least 1, got {patience}; with 1 it stops "
                "after the first epoch without improvement"
            )
        self.restore_best = boolean("EarlyStopping", "restore_best", restore_best)
        if larger_is_better is not None:
            larger_is_better = boolean("EarlyStopping", "larger_is_better", larger_is_better)
        self.larger_is_better = larger_is_better
        self.best: float | None = None
        self.best_epoch = 0
        self.waited = 0
        self._model: Layer | None = None
        self._values: list[Array] = []

    def __repr__(self) -> str:
        return (
            f"EarlyStopping({self.monitor!r}, patience={self.patience}, "
            f"restore_best={self.restore_best})"
        )

    def on_begin(self, model: Layer, history: pd.DataFrame) -> None:
        """Check that the history has the column."""
        if self.monitor not in history.columns:
            known = [c for c in history.columns if not c.startswith("flips_")]
            raise ValueError(
                f"EarlyStopping: expected monitor to be a column of the history, {known}, got "
                f"{self.monitor!r}; monitor one of them, or pass validation=... to fit"
            )
        self._is_larger_better()
        if self._model is not model or self._was_changed():
            self.best, self.best_epoch, self.waited, self._values = None, 0, 0, []
        self._model = model

    def on_epoch(self, history: pd.DataFrame) -> bool:
        """Compare with the best number; whether to stop."""
        value = float(history[self.monitor].iloc[-1])
        if self._was_not_evaluated(history):
            return False
        if self._is_better(value):
            self.best, self.best_epoch, self.waited = value, int(history.index[-1]), 0
            if self.restore_best:
                self._values = [a.data.copy() for a in self._arrays()]
        else:
            self.waited += 1
        stops = self.waited >= self.patience
        if stops:
            self.waited = 0  # another call of `fit` waits anew
        return stops

    def on_end(self, history: pd.DataFrame) -> None:
        """Give the model its best values again."""
        if self._values:
            for a, value in zip(self._arrays(), self._values, strict=True):
                a.data[...] = value

    def _was_not_evaluated(self, history: pd.DataFrame) -> bool:
        """Whether `fit` left out the number's data set, the training set, after this epoch."""
        if not self.monitor.endswith("_train") or "loss_train" not in history.columns:
            return False
        return math.isnan(history["loss_train"].iloc[-1])

    def _is_better(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if self.best is None:
            return True
        return value > self.best if self._is_larger_better() else value < self.best

    def _is_larger_better(self) -> bool:
        if self.larger_is_better is not None:
            return self.larger_is_better
        stem = self.monitor if self.monitor in LARGER else self.monitor.rpartition("_")[0]
        if stem not in LARGER:
            raise ValueError(
                f"EarlyStopping: expected to know whether larger is better for {self.monitor!r}, "
                "got a metric of your own; write larger_is_better=True or False"
            )
        return LARGER[stem]

    def state(self) -> State:
        """The best number, its epoch, the epochs since, and the model's values then."""
        to_host = self._model.backend.to_host if self._model is not None else None
        values = {str(i): to_host(v).copy() for i, v in enumerate(self._values)} if to_host else {}
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "waited": self.waited,
            "values": values or None,
        }

    def restore(self, state: State) -> None:
        """Put a state back; `on_begin` comes first."""
        self.best, self.best_epoch, self.waited = (
            state[name] for name in ("best", "best_epoch", "waited")
        )
        values = (state["values"] or {}).values()
        self._values = (
            [self._model.backend.asarray(v.copy()) for v in values] if self._model else []
        )

    def _was_changed(self) -> bool:
        """Whether the model has other values than the best, which `on_end` gave it."""
        pairs = zip(self._arrays(), self._values, strict=False)
        return any(
            backend_of(a.data) is not backend_of(value) or not bool((a.data == value).all())
            for a, value in pairs
        )

    def _arrays(self) -> list[Parameter | Buffer]:
        model = self._model
        return [] if model is None else [*model.parameters(), *model.buffers()]
