"""Captured training steps against plain ones: the same numbers, to the last bit."""

from __future__ import annotations

import gc
import itertools
import math
import random
import warnings
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial

import numpy as np
import pytest
import strictdev
from devices import STRICT

from minibnn import (
    SGD,
    Activation,
    Adam,
    AdaMax,
    BatchNorm,
    Bop,
    Conv2D,
    Cosine,
    DataLoader,
    Dense,
    DirectFeedback,
    Dropout,
    FixedFeedback,
    Flatten,
    Layer,
    LogitCrossEntropy,
    MagnitudeAwareSign,
    MaxPool2D,
    OptimizerGroup,
    RandomStream,
    Rescale,
    Reshape,
    Sequential,
    ShiftAdaMax,
    ShiftBatchNorm,
    SignSTE,
    SquaredHinge,
    StochasticSign,
    Uniform,
    evaluate,
    fit,
    split_parameters,
)
from minibnn.training import CapturedSteps, PlainSteps

SIDE, CLASSES, SAMPLES = 8, 4, 90


def data(backend, samples=SAMPLES, seed=3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, samples)
    patterns = rng.integers(0, 200, (CLASSES, SIDE, SIDE))
    images = (patterns[labels] + rng.integers(0, 56, (samples, SIDE, SIDE))).astype(np.uint8)
    return backend.asarray(images), backend.asarray(labels.astype(np.uint8))


def batches(backend, batch=10, **options):
    options = {"shuffle": True, "drop_last": False, "rng": 5} | options
    return DataLoader(data(backend), batch, **options)


def dense(*between, quantizer=None, feedback=None):
    weights = {
        "weight_quantizer": quantizer or SignSTE(),
        "weight_init": Uniform(),
        "weight_bound": 1.0,
    }
    return Sequential(
        Flatten(),
        Rescale(2 / 255, -1),
        Dense(SIDE * SIDE, 12, feedback=feedback, **weights),
        *between,
        Activation(SignSTE(clip=1.0)),
        Dense(12, CLASSES, **weights),
    )


def convolutional():
    weights = {"weight_quantizer": SignSTE(), "weight_init": Uniform(), "weight_bound": 1.0}
    return Sequential(
        Reshape((SIDE, SIDE, 1)),
        Rescale(2 / 255, -1),
        Conv2D(1, 6, 3, **weights),
        MaxPool2D(2),
        BatchNorm(6),
        Activation(SignSTE(clip=1.0)),
        Conv2D(6, 5, 3, padding=1, padding_value=-1, **weights),
        Activation(SignSTE(clip=1.0)),
        Flatten(),
        Dense(45, CLASSES, **weights),
    )


MODELS = {
    "dense": dense,
    "batch norm": lambda: dense(BatchNorm(12)),
    "shift-based batch norm": lambda: dense(ShiftBatchNorm(12)),
    "dropout": lambda: dense(Dropout(0.3), Dropout(0.2)),
    "stochastic signs": lambda: dense(Activation(StochasticSign()), quantizer=StochasticSign()),
    "scaled signs": lambda: dense(quantizer=MagnitudeAwareSign()),
    "feedback alignment": lambda: dense(feedback=FixedFeedback()),
    "direct feedback": lambda: Sequential(
        DirectFeedback(
            Sequential(
                Flatten(), Rescale(2 / 255, -1), Dense(64, 12), Activation(SignSTE(clip=1.0))
            ),
            Sequential(Dense(12, CLASSES)),
        )
    ),
    "convolutions": convolutional,
}
OPTIMIZERS = {
    "sgd": lambda m: SGD(m.parameters(), Cosine(0.1, 0, length=20), momentum=0.9),
    "adam": lambda m: Adam(m.parameters(), Cosine(0.01, 0, length=20)),
    "adamax": lambda m: AdaMax(m.parameters(), 0.01),
    "shift-adamax": lambda m: ShiftAdaMax(m.parameters(), Cosine(0.01, 0, length=12)),
    "bop and adam": lambda m: OptimizerGroup(
        Bop(split_parameters(m)[0], gamma=Cosine(0.1, 0.01, length=20)),
        Adam(split_parameters(m)[1], 0.01),
    ),
}


def training(kind, backend, build, make_optimizer, loss=None, **options):
    model = build().initialize(1).to(backend)
    return kind(model, loss or LogitCrossEntropy(), make_optimizer(model), **options)


def flat(optimizer):
    """The optimisers in a group, or in groups of groups."""
    members = getattr(optimizer, "optimizers", None)
    return [optimizer] if members is None else [f for m in members for f in flat(m)]


def everything(steps):
    """All that training changes, on the host."""
    model, to_host = steps.model, steps.model.backend.to_host
    values = {path: to_host(p.data).copy() for path, p in model.named_parameters()}
    values |= {f"buffer {i}": to_host(b.data).copy() for i, b in enumerate(model.buffers())}
    for i, member in enumerate(flat(steps.optimizer)):
        values[f"steps of {i}"] = np.array(member.steps)
        for name, value in vars(member).items():
            if isinstance(value, model.backend.array_type):
                values[f"{i}.{name}"] = to_host(value).copy()
    return values


