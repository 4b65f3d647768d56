"""What no state has is named before a checkpoint is written; what has one raises no alarm."""

from __future__ import annotations

import itertools
import random
from functools import partial

import numpy as np
import pytest
from cases import direct_feedback_net
from devices import STRICT
from own_optimizers import WithoutState

from minibnn import (
    SGD,
    Activation,
    Adam,
    BatchNorm,
    Bop,
    Buffer,
    Checkpoint,
    DataLoader,
    Dense,
    Dropout,
    Fill,
    Function,
    Layer,
    LogitCrossEntropy,
    OptimizerGroup,
    Parameter,
    PerEpoch,
    RandomStream,
    Sequential,
    SignSTE,
    StochasticSign,
    backend_of,
    fit,
    split_parameters,
)
from minibnn.backend import batch_sum
from minibnn.optimizers import Descent
from minibnn.training.unrecorded import UnrecordedState

X = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
LABELS = np.arange(12) % 2


class Through(Layer):
    """Passes everything through; `act` is called in each training step."""

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def act(self, x):
        pass

    def forward(self, x, *, train=False):
        if train:
            self.act(x)
            self.saved = (x.shape,)
        return x

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy


def train(tmp_path, layer=None, *, loss=None, optimizer=None, loader=None, epochs=1, net=None,
          every="1steps", backend="cpu"):  # fmt: skip
    model = net or Sequential(*([layer] if layer else []), Dense(4, 2))
    model = model.initialize(0).to(backend)
    make = optimizer or (lambda parameters: SGD(parameters, 0.1, momentum=0.9))
    return fit(
        model,
        (loader or DataLoader)((X, LABELS), 3, shuffle=True, rng=0),
        DataLoader((X, LABELS), 12),
        loss=loss or LogitCrossEntropy(),
        optimizer=make(list(model.parameters())),
        epochs=epochs,
        checkpoint=Checkpoint(tmp_path / "run", every, resume=True),
        capture=False,
    )


def layer(act, **attributes):
    return type("Mine", (Through,), {"act": act})(**attributes)


def count(self, x):
    self.calls += 1


def rebind(self, x):
    self.mask = abs(x) * (0.5 + self.calls[0].random())


class InItsClass(Through):
    calls = 0

    def act(self, x):
        type(self).calls += 1


LAYERS = {
    "counts": lambda: (layer(count, calls=0), r"model\.layers\[0\]\.calls of Mine"),
    "in its class": lambda: (
        InItsClass(),
        r"model\.layers\[0\] \(its class\)\.calls of InItsClass",
    ),
    "generator": lambda: (
        layer(lambda self, x: self.rng.random(), rng=np.random.default_rng(0)),
        r"model\.layers\[0\]\.rng of Mine",
    ),
    "Python's generator": lambda: (
        layer(lambda self, x: self.rng.random(), rng=random.Random(0)),
        r"model\.layers\[0\]\.rng of Mine",
    ),
    "array in place": lambda: (
        layer(lambda self, x: self.total.__iadd__(1), total=np.zeros(3)),
        r"model\.layers\[0\]\.total of Mine",
    ),
    "new array": lambda: (
        layer(rebind, mask=None, calls=[random.Random(0)]),
        r"model\.layers\[0\]\.mask of Mine",
    ),
    "a growing list": lambda: (
        layer(lambda self, x: self.seen.append(1), seen=[]),
        r"model\.layers\[0\]\.seen of Mine",
    ),
    "a list's items": lambda: (
        layer(lambda self, x: self.seen.__setitem__(0, self.seen[0] + 1), seen=[0]),
        r"model\.layers\[0\]\.seen\[0\] of Mine",
    ),
    "a dict with a strange key": lambda: (
        layer(lambda self, x: self.seen.__setitem__("a[0].b", self.seen["a[0].b"] + 1),
              seen={"a[0].b": 0}),
        r"model\.layers\[0\]\.seen\['a\[0\]\.b'\] of Mine",
    ),
    "a helper's attribute": lambda: (
        layer(lambda self, x: count(self.helper, x), helper=type("Helper", (), {"calls": 0})()),
        r"model\.layers\[0\]\.helper\.?.*calls of Helper",
    ),
    "an iterator": lambda: (
        layer(lambda self, x: next(self.rates), rates=itertools.count()),
        r"model\.layers\[0\]\.rates",
    ),
    "streams in a list": lambda: (
        layer(lambda self, x: self.streams[0].next_keys(), streams=[seeded()]),
        r"model\.layers\[0\]\.streams\[0\] of Mine",
    ),
    "functions in a list": lambda: (
        layer(lambda self, x: self.functions[0].stream.next_keys(), functions=[drawing()]),
        r"model\.layers\[0\]\.functions\[0\]\.stream of StochasticSign",
    ),
    "NumPy's global generator": lambda: (
        layer(lambda self, x: np.random.rand()),  # noqa: NPY002
        "the state of numpy.random",
    ),
    "Python's global generator": lambda: (
        layer(lambda self, x: random.random()),
        "the state of random",
    ),
}  # fmt: skip


