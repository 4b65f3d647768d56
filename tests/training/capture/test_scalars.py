"""How counts grow in a step, and the tables of what a captured step takes instead of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from captured_training import (
    OPTIMIZERS,
    assert_equal,
    batches,
    dense,
    run_both,
    training,
    warned,
)
from devices import STRICT

from minibnn import (
    SGD,
    Cosine,
    Dense,
    Layer,
    RandomStream,
)
from minibnn.random_stream import stream_keys
from minibnn.training import CapturedSteps, PlainSteps
from minibnn.training.capture.host_state import Counter
from minibnn.training.capture.scalars import CannotCapture, OptimizerScalars, StreamKeys, growth

FLOAT = np.dtype(np.float32)


# ruff: noqa: SIM117 (the outer `with` sees what the inner one raises)


def stream(seed=7, count=0):
    made = RandomStream()
    made.seed, made.count = seed, count
    return made


def optimizer(kind=SGD):
    """Of two segments, each with a rate of its own."""
    layers = Dense(3, 2, lr_scale=0.5).initialize(0), Dense(2, 2, bias=False).initialize(0)
    return kind([p for layer in layers for p in layer.parameters()], Cosine(0.1, 0, length=9))


def states(counter, *counts):
    return [SimpleNamespace(counts=[(counter, count)]) for count in counts]


@pytest.mark.parametrize("grows", [0, 1, 3])
def test_a_count_grows_evenly(grows):
    counter = Counter(stream(), "_count")
    assert growth(states(counter, 5, 5 + grows, 5 + 2 * grows)) == [(counter, grows)]


@pytest.mark.parametrize("counts", [(5, 6, 8), (5, 6, 6), (5, 5, 6), (5, 4, 3)])
def test_a_count_that_does_not_grow_evenly_is_named(counts):
    with pytest.raises(CannotCapture, match=r"^RandomStream: its count grew by .* in the next$"):
        growth(states(Counter(stream(), "_count"), *counts))


def test_a_count_was_there_from_the_beginning():
    one, other = (Counter(stream(), "_count") for _ in range(2))
    with pytest.raises(CannotCapture, match="the first step made an optimiser or a RandomStream"):
        growth([*states(one, 5), *states(other, 5, 6)])


def test_an_optimisers_table_has_the_scalars_of_each_step():
    sgd = optimizer()
    sgd.steps = 3
    table = OptimizerScalars(STRICT, FLOAT, 5, [(Counter(sgd, "steps"), 1)])
    table.fill(1)
    expected = [[n for part in sgd.scalars_at(3 + k) for n in part] for k in range(4)]
    size = len(expected[0])
    assert size == len(sgd.store.segments) > 1
    np.testing.assert_array_equal(table.rows.get(), np.array([[0] * size, *expected], FLOAT))
    table.row[...] = table.rows[1]
    expected_now = table.rows.get()[1].tolist()
    with table.in_charge():
        assert [float(n) for (n,) in sgd.scalars_at(sgd.steps)] == expected_now
    assert sgd.scalars_at(sgd.steps) == sgd.scalars_at(3)
    assert sgd.steps == 3


def test_a_streams_table_has_the_keys_of_each_step():
    """Of two streams, one of which draws twice in a step, and one not at all."""
    streams = [stream(5, 4), stream(6), stream(8, 1)]
    grown = [(Counter(s, "_count"), n) for s, n in zip(streams, (2, 0, 1), strict=True)]
    table = StreamKeys(STRICT, np.uint32, 3, grown)
    table.fill(0)
    for k, row in enumerate(table.rows.get().reshape(3, 3, 2)):
        expected = [stream_keys(5, 4 + 2 * k), stream_keys(5, 5 + 2 * k), stream_keys(8, 1 + k)]
        assert row.tolist() == [list(map(int, keys)) for keys in expected]
    table.row[...] = table.rows[2]
    with table.in_charge():
        got = [tuple(map(int, streams[i].next_keys())) for i in (0, 2, 0)]
    assert got == [stream_keys(5, 8), stream_keys(8, 3), stream_keys(5, 9)]
    assert [s.count for s in streams] == [4, 0, 1]


@pytest.mark.parametrize("draws", [0, 1, 3])
def test_a_step_draws_as_often_as_the_one_before(draws):
    one = stream()
    table = StreamKeys(STRICT, np.uint32, 3, [(Counter(one, "_count"), 2)])
    wrong = "more" if draws > 2 else "fewer"
    with pytest.raises(CannotCapture, match=f"RandomStream: {wrong} arrays in this step"):
        with table.in_charge():
            [one.next_keys() for _ in range(draws)]
    assert "next_keys" not in vars(one)
    assert one.count == 0


READS = {
    "number": int,
    "sum": lambda n: n + 1,
    "difference": lambda n: 1 - n,
    "power": lambda n: 2**n,
    "comparison": lambda n: n < 3,
    "equality": lambda n: n == 3,
    "truth": bool,
    "text": str,
    "formatted": lambda n: f"{n}",
    "index": lambda n: [1, 2][n],
    "key": lambda n: {n: 1},
    "array": np.asarray,
    "root": np.sqrt,
    "attribute": lambda n: n.real,
}


@pytest.mark.parametrize("way", READS)
def test_a_count_cannot_be_read_in_a_captured_step(way):
    sgd = optimizer()
    table = OptimizerScalars(STRICT, FLOAT, 5, [(Counter(sgd, "steps"), 0)])
    with pytest.raises(RuntimeError, match="SGD: its count or rate was read while a step is"):
        with table.in_charge():
            READS[way](sgd.steps)
    assert sgd.steps == 0
    with pytest.raises(RuntimeError, match="take what changes from step to step from scalars"):
        with table.in_charge():
            sgd.learning_rate  # noqa: B018
    assert sgd.learning_rate == 0.1


@pytest.mark.parametrize(
    ("name", "value"), [("steps", 0), ("learning_rate", 0.5), ("learning_rate", Cosine(1, 0, 3))]
)
def test_a_captured_step_sets_no_count_and_no_rate(name, value):
    sgd = optimizer()
    table = OptimizerScalars(STRICT, FLOAT, 5, [(Counter(sgd, "steps"), 0)])
    what = "steps" if name == "steps" else "schedule"
    with pytest.raises(CannotCapture, match=f"a step sets {what} of a "):
        with table.in_charge():
            setattr(sgd, name, value)
    assert (sgd.steps, sgd.learning_rate) == (0, 0.1)


class Skewed(SGD):
    def scalars_at(self, step):
        return [(2 * n,) for (n,) in super().scalars_at(step)]


class Fixed(RandomStream):
    def next_keys(self):
        return np.uint32(1), np.uint32(2)


def test_who_has_scalars_of_its_own_is_named():
    with pytest.raises(CannotCapture, match=r"Skewed has a scalars_at\(\) of its own"):
        OptimizerScalars(STRICT, FLOAT, 5, [(Counter(optimizer(Skewed), "steps"), 1)])
    with pytest.raises(CannotCapture, match=r"Fixed has a next_keys\(\) of its own"):
        StreamKeys(STRICT, np.uint32, 5, [(Counter(Fixed(), "_count"), 1)])


def test_scalars_of_another_dtype_are_named():
    """They would be rounded, and the captured step another one than the plain one."""
    with pytest.raises(CannotCapture, match="SGD has scalars of float32, not float64"):
        OptimizerScalars(STRICT, np.dtype(np.float64), 5, [(Counter(optimizer(), "steps"), 1)])


def test_an_object_whose_method_was_replaced_is_named():
    sgd = optimizer()
    sgd.scalars_at = lambda step: [(0.5,), (0.5,)]
    with pytest.raises(CannotCapture, match=r"SGD has a scalars_at\(\) of its own"):
        OptimizerScalars(STRICT, FLOAT, 5, [(Counter(sgd, "steps"), 1)])


# --- In training ---------------------------------------------------------------------------------


class Halving(SGD):
    """An optimiser of a user's own, which looks at its steps."""

    def update(self, segment, scalars):
        super().update(segment, (scalars[0] / 2**self.steps,))


