"""The state of layers: every case, every recipe, before and after the first step."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES, direct_feedback_net
from devices import STRICT

from minibnn import (
    SGD,
    BatchNorm,
    Buffer,
    Dense,
    Dropout,
    Fill,
    Layer,
    LogitCrossEntropy,
    Parameter,
    Sequential,
)
from minibnn.backend import CPU
from minibnn.layers.state import LayerState
from minibnn.recipes import RECIPES

each_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)


def flat(state, path=""):
    """Every value of a state by its path; arrays as dtype, shape and bytes."""
    found = {}
    for name, value in state.items():
        here = f"{path}.{name}"
        if isinstance(value, dict):
            found |= flat(value, here)
        elif isinstance(value, np.ndarray):
            found[here] = (str(value.dtype), value.shape, value.tobytes())
        else:
            found[here] = value
    return found


def scribble(state):
    """Change every array of a state."""
    for value in state.values():
        if isinstance(value, dict):
            scribble(value)
        elif isinstance(value, np.ndarray):
            value[...] = 1 - value


def step(model, case, i):
    """A forward and a backward, whose gradients it applies itself; the output's bytes."""
    rng, backend = np.random.default_rng(i), model.backend
    x = rng.standard_normal((max(3, case.min_batch), *case.shape)).astype(model.dtype)
    y = model.forward(backend.asarray(x), train=True)
    dy = rng.standard_normal(y.shape).astype(model.dtype)
    dx = model.backward(backend.asarray(dy))
    for p in model.parameters():
        p.data[...] = p.data - 0.1 * p.grad
    return [backend.to_host(a).tobytes() for a in (y, dx)]


@pytest.mark.parametrize(
    ("backend", "dtype"),
    [(CPU, np.float32), (CPU, np.float64), (STRICT, np.float32)],
    ids=["cpu", "cpu-float64", "strict"],
)
@each_case
def test_a_restored_layer_goes_on_to_the_same_bytes(case, dtype, backend):
    """In one with other values, and in one without any; after steps, and before the first."""
    for before in (0, 2):
        model = case.make().initialize(1, dtype).to(backend)
        for i in range(before):
            step(model, case, i)
        state = model.state()
        fresh = case.make().to(backend, dtype)
        others = [case.make().initialize(2, dtype).to(backend), fresh]
        for other in others[: 1 if before else 2]:
            step(other, case, 9) if other is not fresh else None
        for other in others:
            other.restore(state)
            assert flat(other.state()) == flat(state)
        outputs = [step(model, case, i) for i in range(3, 6)]
        after = flat(model.state())
        for other in others:
            assert [step(other, case, i) for i in range(3, 6)] == outputs
            assert flat(other.state()) == after


@pytest.mark.parametrize("backend", [CPU, STRICT], ids=["cpu", "strict"])
@each_case
def test_a_state_is_a_copy(case, backend):
    model, other = (case.make().initialize(seed).to(backend) for seed in (1, 2))
    step(model, case, 0)
    state = model.state()
    before = flat(state)
    other.restore(state)
    scribble(state)
    for one in (model, other):
        assert flat(one.state()) == before  # changing the state changes no layer
    state = model.state()
    step(model, case, 1)
    step(other, case, 1)
    assert flat(state) == before  # and the other way round


@pytest.mark.parametrize("name", [n for n in RECIPES if n != "binarynet"])  # 37 million weights
def test_every_recipe_has_a_state(name):
    build = RECIPES[name]().build
    model, fresh = build().initialize(1), build()
    expected = flat(model.state())
    assert flat(fresh.state()) != expected
    fresh.restore(model.state())
    assert flat(fresh.state()) == expected


def test_arrays_stay_those_that_an_optimiser_holds():
    model, other = (Sequential(Dense(4, 3), BatchNorm(3)).initialize(i) for i in (0, 1))
    optimizer = SGD(other.parameters(), 0.1)
    other.restore(model.state())
    optimizer.require_intact()
    np.testing.assert_array_equal(other.layers[0].weight.data, model.layers[0].weight.data)


def net(n_out=2, hidden=3):
    return Sequential(Dense(4, hidden), Dropout(0.5), BatchNorm(hidden), Dense(hidden, n_out))


