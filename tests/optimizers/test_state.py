"""The state of optimisers: every class, groups and schedules, on the CPU and on a device."""

from __future__ import annotations

import numpy as np
import pytest
from devices import STRICT

from minibnn import (
    SGD,
    Adam,
    AdaMax,
    Bop,
    Constant,
    Cosine,
    Dense,
    Exponential,
    OptimizerGroup,
    PerEpoch,
    Sequential,
    ShiftAdaMax,
    SignSTE,
    split_parameters,
)
from minibnn.backend import CPU
from minibnn.optimizers import Descent, Optimizer
from minibnn.optimizers.state import FlatOptimizerState, OptimizerState


class Plateau:
    """A schedule with a memory: half the rate after every two calls with a new number."""

    def __init__(self):
        self.rate, self.calls = 0.5, 0

    def __call__(self, t):
        self.calls += 1
        if self.calls % 2 == 0:
            self.rate /= 2
        return self.rate

    def state(self):
        return {"rate": self.rate, "calls": self.calls}

    def restore(self, state):
        self.rate, self.calls = state["rate"], state["calls"]


class Slowing(Descent):
    """docs/extending.md's example, with moments and nothing about state."""

    def __init__(self, parameters, learning_rate):
        super().__init__(parameters, learning_rate)
        self.v = self.backend.xp.zeros_like(self.store.data)

    def scalars(self, learning_rate, step):
        return (learning_rate / (step + 1),)

    def update(self, segment, scalars):
        part, (rate,) = segment.where, scalars
        w, g, v = self.store.data[part], self.store.grad[part], self.v[part]
        new_v = 0.9 * v + g * g
        self.backend.masked_write((v, new_v), (w, w - rate * new_v))


def group(model, gamma=0.1, rate=0.01):
    binary, rest = split_parameters(model)
    return OptimizerGroup(Bop(binary, gamma=gamma), Adam(rest, rate))


def nested(model):
    binary, (bias, *rest) = split_parameters(model)
    inner = OptimizerGroup(SGD(rest, 0.1, momentum=0.9), AdaMax([bias], Cosine(0.1, 0, length=9)))
    return OptimizerGroup(Bop(binary), inner)


MAKE = {
    "sgd": lambda m: SGD(m.parameters(), 0.1),
    "momentum": lambda m: SGD(m.parameters(), 0.1, momentum=0.9),
    "adam": lambda m: Adam(m.parameters(), 0.1),
    "adamax": lambda m: AdaMax(m.parameters(), 0.1),
    "shift-adamax": lambda m: ShiftAdaMax(m.parameters(), 0.1),
    "own": lambda m: Slowing(m.parameters(), 0.1),
    "bop": lambda m: Bop(split_parameters(m)[0], gamma=Exponential(0.5, 0.1, length=5)),
    "constant": lambda m: Adam(m.parameters(), Constant(0.1)),
    "per epoch": lambda m: Adam(m.parameters(), PerEpoch(Cosine(0.1, 0, length=4), 2)),
    "function": lambda m: SGD(m.parameters(), lambda t: 0.1 / (t + 1)),
    "memory": lambda m: Adam(m.parameters(), Plateau()),
    "memory per epoch": lambda m: Adam(m.parameters(), PerEpoch(Plateau(), 2)),
    "group": group,
    "constant group": lambda m: group(m, rate=Constant(0.1)),
    "scheduled group": lambda m: group(m, Cosine(0.1, 0.01, length=9), Plateau()),
    "nested groups": nested,
}


def model(backend, seed, dtype=np.float32, n=4):
    layers = Dense(n, 3, weight_quantizer=SignSTE()), Dense(3, 2)
    return Sequential(*layers).initialize(seed, dtype).to(backend)


def step(net, optimizer, i):
    rng = np.random.default_rng(i)
    for p in net.parameters():
        p.grad[...] = net.backend.asarray(rng.standard_normal(p.shape).astype(net.dtype))
    optimizer.step()


def flat(state):
    found = {}
    for name, value in state.items():
        if isinstance(value, dict):
            found |= {f"{name}.{k}": v for k, v in flat(value).items()}
        else:
            is_array = isinstance(value, np.ndarray)
            found[name] = (str(value.dtype), value.tobytes()) if is_array else value
    return found