def test_an_optimiser_that_reads_its_steps_is_refused(device):
    steps = training(CapturedSteps, device, dense, lambda m: Halving(m.parameters(), 0.1))
    warned(steps, batches(device), "Halving: its count or rate was read while a step is captured")


class Setting(SGD):
    """Sets its rate in each step, to what it is."""

    def update(self, segment, scalars):
        super().update(segment, scalars)
        self.learning_rate = 0.1


def test_an_optimiser_that_sets_its_rate_is_named(device):
    plain = training(PlainSteps, device, dense, lambda m: Setting(m.parameters(), 0.1))
    captured = training(CapturedSteps, device, dense, lambda m: Setting(m.parameters(), 0.1))
    one, other = batches(device), batches(device)
    for _ in range(2):
        plain.epoch(one)
    warned(captured, other, r"a step sets schedule of a Setting")
    assert_equal(plain, captured)


class Fading(Layer):
    """Reads how often its stream was drawn from."""

    def __init__(self):
        self.stream = RandomStream()

    def forward(self, x, *, train=False):
        self.check_input(x)
        if train:
            x = x + self.stream.uniform(self.backend, x.shape, x.dtype) / (1 + self.stream.count)
            self.saved = (x.shape,)
        return x

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy


def test_a_stream_whose_count_is_read_is_refused(device):
    plain = training(PlainSteps, device, lambda: dense(Fading()), OPTIMIZERS["adam"])
    captured = training(CapturedSteps, device, lambda: dense(Fading()), OPTIMIZERS["adam"])
    one, other = batches(device), batches(device)
    for _ in range(2):
        plain.epoch(one)
    warned(captured, other, "RandomStream: its count or rate was read while a step is captured")
    assert_equal(plain, captured)


class Late(Layer):
    """Makes its stream in the first step."""

    def __init__(self):
        self.stream = None

    def forward(self, x, *, train=False):
        self.check_input(x)
        if train:
            if self.stream is None:
                self.stream = RandomStream()
                self.stream.initialize(np.random.default_rng(1))
            x = x + self.stream.uniform(self.backend, x.shape, x.dtype)
            self.saved = (x.shape,)
        return x

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy


def test_a_stream_that_the_first_step_makes(device):
    steps = training(CapturedSteps, device, lambda: dense(Late()), OPTIMIZERS["adam"])
    warned(steps, batches(device), "the first step made an optimiser or a RandomStream")


class InDouble(SGD):
    """States a scalar in double precision, and computes with it."""

    def scalars(self, learning_rate, step):
        return (np.float64(learning_rate) / 3,)

    def update(self, segment, scalars):
        super().update(segment, ((scalars[0] + 1e-4) * (1 + 1e-6),))


def test_scalars_have_the_dtype_of_the_parameters(device):
    """NumPy's double would make a double of the whole update on the host, but not in a capture."""
    run_both(device, dense, lambda m: InDouble(m.parameters(), 0.1))
