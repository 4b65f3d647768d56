"""The training step on several ranks: each computes its part of the batch."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np

from minibnn.backend import Array, Backend
from minibnn.backend.whole_batch import running
from minibnn.data.epochs import Loader
from minibnn.data.loader import DataLoader
from minibnn.distributed import Ranks
from minibnn.distributed.deferred import deferring, finish
from minibnn.distributed.parts import Division, Part
from minibnn.distributed.replicas import Replica, at_sample
from minibnn.distributed.turns import Turns
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.optimizers import Optimizer
from minibnn.optimizers.clipping import gradient_holders
from minibnn.parameter import Buffer
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
    the order of their sums. On a GPU, these steps are not captured: their sums go to other ranks in
    the middle of a step.

    Args:
        model: see `PlainSteps`; the same on all ranks.
        loss: likewise.
        optimizer: likewise.
        ranks: the processes, and how they add up.
        changing: whether anything may change the model between two steps, as callbacks do with
            `on_step`; then the copies are made anew in each step, not in each epoch.
        options: those of `PlainSteps`.

    Raises:
        RanksDifferError: from `step`, on all ranks, if they have different batches.
    """

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        *,
        ranks: Ranks,
        changing: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(model, loss, optimizer, **options)
        self.ranks = ranks
        self.changing = changing
        self.holders = gradient_holders(optimizer)
        self._turns = Turns(len(ranks.division(2**62).of_rank(ranks.rank)))
        self._replicas: list[Replica] | None = None  # None: no epoch is running
        self._known = False  # whether all ranks have the same batches in any case

    def epoch(self, loader: Loader, on_steps: OnSteps | None = None) -> Array:
        """See `PlainSteps.epoch`; the verdicts of `on_steps` are those of any rank."""
        # Arrays and orders were compared before the training; what other loaders do is not known.
        self._known = isinstance(loader, DataLoader) and loader.only_gathers()
        try:
            with self._copies():
                return super().epoch(loader, on_steps)
        finally:
            self._known = False

    @contextmanager
    def _copies(self) -> Iterator[None]:
        """A context with copies of the model as it is now; callbacks change it between epochs."""
        copies = self._turns.parts - 1
        self._replicas = [Replica(self.model, self.holders) for _ in range(copies)]
        try:
            with self.ranks.one_thread():
                yield
        finally:
            self._replicas = None

    def step(self, x: Array, labels: Array, allowed: Array, weights: Array | None = None) -> Array:
        """See `PlainSteps.step`; all ranks get the whole batch, and the whole batch's loss."""
        if self.ranks.alone and not self.ranks.exact:
            return super().step(x, labels, allowed, weights)
        if self._replicas is None:
            with self._copies():
                return self.step(x, labels, allowed, weights)
        if not self._known:
            self._require_same_batch(x, labels, weights)
        if self.class_weights is not None:
            weights = self.class_weights.times(labels, weights)
        value = self._gradients(self._replicas, x, labels, weights)
        self.update(value, allowed)
        return value

    def _gradients(
        self, replicas: list[Replica], x: Array, labels: Array, weights: Array | None
    ) -> Array:
        """Forward, loss and backward of this rank's parts; the sums over all parts.

        Shapes: as for the whole batch, see `PlainSteps.step`; the loss (), float64.
        """
        division = self.ranks.division(len(x))
        parts = division.of_rank(self.ranks.rank)
        replicas = replicas[: len(parts) - 1]
        for replica in replicas:
            if self.changing:
                replica.renew()
            else:
                replica.follow()
        models = [self.model, *(replica.model for replica in replicas)]
        losses = [self.loss, *(copy.deepcopy(self.loss) for _ in replicas)]
        values: dict[int, Array] = {}
        contexts = [_here(self.model.backend) for _ in parts]

        def work(i: int) -> None:
            lockstep = _Lockstep(self, division, parts, i)
            with contexts[i]:
                values[i] = self._part(models[i], losses[i], x, labels, weights, parts[i], lockstep)

        with deferring(models):
            self._turns.run([partial(work, i) for i in range(len(parts))])
        numbered = {part.number: i for i, part in enumerate(parts) if part.number is not None}
        self.optimizer.require_gradients()
        for h, holder in enumerate(self.holders):
            own = [holder.grad, *(replica.gradients[h] for replica in replicas)]
            given = {number: own[i] for number, i in numbered.items()}
            total = self.ranks.sums.add_up(division, given, own[0])
            if total is not own[0]:
                holder.grad[...] = total
        finish(self.model)
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
        with at_sample(rows.start, model, loss), lockstep if synchronised else nullcontext():
            y = model.forward(x[rows], train=True)
            own = None if weights is None else weights[rows]
            value = loss.weighted_forward(y, labels[rows], own)
            dy = loss.backward()
            if own is None or weights is None:
                share: Any = part.samples / part.whole
                value, dy = share * value.astype(np.float64), dy * share
            else:
                share, xp = own.sum() / weights.sum(), self.model.backend.xp
                # If all samples of a part weigh 0, its loss may be 0 / 0.
                value = xp.where(share > 0, share * value.astype(np.float64), 0)
                dy = xp.where(share > 0, dy * share.astype(dy.dtype), xp.zeros((), dy.dtype))
            model.backward(dy, need_dx=False)
        return value

    def _require_same_batch(self, *arrays: Array | None) -> None:
        """Raise RanksDifferError unless all ranks have these arrays."""
        if self.ranks.alone:
            return
        hosts = [self.model.backend.to_host(a) for a in arrays if a is not None]
        digest = 0
        for a in hosts:
            digest = zlib.crc32(f"{a.dtype} {a.shape}".encode(), digest)
            digest = zlib.crc32(np.ascontiguousarray(a).data, digest)
        greatest, least = self.ranks.greatest(digest, -digest, what="comparing batches")
        if greatest != -least:
            self.ranks.require_alike(
                "fit",
                {"a batch": f"{len(hosts[0])} samples, crc32 {digest:08x}"},
                "the loader must give every rank the same whole batches; draw from a generator "
                "that the epoch's number seeds",
            )

    def _average_buffers(self, division: Division, models: dict[int, Layer]) -> None:
        """Give every model the means over the parts of what evaluation uses: running statistics."""
        xp = self.model.backend.xp

        def statistics(model: Layer) -> list[Buffer]:
            return [b for b in model.buffers() if b.ships and b.data.dtype.kind == "f"]

        own = statistics(self.model)
        if not own:
            return
        shares = {n: division.part(n).samples / division.samples for n in models}
        given = {
            number: shares[number] * xp.concatenate([b.data.reshape(-1) for b in statistics(model)])
            for number, model in models.items()
        }
        like = xp.concatenate([b.data.reshape(-1) for b in own])
        total = self.ranks.sums.add_up(division, given, like)
        first = 0
        for buffer in own:
            last = first + buffer.data.size
            buffer.data[...] = total[first:last].reshape(buffer.data.shape)
            first = last


def _here(backend: Backend) -> AbstractContextManager[None]:
    """A context for the thread of a part, whose work then goes where this thread's goes."""
    if backend.host:
        return nullcontext()
    from minibnn.backend.cuda.threads import here

    return here(backend.xp)


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