def seeded():
    stream = RandomStream()
    stream.initialize(np.random.default_rng(0))
    return stream


def drawing():
    function = StochasticSign()
    function.initialize(np.random.default_rng(0))
    return function


def assert_named(tmp_path, named, **given):
    with pytest.raises(TypeError, match=rf"run: expected every change .*, got .*{named}.*lost"):
        train(tmp_path, **given)
    assert list(tmp_path.iterdir()) == []  # no checkpoint was written before


@pytest.mark.parametrize("backend", ["cpu", STRICT], ids=["cpu", "strict"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_that_remembers_is_named(name, backend, tmp_path):
    if name == "new array" and backend is STRICT:
        pytest.skip("it makes arrays of the host")
    mine, named = LAYERS[name]()
    assert_named(tmp_path, named, layer=mine, backend=backend)


def test_a_function_a_loss_an_optimiser_and_a_schedule_are_named(tmp_path):
    class Counting(Function):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x

        def backward(self, dy, x):
            return dy

    class Smoothed(LogitCrossEntropy):
        mean = 0.0

        def forward(self, logits, labels):
            value = super().forward(logits, labels)
            self.mean = 0.9 * self.mean + float(value)
            return value

    class Noisy(SGD):
        def __init__(self, parameters):
            super().__init__(parameters, 0.1)
            self.rng = np.random.default_rng(0)

        def step(self):
            self.rng.random()
            super().step()

    class Warm:
        calls = 0

        def __call__(self, t):
            self.calls += 1
            return 0.1

    mine = Activation(Counting())
    mine.function.calls = 0
    assert_named(tmp_path, r"model\.layers\[0\]\.function\.calls of Counting", layer=mine)
    loss = Smoothed()
    loss.mean = 0.0
    assert_named(tmp_path, r"loss\.mean of Smoothed", loss=loss)
    assert_named(tmp_path, r"optimizer\.rng of Noisy", optimizer=Noisy)

    def group(parameters):
        inner = OptimizerGroup(Noisy(parameters[1:]))
        return OptimizerGroup(SGD(parameters[:1], 0.1), inner)

    named = r"optimizer\.optimizers\[1\]\.optimizers\[0\]\.rng of Noisy"
    assert_named(tmp_path, named, optimizer=group)
    for wrap in (lambda s: s, lambda s: PerEpoch(s, 2)):
        schedule = Warm()
        schedule.calls = 0
        wrapped = wrap(schedule)
        named = r"schedule 0 \(Adam's\).*\.calls of Warm"
        assert_named(tmp_path, named, optimizer=lambda p, s=wrapped: Adam(p, s))


def test_a_plain_optimiser_without_state_is_named_before_the_first_step(tmp_path):
    class Plain(WithoutState):
        def step(self):
            pytest.fail("a step was made")

    with pytest.raises(TypeError, match="Plain: expected the methods state"):
        train(tmp_path, optimizer=Plain)
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_a_file_cannot_hold_is_named_before_the_first_step(tmp_path):
    own = {"state": lambda _: {"rng": np.random.default_rng(0)}, "restore": lambda *_: None}
    mine = type("Mine", (Through,), own)()
    mine.act = lambda x: pytest.fail("a step was made")
    with pytest.raises(TypeError, match=r"model/0/rng'.*got one of type Generator"):
        train(tmp_path, mine)


class Drawing(DataLoader):
    """It draws an epoch's order from a generator of its own, before the first step."""

    def __init__(self, *given, **options):
        super().__init__(*given, **options)
        self.own = np.random.default_rng(0)

    def order(self, epoch):
        return self.own.permutation(self.samples)


class CountingBatches(DataLoader):
    def __init__(self, *given, **options):
        super().__init__(*given, **options)
        self.given = 0

    def batches(self, epoch):
        for batch in super().batches(epoch):
            self.given += 1
            yield batch

    def state(self):  # which does not help: batches run again from the epoch's first
        return {**super().state(), "given": self.given}

    def restore(self, state):
        super().restore(state)
        self.given = state["given"]


class Streaming(DataLoader):
    def __init__(self, *given, **options):
        super().__init__(*given, **options)
        self.stream = seeded()

    def batches(self, epoch):
        for batch in super().batches(epoch):
            self.stream.next_keys()
            yield batch


class GlobalOrder(DataLoader):
    def order(self, epoch):
        return np.random.permutation(self.samples)  # noqa: NPY002


@pytest.mark.parametrize(
    ("loader", "named"),
    [
        (Drawing, r"Drawing\.own \(a loader's order\(epoch\) and batches\(epoch\) run again"),
        (CountingBatches, r"CountingBatches\.given \(a loader's"),
        (Streaming, r"Streaming\.stream \(a loader's"),
        (GlobalOrder, "the state of numpy.random"),
    ],
)
def test_a_loader_whose_batches_depend_on_earlier_ones_is_named(loader, named, tmp_path):
    assert_named(tmp_path, named, loader=loader)


class Noise:
    """Draws from a generator of its own, which no checkpoint has."""

    def __init__(self):
        self.own = np.random.default_rng(0)

    def __call__(self, x, rng):
        return x + self.own.random(x.shape).astype(x.dtype)


def counting():
    calls = []

    def augment(x, rng):
        calls.append(len(x))
        return x

    return augment


@pytest.mark.parametrize(
    ("augment", "named"),
    [
        (Noise(), r"DataLoader's augment\.own \(augment runs again .* let it draw from the gener"),
        (counting(), r"DataLoader's augment\.calls \(augment runs again"),
    ],
)
def test_an_augmentation_that_depends_on_earlier_batches_is_named(augment, named, tmp_path):
    assert_named(tmp_path, named, loader=partial(DataLoader, augment=augment))


def test_a_loader_with_an_iter_of_its_own_is_named_before_the_first_step(tmp_path):
    class Mine(DataLoader):
        def __iter__(self):
            pytest.fail("a step was made")

    with pytest.raises(TypeError, match=r"Mine: .* override batches"):
        train(tmp_path, loader=Mine)


class Stateful(Through):
    """The hint, followed: state and restore, a Buffer, a RandomStream, saved."""

    def __init__(self):
        self.calls = 0
        self.rng = np.random.default_rng(0)
        self.total = Buffer("total")
        self.total.data = np.zeros(4, np.float32)
        self.stream = RandomStream()

    def forward(self, x, *, train=False):
        if not train:
            return x + self.total.data
        self.calls += 1
        backend = backend_of(x)
        mask = self.stream.uniform(backend, x.shape, x.dtype) * float(self.rng.random())
        self.total.data[...] = self.total.data + self.calls * mask.mean(axis=0)
        self.saved = (x.shape, mask)
        return x * mask

    def backward(self, dy, *, need_dx=True):
        (mask,) = self.take_saved(dy)
        return dy * mask

    def state(self):
        return {**super().state(), "calls": self.calls, "rng": self.rng.bit_generator.state}

    def restore(self, state):
        super().restore(state)
        self.calls, self.rng.bit_generator.state = state["calls"], state["rng"]


class EachEpoch(DataLoader):
    """The hint for loaders, followed."""

    def order(self, epoch):
        return np.random.default_rng([7, epoch]).permutation(self.samples)

    def batches(self, epoch):
        rng = np.random.default_rng([8, epoch])
        for x, labels in super().batches(epoch):
            yield x + self.backend.asarray(rng.random(x.shape).astype(x.dtype)), labels


def noise(x, rng):
    """The hint for augmentations, followed."""
    return x + backend_of(x).asarray(rng.random(x.shape).astype(x.dtype))


class StopError(Exception):
    pass


@pytest.mark.parametrize("backend", ["cpu", STRICT], ids=["cpu", "strict"])
def test_the_hint_is_followed_and_works(tmp_path, backend, monkeypatch):
    """A training that ends inside its second epoch goes on to the same bytes."""
    (tmp_path / "whole").mkdir()
    net = Sequential(Stateful(), Dense(4, 2))
    whole = train(tmp_path / "whole", net=net, loader=EachEpoch, epochs=2, backend=backend)
    state = net.state()
    calls, mine = itertools.count(1), Stateful()
    original = mine.forward

    def forward(x, *, train=False):
        if train and next(calls) == 7:
            raise StopError
        return original(x, train=train)

    monkeypatch.setattr(Stateful, "forward", lambda self, x, **how: forward(x, **how))
    with pytest.raises(StopError):
        train(tmp_path, mine, loader=EachEpoch, epochs=2, backend=backend)
    monkeypatch.undo()
    net = Sequential(Stateful(), Dense(4, 2))
    rest = train(tmp_path, net=net, loader=EachEpoch, epochs=2, backend=backend)
    assert rest.to_numpy().tobytes() == whole.to_numpy().tobytes()
    again = net.state()
    assert again["0"]["calls"] == state["0"]["calls"] == 8
    assert again["0"]["rng"] == state["0"]["rng"]
    assert again["0"]["total"].tobytes() == state["0"]["total"].tobytes()
    assert again["1"]["weight"].tobytes() == state["1"]["weight"].tobytes()


def cache(self, x):
    if self.shape is None:
        self.shape = x.shape
        self.constant = x * 0 + 1


def cache_by_size(self, x):
    self.sizes.setdefault(len(x), x.shape)


class Scale(Layer):
    """docs/extending.md's layer, with other names for its weights and a pair of parts."""

    def __init__(self, features):
        self.scale = Parameter("scale", (features,), Fill(1.0))
        self.stream = RandomStream()
        self.pair = (1, self.stream)

    def forward(self, x, *, train=False):
        self.check_input(x, self.scale.size)
        self.values = self.scale.data
        self.both = (self.scale.data, self.scale.grad)
        self.view = self.scale.data[:2]
        if train:
            self.stream.next_keys()
            self.saved = (x.shape, x)
        return self.scale.data * x

    def backward(self, dy, *, need_dx=True):
        (x,) = self.take_saved(dy)
        batch_sum(dy * x, out=self.scale.grad)
        return self.scale.data * dy if need_dx else None


class Decayed(Descent):
    """docs/extending.md's optimiser, which says nothing about state."""

    def __init__(self, parameters):
        super().__init__(parameters, 0.1)
        self.v = self.backend.xp.zeros_like(self.store.data)
        self.alias = self.v
        self.first = self.parameters[0]

    def update(self, segment, scalars):
        part, (rate,) = segment.where, scalars
        w, g, v = self.store.data[part], self.store.grad[part], self.v[part]
        new_v = 0.9 * v + g
        self.backend.masked_write((v, new_v), (w, w - rate * new_v))


def grouped(parameters):
    return OptimizerGroup(
        OptimizerGroup(Decayed(parameters[:1])), Adam(parameters[1:], lambda t: 0.1 / (t + 1))
    )


SILENT = {
    "constants": {"layer": lambda: layer(cache, shape=None, constant=None, table=np.ones(3))},
    "a cache by size": {"layer": lambda: layer(cache_by_size, sizes={})},
    "names of parameters": {"layer": lambda: Scale(4)},
    "minibnn's own": {
        "net": lambda: Sequential(
            direct_feedback_net(), Dropout(0.2), BatchNorm(3), Activation(StochasticSign()),
            Dense(3, 2, weight_quantizer=StochasticSign()),
        ),
    },
    "an own optimiser": {"optimizer": lambda: Decayed},
    "in nested groups": {"optimizer": lambda: grouped},
    "an own loader": {"loader": lambda: EachEpoch},
    "an augmentation": {"loader": lambda: partial(DataLoader, augment=noise)},
    "a loader with constants": {
        "loader": lambda: type("Mine", (DataLoader,), {"table": {1: 2}, "mean": 0.5}),
    },
}  # fmt: skip


@pytest.mark.parametrize("backend", ["cpu", STRICT], ids=["cpu", "strict"])
@pytest.mark.parametrize("name", SILENT)
def test_no_false_alarm(name, backend, tmp_path, caplog):
    given = {key: make() for key, make in SILENT[name].items()}
    train(tmp_path, **given, epochs=2, backend=backend)
    assert (tmp_path / "run").exists()
    assert not caplog.records  # nor a warning at a later checkpoint


def test_bop_in_a_group_raises_no_alarm():
    net = Sequential(Dense(4, 3, weight_quantizer=SignSTE()), Dense(3, 2)).initialize(0)
    binary, rest = split_parameters(net)
    optimizer = OptimizerGroup(Bop(binary), Adam(rest, 0.1))
    loader, loss = DataLoader((X, LABELS), 4), LogitCrossEntropy()
    unrecorded = UnrecordedState(net, loss, optimizer, loader)
    for x, labels in loader:
        loss.forward(net.forward(x, train=True), labels)
        net.backward(loss.backward())
        optimizer.step()
        assert unrecorded.changed() == []


def test_what_changes_later_is_found_at_the_next_look():
    mine = layer(count, calls=0)
    net = Sequential(mine, Dense(4, 2)).initialize(0)
    loader = DataLoader((X, LABELS), 4)
    given = net, LogitCrossEntropy(), SGD(net.parameters(), 0.1), loader
    unrecorded = UnrecordedState(*given)
    assert unrecorded.changed() == unrecorded.changed() == unrecorded.changed() == []
    np.random.rand()  # noqa: NPY002  # by the user, between epochs
    assert unrecorded.changed() == []
    mine.calls += 1
    assert unrecorded.changed() == ["model.layers[0].calls of Mine"]
