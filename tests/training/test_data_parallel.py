"""The training step on several ranks: as threads here, and by mpirun."""

from __future__ import annotations

import json
from functools import cache

import mpirun
import numpy as np
import pytest
import rank_cases
from clusters import clusters
from mpirun import needs_mpirun
from rank_cases import CASES, IN_PARTS, Case, hidden, random
from thread_ranks import on_ranks

from minibnn import (
    SGD,
    Activation,
    BatchNorm,
    DataLoader,
    DataParallel,
    Dense,
    DivergedError,
    IterableLoader,
    Layer,
    LogitCrossEntropy,
    Ranks,
    RanksDifferError,
    Sequential,
    Tanh,
)
from minibnn.random_stream import RandomStream
from minibnn.training.step import PlainSteps

pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))

# In float64, sums in another order differ by some 1e-16 of their terms. Adam divides a gradient by
# the root of its mean square, which magnifies this where a gradient is nearly 0. In float32 the same
# would flip signs, after which trainings have nothing in common: there, one gradient is compared.
CLOSE = {"rtol": 1e-7, "atol": 1e-8}


@cache
def plain(name):
    """What `fit` without ranks ends with, in float64."""
    return CASES[name](dtype=np.float64).fit().values()


@cache
def exact(name):
    """What exact training on one rank ends with."""
    return CASES[name]().fit(Ranks("exact")).digest()


def assert_close(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.array(a), b, **CLOSE)