def assert_equal(one, other):
    one, other = everything(one), everything(other)
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name)


def run_both(backend, build, make_optimizer, *, epochs=3, loss=None, most=4, **options):
    """Train plainly and by captured steps; hold every parameter against the other after each epoch."""
    plain = training(PlainSteps, backend, build, make_optimizer, loss)
    captured = training(CapturedSteps, backend, build, make_optimizer, loss, steps_at_once=most)
    one, other = batches(backend, **options), batches(backend, **options)
    for _ in range(epochs):
        losses = [
            backend.to_host(s.epoch(data)).tolist() for s, data in ((plain, one), (captured, other))
        ]
        assert losses[0] == losses[1]
        assert_equal(plain, captured)
    assert captured.refused is None
    assert captured._captured.captured
    return plain, captured


@pytest.mark.parametrize("model", MODELS)
def test_every_kind_of_layer(model, device):
    run_both(device, MODELS[model], OPTIMIZERS["adam"])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser(optimizer, device):
    run_both(device, MODELS["batch norm"], OPTIMIZERS[optimizer])


@pytest.mark.parametrize(
    "options",
    [
        {"batch": 10},  # nine batches
        {"batch": 11},  # and a smaller one
        {"batch": 11, "drop_last": True},
        {"batch": 12, "shuffle": False},
        {"batch": 22},  # the fewest that are captured
    ],
)
def test_every_kind_of_epoch(options, device):
    run_both(device, MODELS["dropout"], OPTIMIZERS["adam"], **options)


@pytest.mark.parametrize("loss", [LogitCrossEntropy(label_smoothing=0.1), SquaredHinge()])
def test_other_losses(loss, device):
    run_both(device, MODELS["dense"], OPTIMIZERS["adam"], loss=loss)


def test_float64(device):
    def build():
        return MODELS["batch norm"]().to(dtype=np.float64)

    run_both(device, build, OPTIMIZERS["adam"])


# --- The device is left alone -------------------------------------------------------------------


@contextmanager
def not_waiting(device):
    """Inside, whatever would make the host wait for the device is an error."""
    if device is STRICT:
        with strictdev.count_readbacks() as readbacks:
            yield
        assert readbacks.count == 0
    else:
        import cupyx

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is deprecated, and experimental
            with cupyx.allow_synchronize(False):
                yield


def test_an_epoch_is_three_uploads_and_no_read_back(device):
    """The first epoch learns and captures; the next one may bring its order and its tables."""
    steps = training(CapturedSteps, device, MODELS["dropout"], OPTIMIZERS["adam"])
    loader = batches(device)
    steps.epoch(loader)
    with not_waiting(device):
        steps.epoch(loader)
    if device is not STRICT:
        return
    begin = steps._captured.begin
    with strictdev.count_uploads() as uploads:
        begin(loader)
    assert uploads.count == 3  # the order, the rates, the keys
    steps._captured.begin = lambda loader: None  # the rest of that epoch
    before = everything(steps)
    with strictdev.no_sync():
        losses = steps.epoch(loader)
    assert len(losses) == 9
    after = everything(steps)
    assert after["steps of 0"] == before["steps of 0"] + 9
    assert (after["2.weight"] != before["2.weight"]).any()


@pytest.mark.parametrize("kind", [PlainSteps, CapturedSteps])
def test_a_first_epoch_never_waits_either(kind, device):
    steps = training(kind, device, MODELS["batch norm"], OPTIMIZERS["adam"])
    loader = batches(device)
    with not_waiting(device):
        assert len(steps.epoch(loader)) == 9


def test_one_seed_gives_the_same_bits_again(device):
    one, other = (
        training(CapturedSteps, device, convolutional, OPTIMIZERS["adam"]) for _ in range(2)
    )
    for steps in (one, other):
        loader = batches(device)
        for _ in range(2):
            steps.epoch(loader)
    assert_equal(one, other)


# --- What changes between epochs ----------------------------------------------------------------


def train_and_change(device, kind, change):
    steps = training(kind, device, MODELS["dropout"], OPTIMIZERS["adam"])
    loader = batches(device)
    found = []
    for epoch in range(4):
        if epoch == 2:
            loader = change(steps, loader) or loader
        steps.epoch(loader)
        found.append(getattr(steps, "_captured", None))
    return steps, found


CHANGES = {  # and whether the captured step is kept
    "rate": (lambda s, loader: setattr(s.optimizer, "learning_rate", 0.5), True),
    "draws set back": (
        lambda s, loader: [setattr(d, "count", 0) for d in draws(s)] and None,
        True,
    ),
    "one of two streams set back": (lambda s, loader: setattr(next(draws(s)), "count", 0), True),
    "dropout's rate": (lambda s, loader: setattr(s.model[3], "rate", 0.9), False),
    "an array": (lambda s, loader: replace_buffer(s), False),
    "loader": (lambda s, loader: batches(s.model.backend, 15), False),
    "values": (lambda s, loader: s.model[2].weight.data.fill(0.5), True),
}


