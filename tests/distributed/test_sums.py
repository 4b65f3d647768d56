"""Sums over the ranks."""

from __future__ import annotations

import numpy as np
import pytest
from thread_ranks import on_ranks

from minibnn.distributed.parts import Division
from minibnn.distributed.sums import SMALL, ExactSums, FastSums
from minibnn.distributed.watch import Watch

# A number, a few, as many as are exchanged whole, one more, and some that no number of ranks divides.
SHAPES = [(), (1,), (3, 5), (SMALL // 4,), (SMALL // 4 + 1,), (7, 4001)]


class Counting(Watch):
    """Counts, and starts no thread."""

    def __init__(self):
        super().__init__("a rank", 1.0, lambda code: None)
        self._thread = object()


def arrays_of(division, shape, dtype):
    """An array for each part with samples."""
    rng = np.random.default_rng(3)
    found = [
        rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 4) for _ in range(division.filled)
    ]
    return [np.asarray(a, dtype) for a in found]


def sums_on(kind, samples, parts, ranks, shape, dtype=np.float32):
    """What each rank gets, and how often it waited."""

    def work(comm):
        division = Division(samples, parts, ranks)
        arrays = arrays_of(division, shape, dtype)
        own = {n: arrays[n].copy() for n in division.numbers_of(comm.rank)}
        watch = Counting()
        total = kind(comm, watch).add_up(division, own, np.zeros(shape, dtype))
        return np.asarray(total), watch.waits

    return on_ranks(ranks, work)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("samples", [1, 2, 3, 5, 8, 20])
def test_exact_sums_have_the_same_bits_on_any_number_of_ranks(shape, samples):
    ((one, waits),) = sums_on(ExactSums, samples, 8, 1, shape)
    assert waits == 0
    for ranks in (2, 3, 4, 5, 8):
        for total, waits in sums_on(ExactSums, samples, 8, ranks, shape):
            assert total.dtype == one.dtype
            assert total.shape == one.shape
            assert total.tobytes() == one.tobytes()
            assert waits == (1 if one.nbytes <= SMALL else 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_exact_sums_are_sums(dtype):
    division = Division(20, 8, 1)
    truth = sum(np.float64(a) for a in arrays_of(division, (50,), dtype))
    for total, _ in sums_on(ExactSums, 20, 8, 3, (50,), dtype):
        np.testing.assert_allclose(total, truth, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("samples", [1, 2, 3, 20])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_fast_sums_are_the_same_on_all_ranks(shape, samples, ranks):
    truth = sum(np.float64(a) for a in arrays_of(Division(samples, ranks, 1), shape, np.float64))
    found = sums_on(FastSums, samples, ranks, ranks, shape, np.float64)
    for total, waits in found:
        assert total.tobytes() == found[0][0].tobytes()
        assert total.shape == shape
        np.testing.assert_allclose(total, truth, rtol=1e-12, atol=1e-9)
        assert waits == (ranks > 1)


@pytest.mark.parametrize("kind", [ExactSums, FastSums])
def test_what_a_rank_without_samples_has_computed_does_not_count(kind):
    """Not even if it is not finite."""

    def work(comm):
        division = Division(2, 3, 3)
        own = {n: np.full(4, n + 1.0) for n in division.numbers_of(comm.rank)}
        return kind(comm, Counting()).add_up(division, own, np.full(4, np.nan))

    for total in on_ranks(3, work):
        assert total.tolist() == [3.0] * 4


def test_numbers_of_numpy_are_added_up_as_arrays_are():
    """A loss is one."""

    def work(comm):
        division = Division(2, 3, 3)
        own = {n: np.float64(n + 1) for n in division.numbers_of(comm.rank)}
        return [
            kind(comm, Counting()).add_up(division, dict(own), np.zeros((), np.float64))
            for kind in (ExactSums, FastSums)
        ]

    assert [[float(total) for total in its] for its in on_ranks(3, work)] == [[3.0, 3.0]] * 3