@pytest.mark.parametrize("drawn", [True, False])
@pytest.mark.parametrize(
    ("other", "named"),
    [
        (lambda: net(5).initialize(0), r"3.*weight"),
        (lambda: net(hidden=6).initialize(0), r"0.*weight"),
        (lambda: net().initialize(0, np.float64), r"0\.weight as .*float64"),
        (lambda: Sequential(Dense(4, 3)).initialize(0), r"1 as named parts, got nothing"),
        (
            lambda: Sequential(Dense(4, 3), Dropout(0.5), BatchNorm(3), Dense(3, 2, bias=False))
            .initialize(0),
            r"3\.bias as",
        ),
    ],
)  # fmt: skip
def test_another_networks_state_changes_nothing_and_is_named(other, named, drawn):
    model = net().initialize(1) if drawn else net()
    before = flat(model.state())
    with pytest.raises(ValueError, match=f"expected .*{named}"):
        model.restore(other().state())
    assert flat(model.state()) == before


def test_a_state_without_values_is_refused_by_a_model_that_has_some():
    """The values that are there would stay, silently."""
    model = net().initialize(0)
    before = flat(model.state())
    with pytest.raises(ValueError, match=r"with 0\.weight as float32 \(4, 3\), got none"):
        model.restore(net().state())
    assert flat(model.state()) == before
    fresh = net()
    fresh.restore(net().state())  # nothing into nothing
    assert fresh.layers[0].weight.data is None


def test_direct_feedback_goes_back_to_before_its_first_step():
    """The matrices are then drawn again, from the seed that was restored."""
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    model, other = (direct_feedback_net().initialize(seed) for seed in (0, 1))
    state = model.state()
    other.forward(x, train=True)
    other.restore(state)
    assert [b.data for b in other.buffers()] == [None, None]
    for one in (model, other):
        one.forward(x, train=True)
    assert flat(one.state()) == flat(model.state())


def test_the_input_contract_is_part_of_it():
    model, other = net().initialize(0), net().initialize(1)
    model.forward(np.ones((3, 4), np.float32), train=True)
    assert other.input_contract is None
    other.restore(model.state())
    assert other.input_contract == model.input_contract is not None
    assert other.layers[0].input_contract == model.layers[0].input_contract is not None


def test_restoring_forgets_what_a_forward_saved():
    model = net().initialize(0)
    model.forward(np.ones((3, 4), np.float32), train=True)
    model.restore(model.state())
    with pytest.raises(RuntimeError, match="backward needs a forward"):
        model.backward(np.ones((3, 2), np.float32))


class Counting(Layer):
    """It extends both, as `minibnn.state` says."""

    def __init__(self):
        self.scale = Parameter("scale", (4,), Fill(1.0))
        self.mean = Buffer("mean")
        self.calls = 0

    def forward(self, x, *, train=False):
        self.calls += train
        return x

    def backward(self, dy, *, need_dx=True):
        return dy

    def state(self):
        return {**super().state(), "calls": self.calls}

    def restore(self, state):
        super().restore(state)
        self.calls = state["calls"]


def test_a_users_layer_extends_it():
    model, other = (Sequential(Dense(4, 4), Counting()).initialize(i) for i in (0, 1))
    model.forward(np.ones((3, 4), np.float32), train=True)
    model.layers[1].mean.data = np.arange(3.0)
    other.restore(model.state())
    assert other.layers[1].calls == 1
    np.testing.assert_array_equal(other.layers[1].mean.data, np.arange(3.0))
    with pytest.raises(ValueError, match=r"1\.calls as a number, got nothing"):
        other.restore({**(s := model.state()), "1": {k: v for k, v in s["1"].items()
                                                      if k != "calls"}})  # fmt: skip


def test_two_parts_of_one_name_are_refused():
    layer = Counting()
    layer.other = Buffer("mean")
    with pytest.raises(TypeError, match=r"Counting\(\): expected a name of its own.*'mean'"):
        layer.state()


def test_what_never_changes_has_no_entry():
    assert LogitCrossEntropy().state() == {}
    assert isinstance(Dense(2, 1), LayerState)
    assert list(Dense(2, 1).state()) == ["input_contract", "weight", "bias"]  # no feedback