def draws(steps):
    return (layer.stream for layer in steps.model if isinstance(layer, Dropout))


def replace_buffer(steps):
    steps.optimizer._m = steps.optimizer._m * 2


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_between_epochs(name, device):
    change, still_right = CHANGES[name]
    plain, _ = train_and_change(device, PlainSteps, change)
    captured, found = train_and_change(device, CapturedSteps, change)
    assert_equal(plain, captured)
    assert found[0] is found[1]
    assert (found[1] is found[2]) == still_right
    assert found[2] is found[3]
    assert all(step.captured for step in found)


# --- What cannot be captured --------------------------------------------------------------------


class Own(Layer):
    """A layer that does something to its input, or to itself, on the way."""

    def __init__(self, what):
        self.what = what
        self.scale = 1.0
        self.seen = None

    def forward(self, x, *, train=False):
        self.check_input(x)
        y = self.what(self, x) if train else x
        if train:
            self.saved = (x.shape,)
        return y

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy


def reads(layer, x):
    return x * (1.0 if float(x[0, 0]) < 1e9 else 2.0)


def anneals(layer, x):
    layer.scale *= 0.9
    return x * layer.scale


def keeps(layer, x):
    layer.seen = x.mean(axis=0)
    return x


def draws_on_the_host(layer, x):
    layer.rng = getattr(layer, "rng", np.random.default_rng(0))
    return x * float(layer.rng.random())


def alternates(layer, x):
    layer.seen = not layer.seen
    return x + 1 if layer.seen else x


REFUSED = {
    "reads": (reads, r"reading one element .*in layer 3 of Sequential: Own\(\)"),
    "anneals": (anneals, r"model\._layers\[3\]\.scale changed during a step"),
    "keeps": (keeps, r"model\._layers\[3\]\.seen changed during a step"),
    "draws on the host": (draws_on_the_host, r"model\._layers\[3\]\.rng changed during a step"),
    "alternates": (alternates, r"model\._layers\[3\]\.seen changed during a step"),
}


def warned(steps, loader, match, epochs=2):
    with pytest.warns(UserWarning, match=match):
        steps.epoch(loader)
    for _ in range(epochs - 1):
        steps.epoch(loader)  # and no second warning
    assert steps.refused
    assert not steps.captured


@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_that_cannot_be_captured_is_named_and_trained_all_the_same(name, device):
    what, match = REFUSED[name]
    if device is not STRICT and name == "reads":
        match = r"in layer 3 of Sequential: Own\(\)"  # CUDA has its own words for the rest
    plain = training(PlainSteps, device, lambda: dense(Own(what)), OPTIMIZERS["adam"])
    captured = training(CapturedSteps, device, lambda: dense(Own(what)), OPTIMIZERS["adam"])
    one, other = batches(device, 11), batches(device, 11)
    for _ in range(2):
        plain.epoch(one)
    warned(captured, other, match)
    assert_equal(plain, captured)


class Halving(SGD):
    """An optimiser of a user's own, which looks at its steps."""

    def update(self, segment, scalars):
        super().update(segment, (scalars[0] / 2**self.steps,))


def test_an_optimiser_that_reads_its_steps_is_refused(device):
    steps = training(CapturedSteps, device, dense, lambda m: Halving(m.parameters(), 0.1))
    warned(steps, batches(device), "Halving: its count or rate was read while a step is captured")


class Doubled(DataLoader):
    def batches(self, epoch):
        return ((x, labels) for x, labels in super().batches(epoch))


def test_a_loader_with_batches_of_its_own_is_refused(device):
    steps = training(CapturedSteps, device, dense, OPTIMIZERS["adam"])
    loader = Doubled(data(device), 10)
    warned(steps, loader, "Doubled makes its batches itself")


def test_a_device_that_captures_nothing(monkeypatch):
    monkeypatch.setattr(STRICT, "graphs", None)
    monkeypatch.setattr(STRICT, "no_graphs", "no such driver", raising=False)
    steps = training(CapturedSteps, STRICT, dense, OPTIMIZERS["adam"])
    warned(steps, batches(STRICT), "the strict captures nothing, no such driver")


def test_a_stand_in_without_a_pool_for_the_capture(monkeypatch):
    """Memory from the common pool would be given to others while the captured step writes to it."""
    monkeypatch.setattr(strictdev.cuda, "using_allocator", lambda allocator: strictdev.no_sync())
    steps = training(CapturedSteps, STRICT, dense, OPTIMIZERS["adam"])
    warned(steps, batches(STRICT), "AllocationOutsidePool")


