"""What a schedule gives is looked at, at any count, on every device."""

from __future__ import annotations

import math

import numpy as np
import pytest
import strictdev
from devices import STRICT

from minibnn import (
    SGD,
    Adam,
    AdaMax,
    Bop,
    CapturedSteps,
    Constant,
    Cosine,
    DataLoader,
    Dense,
    Exponential,
    LogitCrossEntropy,
    OptimizerGroup,
    PerEpoch,
    ShiftAdaMax,
    SignSTE,
    fit,
    split_parameters,
)

X = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
LABELS = np.arange(40) % 3
KINDS = (SGD, Adam, AdaMax, ShiftAdaMax)


def model(backend="cpu"):
    return Dense(4, 3, bias=False, weight_quantizer=SignSTE()).initialize(0).to(backend)


def at(t, bad, good=0.1):
    """A schedule that is well until `t` updates were made."""
    return lambda n: bad if n >= t else good


def refused_after(optimizer, p, message, error=ValueError):
    """How many steps it makes before it says so, and that the refused one changes nothing."""
    p.grad[...] = 0.5
    values = [p.data.copy()]

    def steps():
        for _ in range(10):
            optimizer.step()
            values.append(p.data.copy())

    with pytest.raises(error, match=message):
        steps()
    assert (p.data == values[-1]).all()
    return len(values) - 1


@pytest.mark.parametrize("t", [0, 1, 4])
@pytest.mark.parametrize("bad", [-1e-9, -0.1, math.nan, math.inf, -math.inf, np.float32(-1)])
@pytest.mark.parametrize("kind", KINDS)
def test_out_of_range(kind, bad, t):
    layer = model()
    optimizer = kind(layer.parameters(), at(t, bad))
    message = rf"{kind.__name__}: expected learning rate of at least 0, got .* after {t} updates"
    assert refused_after(optimizer, layer.weight, message) == t
    assert optimizer.steps == t


@pytest.mark.parametrize("bad", ["0.1", None, True, np.True_, [0.1], 1j, np.array([0.1])])
def test_no_number(bad):
    layer = model()
    optimizer = Adam(layer.parameters(), at(2, bad))
    message = r"Adam: expected learning rate \(from .* after 2 updates\) to be a number, got"
    assert refused_after(optimizer, layer.weight, message, TypeError) == 2


def test_a_class_and_what_cannot_be_called():
    for bad in (Cosine, Constant):
        with pytest.raises(TypeError, match=r"expected learning rate to be a function .*Constant"):
            Adam(model().parameters(), bad)
    for bad in (0.1, None, Cosine):
        with pytest.raises(TypeError, match="PerEpoch: expected schedule to be a function"):
            PerEpoch(bad, 3)


@pytest.mark.parametrize("bad", [1.5, -0.1, math.nan])
def test_gamma(bad):
    layer = model()
    optimizer = Bop(layer.parameters(), gamma=at(3, bad))
    assert refused_after(optimizer, layer.weight, "expected gamma of at least 0 and at most 1") == 3


def test_inside_a_group():
    layer = Dense(4, 3, weight_quantizer=SignSTE()).initialize(0)
    binary, rest = split_parameters(layer)
    optimizer = OptimizerGroup(Bop(binary), Adam(rest, at(2, -1.0)))
    assert refused_after(optimizer, layer.bias, "Adam: expected learning rate") == 2


def test_per_epoch_hands_it_on():
    layer = model()
    optimizer = SGD(layer.parameters(), PerEpoch(lambda epoch: 0.1 - 0.06 * epoch, 3))
    assert refused_after(optimizer, layer.weight, "expected learning rate of at least 0") == 6


def test_what_is_good_stays_as_it_is():
    for rate in (0.1, np.float32(0.1), np.float64(0.1), np.array(0.1), 0, 1, np.int64(1)):
        assert Adam(model().parameters(), lambda t, rate=rate: rate).learning_rate == float(rate)
    for schedule in (Cosine(0.1, 0.0, 5), Exponential(0.1, 0.001, 5)):
        optimizer = SGD(model().parameters(), schedule)
        for _ in range(8):
            optimizer.step()
        assert optimizer.learning_rate == schedule(8)


def test_a_look_at_the_rate_asks_too():
    optimizer = Adam(model().parameters(), lambda t: -1.0)
    with pytest.raises(ValueError, match=r"from .* after 0 updates; look at how it goes on"):
        optimizer.learning_rate  # noqa: B018


@pytest.mark.parametrize("capture", [False, True])
@pytest.mark.filterwarnings("ignore:training without a captured step. a step of this epoch")
def test_on_a_device_without_waiting(capture):
    layer = model(STRICT)
    data = DataLoader((X, LABELS), 4)  # ten steps an epoch
    optimizer = Adam(layer.parameters(), at(17, -0.5))
    with pytest.raises(ValueError, match=r"Adam: expected learning rate of at least 0, got -0\.5"):
        fit(
            layer,
            data,
            data,
            loss=LogitCrossEntropy(),
            optimizer=optimizer,
            epochs=3,
            capture=capture,
        )
    assert optimizer.steps == 17


def test_a_step_on_a_device_waits_for_nothing():
    layer = model(STRICT)
    optimizer = Adam(layer.parameters(), lambda t: 0.1)
    x, labels = STRICT.asarray(X), STRICT.asarray(LABELS)
    loss = LogitCrossEntropy()
    with strictdev.no_sync():
        loss.forward(layer.forward(x, train=True), labels)
        layer.backward(loss.backward(), need_dx=False)
        optimizer.step()
    assert not CapturedSteps(layer, loss, optimizer).captured
