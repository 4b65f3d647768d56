"""The primitives around a recorded step, in one kernel each."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.capture.steps import Steps, StepTables
from minibnn.backend.cuda.kernels import Kernels, blocks_for


class CupySteps(Steps):
    """Part of `CupyBackend`."""

    xp: ModuleType
    kernels: Kernels

    def begin_step(self, tables: StepTables) -> None:
        """As the plain body, in one kernel."""
        counter, now, floats, float_table, keys, key_table = tables
        arguments = (
            counter, now,
            floats, float_table, np.int64(floats.size),
            keys, key_table, np.int64(keys.size),
        )  # fmt: skip
        self.kernels.launch("steps", "begin_step", floats.dtype, arguments, blocks=1, threads=1)

    def gather_batch(
        self, arrays: tuple[Array, Array], order: Array, now: Array, batch: int
    ) -> tuple[Array, Array]:
        """As the plain body, in one kernel."""
        x, y = (self.xp.empty((batch, *a.shape[1:]), a.dtype) for a in arrays)
        rows = [np.int64(out.nbytes // batch) for out in (x, y)]
        arguments = (x, arrays[0], rows[0], y, arrays[1], rows[1], order, now, np.int64(batch))
        blocks = blocks_for(x.nbytes + y.nbytes)
        self.kernels.launch("steps", "gather", np.float32, arguments, blocks=blocks)
        return x, y

    def note_loss(self, losses: Array, all_finite: Array, now: Array, loss: Array) -> None:
        """As the plain body, in one kernel."""
        arguments = (losses, all_finite, now, loss)
        self.kernels.launch("steps", "note_loss", loss.dtype, arguments, blocks=1, threads=1)

    def note_refused(self, losses: Array, all_finite: Array, now: Array) -> None:
        """One kernel of one thread."""
        arguments = (losses, all_finite, now)
        self.kernels.launch("steps", "note_refused", np.float32, arguments, blocks=1, threads=1)
