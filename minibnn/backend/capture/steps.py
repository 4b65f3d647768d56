"""Primitives around the layers of a recorded training step; see `training/capture.py`."""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import numpy as np

from minibnn.backend.array import Array


class StepTables(NamedTuple):
    """Where a recorded step finds what the host knows about it.

    Attributes:
        counter: int64 (), the number of the step that comes next.
        now: int64 (), the number of the step that runs.
        floats: (n,), the numbers of the step that runs.
        float_table: (steps, n), those of all steps.
        keys: uint32 (k,), likewise.
        key_table: uint32 (steps, k).
    """

    counter: Array
    now: Array
    floats: Array
    float_table: Array
    keys: Array
    key_table: Array


class Steps:
    """Part of `Backend`; the plain bodies."""

    xp: ModuleType

    def begin_step(self, tables: StepTables) -> None:
        """Let the next step be the one that runs, and fetch its numbers from the tables."""
        counter, now, floats, float_table, keys, key_table = tables
        now[...] = counter
        for numbers, table in ((floats, float_table), (keys, key_table)):
            if numbers.size:
                numbers[...] = table.take(counter, axis=0)
        counter += 1

    def gather_batch(
        self, arrays: tuple[Array, Array], order: Array, now: Array, batch: int
    ) -> tuple[Array, Array]:
        """New arrays holding batch number `now` of the rows of two arrays.

        .. code-block:: text

            out[i] = a[order[now batch + i]]

        Shapes: each a (n, ...), order int64 (steps * batch,), now (), each out (batch, ...).
        """
        rows = order.reshape(-1, batch).take(now, axis=0)
        one, other = arrays
        return one.take(rows, axis=0), other.take(rows, axis=0)

    def note_loss(self, losses: Array, all_finite: Array, now: Array, loss: Array) -> None:
        """``losses[now] = loss``; `all_finite` stays True as long as every loss was finite.

        Shapes: losses float64 (steps,), all_finite bool (), now int64 (), loss ().
        """
        losses[now] = loss.astype(np.float64)
        all_finite &= self.xp.isfinite(loss)

    def note_refused(self, losses: Array, all_finite: Array, now: Array) -> None:
        """``losses[now] = nan`` if `all_finite` is False and no loss up to now shows it.

        Shapes: losses float64 (steps,), all_finite bool (), now int64 ().
        """
        xp = self.xp
        shown = (~xp.isfinite(losses) & (xp.arange(losses.size) <= now)).any()
        losses[now] = xp.where(all_finite | shown, losses[now], np.nan)
