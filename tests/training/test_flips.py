"""The state of the comparison that an epoch's flips come from; see test_fit_flips.py for the rest."""

from __future__ import annotations

import numpy as np
import pytest
from devices import STRICT

from minibnn import Dense, Heaviside, MagnitudeAwareSign, Sequential, SignSTE, Ternary
from minibnn.backend import CPU
from minibnn.training.flips import Flips

COLUMNS = ["flips_0.weight", "flips_1.weight", "flips_2.weight", "flips_3.weight"]


def net(seed, backend=CPU):
    """Quantizers with signs, with two values that move, with three, and with a zero."""
    quantizers = SignSTE(), MagnitudeAwareSign(), Ternary(), Heaviside()
    layers = (Dense(3, 3, weight_quantizer=q) for q in quantizers)
    return Sequential(*layers).initialize(seed).to(backend)


def move(model, i):
    for p in model.parameters():
        noise = np.random.default_rng([i, p.size]).standard_normal(p.shape).astype(np.float32)
        p.data[...] = p.data + model.backend.asarray(noise)


def shares(flips, model):
    return [model.backend.to_host(a).tobytes() for a in flips.end()]


@pytest.mark.parametrize("backend", [CPU, STRICT], ids=["cpu", "strict"])
def test_an_epoch_goes_on_with_what_it_began_with(backend):
    model, other = net(0, backend), net(1, backend)
    flips, another = Flips(model), Flips(other)
    assert flips.columns == COLUMNS
    flips.begin()
    move(model, 0)
    state = flips.state()
    another.restore(state)
    other.restore(model.state())
    for one in (model, other):
        move(one, 1)
    expected = shares(flips, model)
    assert shares(another, other) == expected
    assert np.frombuffer(expected[0]).min() > 0  # each moved


def test_bits_are_packed_and_the_rest_is_as_it_is():
    flips = Flips(net(0))
    flips.begin()
    state = {name: (str(a.dtype), a.shape) for name, a in flips.state().items()}
    bits, values = ("uint8", (2,)), ("float32", (3, 3))
    assert state == dict(
        zip([c.removeprefix("flips_") for c in COLUMNS], [bits, bits, values, bits], strict=True)
    )


def test_between_epochs_there_is_nothing():
    model = net(0)
    flips, another = Flips(model), Flips(model)
    assert set(flips.state().values()) == {None}
    another.begin()
    another.restore(flips.state())
    assert another.end() == []
    assert Flips(Sequential(Dense(3, 3)).initialize(0)).state() == {}


def test_a_state_is_a_copy():
    model = net(0)
    flips = Flips(model)
    flips.begin()
    state = flips.state()
    before = {name: a.tobytes() for name, a in state.items()}
    for turn in (flips.state(), state):
        flips.restore(turn)
        for a in turn.values():
            a[...] = 1 - a
    assert {name: a.tobytes() for name, a in flips.state().items()} == before


def test_another_models_state_is_refused():
    flips = Flips(net(0))
    flips.begin()
    other = Flips(Sequential(Dense(3, 3, weight_quantizer=SignSTE())).initialize(0))
    other.begin()
    with pytest.raises(ValueError, match=r"Flips: expected a state with 1\.weight as .* nothing"):
        flips.restore(other.state())
    assert len(flips.end()) == 1