class Careless(Layer):
    """Reads a value, and goes on as if nothing had happened."""

    def forward(self, x, *, train=False):
        self.check_input(x)
        if train:
            with suppress(Exception):
                float(x[0, 0])
            self.saved = (x.shape,)
        return x

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy


@pytest.mark.parametrize("layer", [Careless, lambda: Own(reads)])
def test_an_invalidated_capture_is_ended(layer):
    """Else everything on its stream would fail for ever, and `fit` with it."""
    plain = training(PlainSteps, STRICT, lambda: dense(layer()), OPTIMIZERS["adam"])
    captured = training(CapturedSteps, STRICT, lambda: dense(layer()), OPTIMIZERS["adam"])
    one, other = batches(STRICT, 11), batches(STRICT, 11)
    for _ in range(2):
        plain.epoch(one)
    match = "CaptureInvalidated" if layer is Careless else "reading one element"
    warned(captured, other, match)
    assert_equal(plain, captured)
    run_both(STRICT, dense, OPTIMIZERS["adam"])  # on the same stream


def test_a_capture_that_needs_more_memory_than_there_is(monkeypatch):
    """Its pool must not give back what an earlier part of the captured step works on."""
    plain = training(PlainSteps, STRICT, dense, OPTIMIZERS["adam"])
    one, other = batches(STRICT), batches(STRICT)
    plain.epoch(one)
    memory = strictdev.cuda.Memory
    monkeypatch.setattr(memory, "limit", memory.used + 10_000)
    captured = training(CapturedSteps, STRICT, dense, OPTIMIZERS["adam"])
    warned(captured, other, r"MemoryError: the GPU has no [\d,]+ bytes left", epochs=1)
    assert_equal(plain, captured)


def test_another_error_of_cuda_is_told_as_it_is(monkeypatch):
    def failing(size):
        raise strictdev.cuda.CUDARuntimeError("cudaErrorIllegalAddress: it was earlier")

    monkeypatch.setattr(strictdev.cuda, "Memory", failing)
    steps = training(CapturedSteps, STRICT, dense, OPTIMIZERS["adam"])
    warned(steps, batches(STRICT), "CUDARuntimeError: cudaErrorIllegalAddress")


@pytest.fixture
def collector():
    """Off while a test runs, as a user may have it, and then as before."""
    was = gc.isenabled()
    gc.disable()
    yield
    if was:
        gc.enable()


def test_captured_work_keeps_its_memory(collector):
    """What the pool gives back, it gives back to others only when the graph is gone."""
    used = strictdev.cuda.Memory.used
    steps = training(CapturedSteps, STRICT, dense, OPTIMIZERS["adam"])
    loader = batches(STRICT)
    steps.epoch(loader)
    assert strictdev.cuda.Memory.used > used
    steps._captured.captured[1]._memory.pool.free_all_blocks()
    steps.epoch(loader)
    del steps
    assert strictdev.cuda.Memory.used == used


def test_dead_captures_are_gone_at_once(collector):
    """Not when the collector comes, which may be in the next capture."""
    loader = batches(STRICT)
    steps = training(CapturedSteps, STRICT, dense, OPTIMIZERS["adam"])
    steps.epoch(loader)
    graphs = [weakref.ref(work._graph) for work in steps._captured.captured.values()]
    steps.optimizer._m = steps.optimizer._m * 1
    steps.epoch(loader)  # captures anew
    assert steps.captured
    assert [graph() for graph in graphs] == [None] * len(graphs)
    graphs = [weakref.ref(work._graph) for work in steps._captured.captured.values()]
    del steps
    assert [graph() for graph in graphs] == [None] * len(graphs)