@pytest.mark.parametrize(
    ("backend", "dtype"),
    [(CPU, np.float32), (CPU, np.float64), (STRICT, np.float32)],
    ids=["cpu", "cpu-float64", "strict"],
)
@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("name", MAKE)
def test_a_restored_optimiser_goes_on_to_the_same_bytes(name, steps, backend, dtype):
    net, other = (model(backend, seed, dtype) for seed in (0, 1))
    optimizer, another = MAKE[name](net), MAKE[name](other)
    for i in range(steps):
        step(net, optimizer, i)
    step(other, another, 9)
    other.restore(net.state())
    another.restore(optimizer.state())
    assert flat(another.state()) == flat(optimizer.state())
    for i in range(3, 6):
        step(net, optimizer, i)
        step(other, another, i)
        assert flat(other.state()) == flat(net.state())
        assert flat(another.state()) == flat(optimizer.state())


@pytest.mark.parametrize("backend", [CPU, STRICT], ids=["cpu", "strict"])
@pytest.mark.parametrize("name", MAKE)
def test_a_state_is_a_copy(name, backend):
    net = model(backend, 0)
    optimizer = MAKE[name](net)
    step(net, optimizer, 0)
    state = optimizer.state()
    before = flat(state)
    step(net, optimizer, 1)
    assert flat(state) == before
    optimizer.restore(state)

    def scribble(part):
        for value in part.values():
            if isinstance(value, dict):
                scribble(value)
            elif isinstance(value, np.ndarray):
                value += 1

    scribble(state)
    assert flat(optimizer.state()) == before


def test_which_classes_have_which():
    assert issubclass(Descent, FlatOptimizerState)
    assert OptimizerGroup.restore is not OptimizerState.restore
    optimizer = SGD(model(CPU, 0).parameters(), 0.1)
    assert optimizer.arguments() == {"learning_rate": 0.1}


def test_a_rate_that_was_set_by_hand_is_restored():
    one, other = (Adam(model(CPU, i).parameters(), 0.1) for i in (0, 1))
    one.learning_rate = 0.025
    other.restore(one.state())
    assert other.learning_rate == 0.025


@pytest.mark.parametrize(
    ("own", "given", "message"),
    [
        ("adam", "sgd", r"Adam: expected a state with (m|v) as float32 .*, got nothing"),
        ("adam", "constant", "Adam: expected a state with rate as a number, got nothing"),
        ("constant", "adam", "Adam: expected a state with rate as nothing, got a number"),
        ("constant", "memory", "Adam: expected a state with schedule as nothing, got named parts"),
        ("memory", "constant", r"schedule as named parts, got nothing"),
        ("group", "adam", r"OptimizerGroup: expected a state with 0 as named parts, got nothing"),
        ("group", "constant group", r"OptimizerGroup: expected a state with 1\.rate as a number"),
        ("group", "nested groups", r"OptimizerGroup: expected a state with 1\.steps as a number"),
    ],
)
def test_another_optimisers_state_changes_nothing_and_is_named(own, given, message):
    net, other = model(CPU, 0), model(CPU, 1)
    optimizer, another = MAKE[own](net), MAKE[given](other)
    step(net, optimizer, 0)
    before = flat(optimizer.state())
    with pytest.raises(ValueError, match=message):
        optimizer.restore(another.state())
    assert flat(optimizer.state()) == before


def test_the_moments_of_a_larger_model_are_refused():
    optimizer = Adam(model(CPU, 0).parameters(), 0.1)
    with pytest.raises(ValueError, match=r"float32 \(\d+,\), got float32 \(\d+,\)"):
        optimizer.restore(Adam(model(CPU, 0, n=100).parameters(), 0.1).state())


def test_a_plain_optimiser_without_state_is_named():
    class Mine(Optimizer):
        parameters = ()

        def require_intact(self):
            pass

        require_gradients = require_finite_gradients = step = require_intact

    with pytest.raises(TypeError, match=r"Mine: expected the methods state\(\) and restore"):
        Mine().state()


@pytest.mark.parametrize("name", ["rate", "_v"])
def test_an_array_with_the_name_of_something_else_is_refused(name):
    """One of the two would be lost."""
    optimizer = Slowing(model(CPU, 0).parameters(), 0.1)
    setattr(optimizer, name, np.zeros(2))
    with pytest.raises(TypeError, match=f"Slowing: expected .*{name.strip('_')}'"):
        optimizer.state()
