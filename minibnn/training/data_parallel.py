"""The training step on several ranks: each computes its part of the batch."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from minibnn.backend import Array
from minibnn.backend.whole_batch import running
from minibnn.data.epochs import Loader
from minibnn.distributed import Ranks
from minibnn.distributed.parts import Division, Part
from minibnn.distributed.replicas import Replica, streams_of_samples
from minibnn.distributed.turns import Turns
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.optimizers import Optimizer
from minibnn.optimizers.clipping import gradient_holders
from minibnn.training.step import OnSteps, PlainSteps


class DataParallel(PlainSteps):
    """Trains a model on several ranks; all of them have the same values after each step.

    .. code-block:: text

        each rank      y, loss     of its parts of the batch
                       dy          times the parts' share of the samples (or of their weights)
                       gradients   by backward, in one flat array
        all together   gradients   added up over all parts
        each rank      step        of the optimiser, on the same gradients

    Sums over the batch inside the model, as batch norm's, are over all parts as well; see
    `Ranks`. Random numbers belong to the place of a sample in the batch (see `RandomStream`), so
    that they do not depend on the number of ranks.

    A rank with several parts has a copy of the model for each but the first; the copies share the
    parameters' values. In ``"exact"`` mode, matrix products use one BLAS thread: more could change
    the order of their sums.

    Args:
        model: see `PlainSteps`; the same on all ranks.
        loss: likewise.
        optimizer: likewise.
        ranks: the processes, and how they add up.
        options: those of `PlainSteps`.
    """

    def __init__(
        self, model: Layer, loss: Loss, optimizer: Optimizer, *, ranks: Ranks, **options: Any
    ) -> None:
        super().__init__(model, loss, optimizer, **options)
        self.ranks = ranks
        self.holders = gradient_holders(optimizer)
        parts = len(ranks.division(2**62).of_rank(ranks.rank))
        self._turns = Turns(parts)
        self._losses = [loss, *(copy.copy(loss) for _ in range(parts - 1))]
        self._replicas: list[Replica] = []

    def epoch(self, loader: Loader, on_steps: OnSteps | None = None) -> Array:
        """See `PlainSteps.epoch`; the verdicts of `on_steps` are those of any rank."""
        # New copies in each epoch: callbacks may have changed the model.
        copies = self._turns.parts - 1
        self._replicas = [Replica(self.model, self.holders) for _ in range(copies)]
        try:
            with self.ranks.one_thread():
                return super().epoch(loader, on_steps)
        finally:
            self._replicas = []

    def step(self, x: Array, labels: Array, allowed: Array, weights: Array | None = None) -> Array:
        """See `PlainSteps.step`; all ranks get the whole batch, and the whole batch's loss."""
        if self.ranks.alone and not self.ranks.exact:
            return super().step(x, labels, allowed, weights)
        if self.class_weights is not None:
            weights = self.class_weights.times(labels, weights)
        value = self._gradients(x, labels, weights)
        self.update(value, allowed)
        return value

    def _gradients(self, x: Array, labels: Array, weights: Array | None) -> Array:
        """Forward, loss and backward of this rank's parts; the sums over all parts.

        Shapes: as for the whole batch, see `PlainSteps.step`; the loss (), float64.
        """
        division = self.ranks.division(len(x))
        parts = division.of_rank(self.ranks.rank)
        replicas = self._replicas[: len(parts) - 1]
        for replica in replicas:
            replica.follow()
        models = [self.model, *(replica.model for replica in replicas)]
        values: dict[int, Array] = {}

        def work(i: int) -> None:
            values[i] = self._part(
                models[i], self._losses[i], x, labels, weights, parts[i],
                _Lockstep(self, division, parts, i),
            )  # fmt: skip

        self._turns.run([partial(work, i) for i in range(len(parts))])
        numbered = {part.number: i for i, part in enumerate(parts) if part.number is not None}
        self.optimizer.require_gradients()
        for h, holder in enumerate(self.holders):
            own = [holder.grad, *(replica.gradients[h] for replica in replicas)]
            given = {number: own[i] for number, i in numbered.items()}
            total = self.ranks.sums.add_up(division, given, own[0])
            if total is not own[0]:
                holder.grad[...] = total
        values = {number: values[i] for number, i in numbered.items()}
        xp = self.model.backend.xp
        value = self.ranks.sums.add_up(division, values, xp.zeros((), np.float64))
        if self.ranks.batch_norm == "part":
            self._average_buffers(division, {n: models[i] for n, i in numbered.items()})
        return value

    def _part(
        self,
        model: Layer,
        loss: Loss,
        x: Array,
        labels: Array,
        weights: Array | None,
        part: Part,
        lockstep: _Lockstep,
    ) -> Array:
        """Forward and backward of one part; its share of the loss."""
        rows = part.rows
        synchronised = self.ranks.batch_norm == "batch"
        streams = list(streams_of_samples(model))
        for stream in streams:
            stream.first_sample = rows.start
        with lockstep if synchronised else nullcontext():
            y = model.forward(x[rows], train=True)
            own = None if weights is None else weights[rows]
            value = loss.weighted_forward(y, labels[rows], own)
            dy = loss.backward()
            if own is None or weights is None:
                share: Any = part.samples / part.whole
                value, dy = share * value.astype(np.float64), dy * share
            else:
                share, xp = own.sum() / weights.sum(), self.model.backend.xp
                # Of a part whose samples all weigh 0, the loss is 0 / 0.
                value = xp.where(share > 0, share * value.astype(np.float64), 0)
                dy = xp.where(share > 0, dy * share.astype(dy.dtype), xp.zeros((), dy.dtype))
            model.backward(dy, need_dx=False)
        for stream in streams:
            stream.first_sample = 0
        return value

    def _average_buffers(self, division: Division, models: dict[int, Layer]) -> None:
        """Give every model the means over the parts of what evaluation uses: running statistics."""
        own = [b for b in self.model.buffers() if b.ships and b.data.dtype.kind == "f"]
        if not own:
            return
        xp = self.model.backend.xp
        shares = {n: division.part(n).samples / division.samples for n in models}
        given = {
            number: shares[number]
            * xp.concatenate([b.data.reshape(-1) for b in model.buffers() if b.ships])
            for number, model in models.items()
        }
        like = xp.concatenate([b.data.reshape(-1) for b in own])
        total = self.ranks.sums.add_up(division, given, like)
        first = 0
        for buffer in own:
            last = first + buffer.data.size
            buffer.data[...] = total[first:last].reshape(buffer.data.shape)
            first = last


class _Lockstep:
    """A part's sums inside the model, over all parts of this rank and of the others.

    It is a context: within it, `over_whole_batch` calls it.
    """

    def __init__(self, steps: DataParallel, division: Division, parts: list[Part], i: int) -> None:
        self._part = parts[i]
        self._steps = steps
        self._division = division
        self._numbers = [part.number for part in parts]
        self._i = i

    def __enter__(self) -> None:
        running.part = self

    def __exit__(self, *error: object) -> None:
        running.part = None

    def over_whole_batch(self, n: int, *sums: Array) -> tuple[Any, ...]:
        """See `minibnn.backend.over_whole_batch`."""
        n = n // self._part.samples * self._part.whole
        if not sums:
            return (n,)
        stacked = self._steps.model.backend.xp.stack(sums)
        total = self._steps._turns.add_up(self._i, len(self._numbers), stacked, self._total)
        return (n, *total)

    def _total(self, given: list[Array]) -> Array:
        arrays = {n: a for n, a in zip(self._numbers, given, strict=True) if n is not None}
        return self._steps.ranks.sums.add_up(self._division, arrays, given[0])