@pytest.mark.parametrize("spoil", [None, reads])
@pytest.mark.parametrize("enabled", [True, False])
def test_no_garbage_is_collected_in_a_capture(enabled, spoil, collector):
    seen = []

    def look(layer, x):
        if strictdev.cuda.capturing() is not None:
            seen.append(gc.isenabled())
        return x if spoil is None else spoil(layer, x)

    if enabled:
        gc.enable()
    steps = training(CapturedSteps, STRICT, lambda: dense(Own(look)), OPTIMIZERS["adam"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        steps.epoch(batches(STRICT))
    assert steps.captured is (spoil is None)
    assert seen
    assert not any(seen)
    assert gc.isenabled() is enabled


def test_few_batches_are_not_worth_a_capture(device):
    steps = training(CapturedSteps, device, dense, OPTIMIZERS["adam"])
    losses = steps.epoch(batches(device, 30))
    assert len(losses) == 3
    assert steps.refused is None
    assert not steps.captured


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


class Slotted:
    __slots__ = ("value",)

    def __init__(self):
        self.value = 1.0


def hidden(state, read):
    """A layer's `what` that keeps its state somewhere else than in a plain attribute."""

    def what(layer, x):
        if not hasattr(layer, "hidden"):
            layer.hidden = state()
        return x * read(layer.hidden)

    return what


def next_of_list(numbers):
    numbers.append(numbers[-1] * 0.9)
    return numbers[-1]


def fade_slot(slotted):
    slotted.value *= 0.9
    return slotted.value


def closure():
    value = 1.0

    def fade():
        nonlocal value
        value *= 0.9
        return value

    return fade


class InClass:
    value = 1.0


def fade_class(kind):
    kind.value = kind.value * 0.9 if kind.value > 0.5 else 1.0
    return kind.value


HIDDEN = {
    "list": (lambda: [1.0], next_of_list),
    "deque": (lambda: deque([1.0]), next_of_list),
    "slots": (Slotted, fade_slot),
    "closure": (closure, lambda fade: fade()),
    "partial": (lambda: partial(fade_slot, Slotted()), lambda fade: fade()),
    "bound method": (lambda: np.random.RandomState(1).random, lambda draw: float(draw())),
    "count": (itertools.count, lambda numbers: 1.0 / (1 + next(numbers))),
    "Random": (lambda: random.Random(1), lambda r: r.random()),
    "class": (lambda: InClass, fade_class),
    "random": (lambda: None, lambda _: random.random()),
    "numpy.random": (lambda: None, lambda _: float(np.random.random())),  # noqa: NPY002
}


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_states_are_seen(name, device):
    state, read = HIDDEN[name]
    random.seed(1)
    InClass.value = 1.0
    steps = training(
        CapturedSteps, device, lambda: dense(Own(hidden(state, read))), OPTIMIZERS["adam"]
    )
    warned(steps, batches(device), "changed during a step")


def test_a_layer_may_hold_a_module(device):
    """`self.xp = cupy` is a habit of array code, and modules are no state."""

    class Scaled(Own):
        def __init__(self):
            super().__init__(lambda layer, x: layer.xp.abs(x) * layer.math.pi)
            self.xp, self.math = device.xp, math

    run_both(device, lambda: dense(Scaled()), OPTIMIZERS["adam"])


def test_a_stream_whose_count_is_read_is_refused(device):
    plain = training(PlainSteps, device, lambda: dense(Fading()), OPTIMIZERS["adam"])
    captured = training(CapturedSteps, device, lambda: dense(Fading()), OPTIMIZERS["adam"])
    one, other = batches(device), batches(device)
    for _ in range(2):
        plain.epoch(one)
    warned(captured, other, "RandomStream: its count or rate was read while a step is captured")
    assert_equal(plain, captured)


def test_a_stream_that_the_first_step_makes(device):
    steps = training(CapturedSteps, device, lambda: dense(Late()), OPTIMIZERS["adam"])
    warned(steps, batches(device), "the first step made an optimiser or a RandomStream")


class InNumPy(SGD):
    """Wants its rate as a number of NumPy's."""

    def update(self, segment, scalars):
        super().update(segment, (np.float32(scalars[0]),))


class Odd(SGD):
    """Takes its scalars again once they are not the host's, after the gradients are there."""

    def update(self, segment, scalars):
        if isinstance(scalars[0], self.backend.array_type):
            self.scalars_at(self.steps)
        super().update(segment, scalars)


@pytest.mark.parametrize("make", [InNumPy, Odd])
def test_a_step_that_fails_with_the_devices_scalars_is_undone(make, device):
    """Batch norm and the stream have moved on by then, and must not do so twice."""

    def build():
        return dense(BatchNorm(12), Dropout(0.3))

    plain = training(PlainSteps, device, build, lambda m: make(m.parameters(), 0.1))
    captured = training(CapturedSteps, device, build, lambda m: make(m.parameters(), 0.1))
    one, other = batches(device), batches(device)
    losses = [device.to_host(plain.epoch(one)) for _ in range(2)]
    with pytest.warns(UserWarning, match="training without a captured step: with scalars from"):
        first = device.to_host(captured.epoch(other))
    np.testing.assert_array_equal([first, device.to_host(captured.epoch(other))], losses)
    assert_equal(plain, captured)


class InDouble(SGD):
    """States a scalar in double precision, and computes with it."""

    def scalars(self, learning_rate, step):
        return (np.float64(learning_rate) / 3,)

    def update(self, segment, scalars):
        super().update(segment, ((scalars[0] + 1e-4) * (1 + 1e-6),))


def test_scalars_have_the_dtype_of_the_parameters(device):
    """NumPy's double would make a double of the whole update on the host, but not in a capture."""
    run_both(device, dense, lambda m: InDouble(m.parameters(), 0.1))


class Ends:
    """A rate that is good for so many steps."""

    def __init__(self, steps, then):
        self.steps, self.then = steps, then

    def __repr__(self):
        return f"Ends({self.steps})"

    def __call__(self, step):
        if step < self.steps:
            return 0.1
        if self.then == "error":
            raise LookupError(f"no rate for step {step}")
        return self.then


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 9, 14])
@pytest.mark.parametrize("then", ["error", -1.0, 1e60])
def test_a_rate_that_ends_in_mid_epoch(steps, then, grouped, device):
    """All steps before it are made, and the error is that of the step that has no rate."""

    def make_optimizer(model):
        if not grouped:
            return SGD(model.parameters(), Ends(steps, then))
        binary, rest = split_parameters(model)
        return OptimizerGroup(Bop(binary), Adam(rest, Ends(steps, then)))

    def build():
        return dense(BatchNorm(12), Dropout(0.3))

    seen = []
    for kind in (PlainSteps, CapturedSteps):
        training_steps = training(kind, device, build, make_optimizer)
        loader = batches(device)
        losses, told = [], []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "training without a captured step: a step of this")
            warnings.filterwarnings("ignore", "training without a captured step: with scalars")
            try:
                for _ in range(3):
                    losses.append(
                        device.to_host(training_steps.epoch(loader, told.append)).tolist()
                    )
            except (LookupError, ValueError) as error:
                losses.append(f"{type(error).__name__}: {error}")
        assert sum(told) >= steps
        seen.append((losses, sum(told), training_steps))
    (plain_losses, plain_told, plain), (losses, told, captured) = seen
    np.testing.assert_equal(losses, plain_losses)
    assert told == plain_told
    assert_equal(plain, captured)


