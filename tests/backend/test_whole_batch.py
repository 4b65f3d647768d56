"""Which part of a batch a thread computes."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from minibnn import BatchNorm, TensorNorm
from minibnn.backend import CPU, batch_mean, over_whole_batch
from minibnn.backend.whole_batch import running
from minibnn.distributed.turns import Turns
from minibnn.layers import ShiftBatchNorm


class OfTurns:
    """A part of a batch in this process, as `DataParallel` has them."""

    def __init__(self, turns, number, sizes):
        self.turns, self.number, self.sizes = turns, number, sizes

    def over_whole_batch(self, n, *sums):
        n = n // self.sizes[self.number] * sum(self.sizes)
        if not sums:
            return (n,)
        total = self.turns.add_up(self.number, len(self.sizes), np.stack(sums), sum)
        return (n, *total)


def in_parts(sizes, function):
    """Call ``function(i, rows)`` for each part of a batch; the results."""
    turns, found = Turns(len(sizes)), [None] * len(sizes)
    ends = np.cumsum([0, *sizes])

    def work(i):
        running.part = OfTurns(turns, i, sizes)
        try:
            found[i] = function(i, slice(ends[i], ends[i + 1]))
        finally:
            running.part = None

    turns.run([lambda i=i: work(i) for i in range(len(sizes))])
    return found


def test_outside_of_training_on_ranks_nothing_changes(rng):
    x = rng.standard_normal((4, 3))
    assert running.part is None
    assert over_whole_batch(7) == (7,)
    n, same = over_whole_batch(7, x)
    assert n == 7
    assert same is x


def test_each_thread_has_its_own_part():
    running.part, seen = "mine", []
    try:
        thread = threading.Thread(target=lambda: seen.append(running.part))
        thread.start()
        thread.join()
    finally:
        running.part = None
    assert seen == [None]


SIZES = [(4, 4), (5, 3), (1, 7), (3, 3, 2), (1,) * 8]


@pytest.mark.parametrize("sizes", SIZES)
def test_sums_and_counts_are_over_all_parts(sizes, rng):
    x = rng.standard_normal((8, 5, 3))

    def statistics(i, rows):
        sums = x[rows].sum(axis=(0, 1)), (x[rows] ** 2).sum(axis=(0, 1))
        return (
            over_whole_batch(5 * sizes[i], *sums),
            batch_mean(x[rows]),
            over_whole_batch(sizes[i]),
        )

    for (n, sums, squares), mean, (samples,) in in_parts(sizes, statistics):
        assert (n, samples) == (40, 8)
        np.testing.assert_allclose(sums, x.sum(axis=(0, 1)), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(squares, (x**2).sum(axis=(0, 1)), rtol=1e-12)
        np.testing.assert_allclose(mean, x.mean(axis=(0, 1)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("shape", [(8, 3), (8, 2, 2, 3)], ids=["rows", "images"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "make",
    [
        lambda: BatchNorm(3),
        lambda: BatchNorm(3, scale=False),
        TensorNorm,
        lambda: ShiftBatchNorm(3),
    ],
    ids=["BatchNorm", "without scale", "TensorNorm", "ShiftBatchNorm"],
)
def test_a_norm_in_parts_is_that_of_the_whole_batch(make, sizes, shape, dtype, rng):
    """Outputs, dx, statistics; gradients of parameters add up.

    In float32 with tolerances for sums in another order. Powers of two do not tolerate any, but
    near a half: the numbers here are not.
    """
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    layers = [make().initialize(0, dtype) for _ in range(1 + len(sizes))]
    whole, *own = layers
    y = whole.forward(x, train=True)
    dx = whole.backward(dy)

    def compute(i, rows):
        return own[i].forward(x[rows], train=True), own[i].backward(dy[rows])

    found = in_parts(sizes, compute)
    close = {"rtol": 1e-5, "atol": 2e-6} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}
    np.testing.assert_allclose(np.concatenate([its[0] for its in found]), y, **close)
    np.testing.assert_allclose(np.concatenate([its[1] for its in found]), dx, **close)
    for k, p in enumerate(whole.parameters()):
        total = sum(list(layer.parameters())[k].grad for layer in own)
        np.testing.assert_allclose(total, p.grad, **close)
    for layer in own:
        assert all(b.data.dtype == dtype for b in layer.buffers())
        for b, its in zip(whole.buffers(), layer.buffers(), strict=True):
            np.testing.assert_allclose(its.data, b.data, **close)


def test_implementations_for_whole_batches_decline_parts(rng):
    """Their statistics would be those of the part."""
    x, gamma, beta = rng.standard_normal((4, 3)), np.ones(3), np.zeros(3)
    from minibnn.layers.norm import batch_norm

    (mean, _), *_ = in_parts(
        (2, 2), lambda i, rows: CPU.run(batch_norm, x[rows], gamma, beta, 1e-5)[2:4]
    )
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-12, atol=1e-14)


def test_a_single_value_in_a_part_is_enough_if_the_batch_has_two(rng):
    x = rng.standard_normal((2, 3)).astype(np.float32)
    layers = [BatchNorm(3).initialize(0) for _ in range(2)]
    ys = in_parts((1, 1), lambda i, rows: layers[i].forward(x[rows], train=True))
    assert np.isfinite(np.concatenate(ys)).all()
    with pytest.raises(ValueError, match="expected at least 2 values a channel"):
        in_parts((1,), lambda i, rows: layers[i].forward(x[rows], train=True))