# --- One rank ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_sum_alone_is_plain_training(name):
    """To the last bit; evaluations are added up in another order."""
    alone, one = CASES[name]().fit(Ranks("sum")), CASES[name]().fit()
    for p, its in zip(alone.model.parameters(), one.model.parameters(), strict=True):
        assert p.data.tobytes() == its.data.tobytes()
    np.testing.assert_allclose(alone.history, one.history, rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_exact_alone_is_plain_training_to_rounding(name):
    assert_close(CASES[name](dtype=np.float64).fit(Ranks("exact")).values(), plain(name))


@pytest.mark.parametrize("micro_batches", [1, 3, 16])
def test_other_numbers_of_micro_batches(micro_batches):
    case = random(dtype=np.float64).fit(Ranks("exact", micro_batches=micro_batches))
    assert_close(case.values(), plain("random"))
    if micro_batches == 1:  # one part is the whole batch
        assert case.digest() == random(dtype=np.float64).fit(Ranks("sum")).digest()


# --- Several ranks, as threads ----------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_exact_gives_the_same_bytes_on_two_threads(name):
    """More of them, and processes, are below."""
    found = on_ranks(2, lambda comm: CASES[name]().fit(Ranks("exact", comm)).digest())
    assert found == [exact(name)] * 2


def smooth(dtype):
    """A network without a sign, whose gradients rounding cannot turn around."""
    model = Sequential(
        Dense(8, 40), BatchNorm(40), Activation(Tanh()), Dense(40, 40), Activation(Tanh()), Dense(40, 3)
    )  # fmt: skip
    return model.initialize(0, dtype)


def gradients(dtype, make):
    """The gradient of one batch, and its loss."""
    x, labels = clusters(50, 0)
    model = smooth(dtype)
    optimizer = SGD(model.parameters(), 1e-30)  # which changes nothing
    steps = make(model, LogitCrossEntropy(), optimizer)
    value = steps.step(x.astype(dtype), labels, np.ones((), bool))
    return np.float64(optimizer.store.grad), float(value)


@pytest.mark.parametrize("mode", ["sum", "exact"])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_gradient_in_float32_is_as_exact_as_that_of_one_process(mode, size):
    """Compared with float64: sums of parts have no larger errors than sums over the batch."""
    truth, loss = gradients(np.float64, PlainSteps)
    error = abs(gradients(np.float32, PlainSteps)[0] - truth).max()

    def work(comm):
        ranks = Ranks(mode, comm)
        return gradients(np.float32, lambda *parts: DataParallel(*parts, ranks=ranks))

    for found, value in on_ranks(size, work):
        assert abs(found - truth).max() < 4 * error < 1e-6
        assert value == pytest.approx(loss, rel=1e-6)


# --- What is checked, and what is kept --------------------------------------------------------


def steps_on(ranks, model=None, loss=None, rate=0.1, **options):
    model = smooth(np.float32) if model is None else model
    optimizer = SGD(model.parameters(), rate)
    return DataParallel(model, loss or LogitCrossEntropy(), optimizer, ranks=ranks, **options)


def test_a_step_outside_of_an_epoch():
    """As a loop of one's own makes it; the model may change in between."""
    x, labels = clusters(40, 0)
    allowed = np.ones((), bool)
    one, other = (steps_on(Ranks("exact"), random().model) for _ in range(2))
    for steps in (one, other):
        steps.model.layers[0].rate = 0.5
        steps.step(x, labels, allowed)
        steps.model.layers[0].rate = 0.1
    one.step(x, labels, allowed)
    other.epoch(DataLoader((x, labels), 40))
    for p, its in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert p.data.tobytes() == its.data.tobytes()


OTHERS = {
    "values": lambda x, y, w: (x + 1, y, w),
    "labels": lambda x, y, w: (x, 2 - y, w),
    "weights": lambda x, y, w: (x, y, w / 2),
    "length": lambda x, y, w: (x[1:], y[1:], w[1:]),
    "fewer than parts": lambda x, y, w: (x[:3], y[:3], w[:3]),
    "dtype": lambda x, y, w: (x.astype(np.float64), y, w),
    "order": lambda x, y, w: (x[::-1], y[::-1], w[::-1]),
    "no weights": lambda x, y, w: (x, y),
}


@pytest.mark.parametrize("mode", ["sum", "exact"])
@pytest.mark.parametrize("name", OTHERS)
def test_another_batch_on_one_rank_is_an_error_on_all(mode, name):
    """What a loader of a user's own gives is not known before."""

    def work(comm):
        batch = (*clusters(20, 0), np.ones(20, np.float32))
        batch = OTHERS[name](*batch) if comm.rank == 2 else batch
        steps = steps_on(Ranks(mode, comm))
        before = steps.optimizer.store.data.copy()
        try:
            steps.epoch(IterableLoader([batch]))
        finally:
            assert (steps.optimizer.store.data == before).all()

    for error in on_ranks(3, work):
        assert isinstance(error, RanksDifferError)
        assert str(error).startswith(
            "fit: expected the same on all 3 ranks, got different ones: a batch: 20"
        )
        assert "on ranks 0, 1," in str(error)
        assert "draw from a generator that the epoch's number seeds" in str(error)


@pytest.mark.parametrize("known", [True, False])
def test_batches_of_arrays_are_not_compared(known):
    """The arrays and the seed of their order were."""

    def work(comm):
        ranks = Ranks("sum", comm)
        waits = ranks.watch.waits
        arrays = clusters(20, 0)
        steps_on(ranks).epoch(DataLoader(arrays, 10) if known else IterableLoader([arrays] * 2))
        return ranks.watch.waits - waits

    first, second = on_ranks(2, work)
    assert first == second
    # Of each step: mean, variance, and gradients of the batch norm, the gradient, and the loss.
    assert first == 2 * 5 + (0 if known else 2)


class Failing(Layer):
    """Raises in the part with one of the samples."""

    def __init__(self, error):
        self.error = error

    def forward(self, x, *, train=False):
        if train and (x[:, 0] > 90).any():
            raise self.error
        return x

    def backward(self, dy, *, need_dx=True):
        return dy


def test_after_an_error_in_a_part_all_is_as_before():
    x, labels = clusters(40, 0)
    x[27, 0] = 99
    model = Sequential(Failing(ValueError("wrong")), *random().model.layers).initialize(0)
    steps = steps_on(Ranks("exact"), model)
    before = steps.optimizer.store.data.copy()
    quantizer = model.layers[2].weight_quantizer
    with pytest.raises(ValueError, match="wrong"):
        steps.epoch(DataLoader((x, labels), 40))
    assert (steps.optimizer.store.data == before).all()
    assert model.layers[1].stream.first_sample == 0
    assert model.layers[2].weight_quantizer is quantizer
    x[27, 0] = 0
    assert np.isfinite(steps.epoch(DataLoader((x, labels), 40))).all()


@pytest.mark.parametrize("mode", ["sum", "exact"])
def test_a_loss_that_is_not_finite_in_one_part_ends_all(mode):
    def work(comm):
        x, labels = clusters(40, 0)
        x[39] = np.nan
        steps = steps_on(Ranks(mode, comm))
        before = steps.optimizer.store.data.copy()
        losses = steps.epoch(DataLoader((x, labels), 20))
        return losses, (steps.optimizer.store.data == before).all()

    for losses, unchanged in on_ranks(3, work):
        assert np.isfinite(losses[0])
        assert np.isnan(losses[1])
        assert not unchanged  # by the first batch

    def one(comm):
        x, labels = clusters(20, 0)
        x[19] = np.nan
        steps_on(Ranks(mode, comm)).step(x, labels, np.ones((), bool))

    with np.errstate(invalid="ignore"):
        assert [type(error) for error in on_ranks(3, one)] == [DivergedError] * 3


@pytest.mark.parametrize("mode", ["sum", "exact"])
def test_a_batch_that_weighs_nothing_changes_nothing(mode):
    x, labels = clusters(16, 0)
    weights = np.zeros(16, np.float32)

    def work(comm):
        steps = steps_on(Ranks(mode, comm))
        with np.errstate(invalid="ignore"):
            value = steps.step(x, labels, np.ones((), bool), weights)
        return float(value), abs(steps.optimizer.store.grad).max()

    assert on_ranks(2, work) == [(0.0, 0.0)] * 2


class Noisy(LogitCrossEntropy):
    """Labels are replaced at random, by draws that belong to the samples."""

    def __init__(self):
        super().__init__()
        self.stream = RandomStream()
        self.stream.initialize(np.random.default_rng(3))

    def forward(self, y, labels):
        from minibnn import backend_of

        draws = self.stream.uniform(backend_of(y), labels.shape, np.float64)
        return super().forward(y, np.where(draws < 0.3, (labels + 1) % 3, labels))


def test_random_numbers_of_a_loss_belong_to_samples():
    def trained(comm):
        case = Case(*hidden(8, 12), Dense(12, 3), dtype=np.float64)
        case.loss = Noisy()
        return case.fit(comm, evaluate_train=None)

    whole = trained(None)
    assert_close(trained(Ranks("exact")).values(), whole.values())
    for found in on_ranks(2, lambda comm: trained(Ranks("sum", comm))):
        assert_close(found.values(), whole.values())
        assert found.loss.stream.state() == whole.loss.stream.state()


def test_statistics_of_each_part_alone():
    """Against each part by itself: gradients and running statistics are means over the parts."""
    x, labels = clusters(20, 0)
    sizes = [7, 7, 6]
    ends = np.cumsum([0, *sizes])
    expected, kept = 0, 0
    for i, size in enumerate(sizes):
        model = smooth(np.float64)
        optimizer = SGD(model.parameters(), 0.1)
        loss, rows = LogitCrossEntropy(), slice(ends[i], ends[i + 1])
        loss.forward(model.forward(x[rows].astype(np.float64), train=True), labels[rows])
        model.backward(loss.backward(), need_dx=False)
        expected = expected + size / 20 * optimizer.store.grad
        kept = kept + size / 20 * np.concatenate([b.data for b in model.buffers()])

    def work(comm):
        mode = "exact" if comm.size == 1 else "sum"
        ranks = Ranks(mode, comm, batch_norm="part", micro_batches=3)
        steps = steps_on(ranks, smooth(np.float64))
        steps.step(x.astype(np.float64), labels, np.ones((), bool))
        return steps.optimizer.store.grad, np.concatenate([b.data for b in steps.model.buffers()])

    for grad, buffers in [*on_ranks(1, work), *on_ranks(3, work)]:
        np.testing.assert_allclose(grad, expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(buffers, kept, rtol=1e-12)


# --- By mpirun --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_mpirun(tmp_path_factory):
    """What all processes of one mpirun end with, and some of them."""
    path = tmp_path_factory.mktemp("ranks") / "endings.json"
    ended = mpirun.run(mpirun.MOST, rank_cases.__file__, path)
    assert ended.code == 0, ended.text
    return json.loads(path.read_text())


@needs_mpirun
@pytest.mark.parametrize("size", [3, 4])
def test_exact_gives_the_same_bytes_on_any_number_of_processes(size, by_mpirun):
    assert by_mpirun[f"exact {size}"] == {name: exact(name) for name in CASES}


@needs_mpirun
def test_exact_gives_the_same_bytes_with_statistics_of_parts(by_mpirun):
    assert by_mpirun["part 3"] == rank_cases.endings(Ranks("exact", batch_norm="part"), IN_PARTS)


@needs_mpirun
@pytest.mark.parametrize("name", CASES)
def test_sum_is_plain_training_to_rounding(name, by_mpirun):
    assert_close(by_mpirun["sum 3"][name], plain(name))