def test_a_stream_that_captures_for_somebody_else():
    graphs = STRICT.graphs
    with graphs.stream():
        stream = strictdev.cuda.get_current_stream()
        stream.begin_capture()
        with pytest.raises(RuntimeError, match="a stream that captures nothing"):
            graphs.capture(lambda: None)
        assert stream.is_capturing()
        stream.end_capture()


class CountsItself(SGD):
    """Has a step of its own, which counts as the class it derives from."""

    def step(self):
        self.update_all(self.scalars_at(self._steps))
        self.steps += 1


def test_a_step_of_a_users_own_may_count(device):
    run_both(device, dense, lambda m: CountsItself(m.parameters(), 0.1))


class OnHost(LogitCrossEntropy):
    def forward(self, logits, labels):
        return float(super().forward(logits, labels))


class Halved(LogitCrossEntropy):
    def forward(self, logits, labels):
        return super().forward(logits, labels).astype(np.float16)


def test_losses_of_other_types(device):
    run_both(device, dense, OPTIMIZERS["adam"], loss=Halved())
    steps = training(CapturedSteps, device, dense, OPTIMIZERS["adam"], OnHost())
    warned(steps, batches(device), "reading one element" if device is STRICT else "")


def test_ctrl_c_while_it_captures_leaves_nothing_open(monkeypatch, device):
    """In the first moment of the capture, and in the middle of it."""
    for moment in ("begin", "middle"):
        steps = training(CapturedSteps, device, dense, OPTIMIZERS["adam"])
        loader = batches(device)
        with monkeypatch.context() as patch:
            if moment == "middle":
                patch.setattr(type(steps.loss), "backward", interrupt(type(steps.loss).backward, 4))
            elif device is STRICT:
                begin = strictdev.cuda.Stream.begin_capture
                patch.setattr(
                    strictdev.cuda.Stream, "begin_capture", interrupt(begin, 1, after=True)
                )
            else:
                continue
            with pytest.raises(KeyboardInterrupt):
                steps.epoch(loader)
        assert steps.loss.saved is None
        with pytest.raises(RuntimeError, match="backward"):
            steps.model.backward(steps.model.backend.xp.zeros((10, CLASSES), np.float32))
        assert not steps.captured
        steps.epoch(loader)
        assert steps.captured
        assert sorted(steps._captured.captured) == [1]


def interrupt(function, call, after=False):
    calls = itertools.count(1)

    def interrupted(*arguments):
        result = function(*arguments) if after else None
        if next(calls) == call:
            raise KeyboardInterrupt
        return result if after else function(*arguments)

    return interrupted


def test_a_state_that_cannot_be_seen(device):
    """Neither in the first epoch nor in a later one."""

    class Shy(dict):
        shy = True

        def items(self):
            if self.shy:
                raise RuntimeError("do not look at me")
            return super().items()

    for epochs in (0, 1):
        layer = Own(lambda layer, x: x)
        layer.notes = Shy()
        Shy.shy = epochs == 0
        steps = training(
            CapturedSteps, device, lambda layer=layer: dense(layer), OPTIMIZERS["adam"]
        )
        loader = batches(device)
        for _ in range(epochs):
            steps.epoch(loader)
            assert steps.captured
        Shy.shy = True
        warned(steps, loader, "the host's state cannot be seen: RuntimeError: do not look at me")


def test_two_threads_take_turns(device):
    plain = training(PlainSteps, device, dense, OPTIMIZERS["adam"])
    captured = training(CapturedSteps, device, dense, OPTIMIZERS["adam"])
    one, other = batches(device), batches(device)
    for _ in range(3):
        with ThreadPoolExecutor(1) as pool:
            losses = pool.submit(lambda: device.to_host(captured.epoch(other))).result()
        np.testing.assert_array_equal(device.to_host(plain.epoch(one)), losses)
    assert_equal(plain, captured)


def test_a_loader_whose_batches_were_replaced_is_refused(device):
    steps = training(CapturedSteps, device, dense, OPTIMIZERS["adam"])
    loader = batches(device)
    loader.batches = lambda epoch: DataLoader.batches(loader, 0)
    warned(steps, loader, "DataLoader makes its batches itself")


@pytest.mark.parametrize("wrong", ["model", "loss", "optimizer", "another", "loader"])
@pytest.mark.parametrize("kind", [PlainSteps, CapturedSteps])
def test_what_cannot_be_trained_together_is_refused(kind, wrong):
    model, other = dense().initialize(1), dense().initialize(1)
    given = {"model": model, "loss": LogitCrossEntropy(), "optimizer": SGD(model.parameters(), 0.1)}
    if wrong == "loader":
        with pytest.raises(TypeError, match=f"{kind.__name__}: expected a DataLoader, got list"):
            kind(**given).epoch([])
    elif wrong == "another":
        with pytest.raises(ValueError, match=f"{kind.__name__}: the optimiser holds none of the"):
            kind(**given | {"model": other})
    else:
        with pytest.raises(TypeError, match=f"{kind.__name__}: expected {wrong} of type"):
            kind(**given | {wrong: LogitCrossEntropy})


def test_capture_is_a_truth():
    from minibnn import get_backend

    with pytest.raises(TypeError, match="expected capture to be None, True or False, got 'auto'"):
        fitted(get_backend("cpu"), capture="auto")


class Centred(Adam):
    """Changes the weights after the step."""

    def step(self):
        super().step()
        self.store.data[...] -= self.store.data.mean()


def test_an_adam_of_a_users_own_is_trained_as_it_is(device):
    run_both(device, MODELS["batch norm"], lambda m: Centred(m.parameters(), 0.01))


class Twice(SGD):
    """Makes two small updates instead of one."""

    def step(self):
        super().step()
        super().step()


class Clipping(OptimizerGroup):
    """Clips the gradients of its members before they make their steps."""

    def step(self):
        for p in self.parameters:
            p.grad[...] = self.backend.xp.clip(p.grad, -0.01, 0.01)
        super().step()


@pytest.mark.parametrize(
    "make",
    [
        lambda m: Twice(m.parameters(), Cosine(0.1, 0, length=30)),
        lambda m: Clipping(SGD(m.parameters(), Cosine(0.1, 0, length=20))),
        lambda m: OptimizerGroup(OptimizerGroup(Adam(m.parameters()))),
    ],
    ids=["twice", "clipping", "groups"],
)
def test_steps_of_a_users_own(make, device):
    run_both(device, MODELS["dropout"], make)


class Annealing(SGD):
    """Lowers its rate itself, by and by."""

    def update(self, segment, scalars):
        super().update(segment, scalars)
        self.learning_rate = 0.1 / (1 + float(self.count))
        self.count += 1

    count = 0


class Alternating(SGD):
    """Updates in every other step."""

    def step(self):
        self.odd = not self.odd
        if self.odd:
            super().step()

    odd = False


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        (Annealing, r"optimizer\.count changed during a step"),
        (Alternating, r"optimizer\.odd changed during a step"),
    ],
)
def test_an_optimiser_with_a_state_of_its_own_is_named(kind, match, device):
    plain = training(PlainSteps, device, dense, lambda m: kind(m.parameters(), 0.1))
    captured = training(CapturedSteps, device, dense, lambda m: kind(m.parameters(), 0.1))
    one, other = batches(device), batches(device)
    for _ in range(2):
        plain.epoch(one)
    warned(captured, other, match)
    assert_equal(plain, captured)


@pytest.mark.parametrize("name", ["optimizer", "loss"])
def test_another_optimiser_or_loss_in_each_epoch(name, device):
    """Of a part of the parameters each, so that none takes over what another one holds."""
    trained = []
    for kind in (PlainSteps, CapturedSteps):
        steps, loader = (
            training(kind, device, MODELS["batch norm"], OPTIMIZERS["sgd"]),
            batches(device),
        )
        parameters = list(steps.model.parameters())
        optimizers = SGD(parameters[:1], 0.1), Adam(parameters[1:], 0.01)
        steps.optimizer = optimizers[0]
        others = {"optimizer": optimizers, "loss": (LogitCrossEntropy(), SquaredHinge())}[name]
        losses = []
        for epoch in range(4):
            setattr(steps, name, others[epoch % 2])
            losses.append(device.to_host(steps.epoch(loader)).tolist())
        trained.append((losses, everything(steps)))
    (one, plain), (other, captured) = trained
    assert one == other
    for key, value in plain.items():
        np.testing.assert_array_equal(captured[key], value, err_msg=key)


class Falling:
    """A schedule with a count of its own, which does not look at the one that it is given."""

    def __init__(self):
        self.calls = 0

    def __call__(self, step):
        self.calls += 1
        return 0.1 / self.calls


def falling_from(rates):
    return lambda step: next(rates)


@pytest.mark.parametrize(
    ("schedule", "match"),
    [
        (Falling, r"SGD\[0\]\.schedule\.calls changed during a step"),
        (lambda: Falling().__call__, r"schedule\.__self__\.calls changed during a step"),
        (lambda: falling_from(iter([0.1 / n for n in range(1, 99)])), r"schedule\.rates changed"),
    ],
    ids=["attribute", "method", "iterator"],
)
def test_a_schedule_with_a_state_of_its_own_is_named(schedule, match, device):
    """The rates of a captured step are computed before it, so it would be asked at other times."""
    plain = training(PlainSteps, device, dense, lambda m: SGD(m.parameters(), schedule()))
    captured = training(CapturedSteps, device, dense, lambda m: SGD(m.parameters(), schedule()))
    one, other = batches(device), batches(device)
    for _ in range(2):
        plain.epoch(one)
    warned(captured, other, match)
    assert_equal(plain, captured)


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


class Clipped(Sequential):
    """A user's container, which looks at gradients as soon as they are there."""

    def backward(self, dy, *, need_dx=True):
        dx = super().backward(dy, need_dx=need_dx)
        for p in self.parameters():
            p.grad[...] = self.backend.xp.clip(p.grad, -0.01, 0.01)
        return dx


def test_who_looks_at_gradients_finds_them(device):
    def build():
        flatten, rescale, *others = convolutional()
        return Sequential(flatten, rescale, Clipped(*others))

    run_both(device, build, OPTIMIZERS["adam"])


# --- The way out --------------------------------------------------------------------------------


def test_training_stops_where_it_is_asked_to(device):
    plain = training(PlainSteps, device, MODELS["dropout"], OPTIMIZERS["adam"])
    captured = training(
        CapturedSteps, device, MODELS["dropout"], OPTIMIZERS["adam"], steps_at_once=2
    )
    one, other = batches(device), batches(device)
    told = []

    def stop(count):
        told.append(count)
        return sum(told) >= 6

    for expected in ([1, 1, 1, 2, 2], [2, 2, 2]):
        told.clear()
        done = captured.epoch(other, stop)
        assert told == expected
        assert len(done) == sum(expected)
        left = iter([False] * (len(done) - 1) + [True])
        assert len(plain.epoch(one, lambda count: next(left))) == len(done)  # noqa: B023
        assert_equal(plain, captured)


def test_after_a_loss_that_is_not_finite_nothing_changes(device):
    """One white image makes its batch's sums inf - inf."""

    def overflow(layer, x):
        return x / (x.min(axis=1, keepdims=True) < 0.99)

    def spoiled():
        flatten, rescale, *others = dense()
        return Sequential(flatten, rescale, Own(overflow), *others)

    results = []
    for kind in (PlainSteps, CapturedSteps):
        steps = training(kind, device, spoiled, OPTIMIZERS["adam"])
        images, labels = data(device)
        images[60] = 255
        loader = DataLoader((images, labels), 10, shuffle=True, rng=5)
        results.append((steps, [device.to_host(steps.epoch(loader)) for _ in range(3)]))
    (plain, losses), (captured, same) = results
    np.testing.assert_array_equal(losses, same)
    assert_equal(plain, captured)
    assert (~np.isfinite(losses)).sum(axis=1).tolist() == [1, 1, 1]


# --- fit ----------------------------------------------------------------------------------------


def fitted(device, capture=None, build=None):
    model = (build or MODELS["batch norm"])().initialize(1).to(device)
    loss = LogitCrossEntropy()
    train, test = batches(device), batches(device, 40, shuffle=False)
    history = fit(
        model, train, test, loss=loss, optimizer=Adam(model.parameters(), 0.01), epochs=3,
        capture=capture, progress=False,
    )  # fmt: skip
    return history, evaluate(model, test, loss)


def test_fit_captures_by_default_and_says_so(device, caplog):
    with caplog.at_level("INFO", logger="minibnn"):
        history, metrics = fitted(device)
    assert history.attrs["captured"]
    assert "a training step is captured and replayed" in caplog.text
    plain, plain_metrics = fitted(device, capture=False)
    assert not plain.attrs["captured"]
    np.testing.assert_array_equal(history.to_numpy(), plain.to_numpy())
    assert metrics == plain_metrics


def test_fit_on_the_host_captures_nothing():
    from minibnn import get_backend

    history, _ = fitted(get_backend("cpu"))
    assert not history.attrs["captured"]
    with pytest.raises(ValueError, match=r"a GPU with capture=True, got cpu"):
        fitted(get_backend("cpu"), capture=True)


def test_fit_trains_on_when_a_layer_cannot_be_captured(device):
    with pytest.warns(UserWarning, match=r"training without a captured step: .*scale changed"):
        history, _ = fitted(device, build=lambda: dense(Own(anneals)))
    assert not history.attrs["captured"]
    assert len(history) == 3
