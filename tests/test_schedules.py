"""Schedules against numbers worked out by hand, and what optimisers do with invalid rates."""

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
    Fill,
    LogitCrossEntropy,
    OptimizerGroup,
    PerEpoch,
    ShiftAdaMax,
    SignSTE,
    WarmUp,
    fit,
    split_parameters,
)

exactly = {"rel": 1e-14, "abs": 1e-15}


def test_constant():
    assert [Constant(0.3)(t) for t in (0, 1, 10**9)] == [0.3] * 3


def test_cosine_is_half_a_cosine_from_start_to_end():
    """Cosines of 0, 60, 90, 120 and 180 degrees are 1, 1/2, 0, -1/2 and -1."""
    rate = Cosine(10.0, 2.0, length=6)
    expected = {0: 10, 2: 2 + 8 * 0.75, 3: 2 + 8 * 0.5, 4: 2 + 8 * 0.25, 6: 2, 7: 2, 600: 2}
    for t, value in expected.items():
        assert rate(t) == pytest.approx(value, **exactly), t
    # 30 degrees: (1 + sqrt(3) / 2) / 2
    assert rate(1) == pytest.approx(2 + 8 * (1 + math.sqrt(3) / 2) / 2, **exactly)
    assert rate(5) == pytest.approx(2 + 8 * (1 - math.sqrt(3) / 2) / 2, **exactly)


def test_cosine_may_rise_and_may_end_at_zero():
    assert [Cosine(1.0, 3.0, length=2)(t) for t in range(4)] == pytest.approx([1, 2, 3, 3])
    down = Cosine(4.0, 0.0, length=3)
    assert [down(t) for t in range(5)] == pytest.approx([4, 3, 1, 0, 0], **exactly)
    assert all(down(t) >= 0 for t in range(5))


def test_exponential_is_a_constant_factor():
    """From 8 to 1 in three steps, each step halves the rate."""
    rate = Exponential(8.0, 1.0, length=3)
    assert [rate(t) for t in range(6)] == pytest.approx([8, 4, 2, 1, 1, 1], **exactly)
    assert Exponential(1.0, 4.0, length=4)(1) == pytest.approx(math.sqrt(2), **exactly)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Exponential(8.0, 1.0, length=3), [8, 8, 4, 4, 2, 2, 1, 1, 1, 1]),
        (Cosine(4.0, 0.0, length=3), [4, 4, 3, 3, 1, 1, 0, 0, 0, 0]),
        (Constant(5.0), [5] * 10),
        (lambda epoch: 10 + epoch, [10, 10, 11, 11, 12, 12, 13, 13, 14, 14]),
    ],
)
def test_per_epoch_holds_the_rate_for_a_whole_epoch(schedule, expected):
    rate = PerEpoch(schedule, steps_per_epoch=2)
    assert [rate(t) for t in range(10)] == pytest.approx(expected, **exactly)


def test_per_epoch_asks_for_whole_epochs():
    """The inner schedule receives 0, 1, 2, ... as int, so that it may index a list."""
    rate = PerEpoch([0.5, 0.25, 0.125].__getitem__, steps_per_epoch=3)
    assert [rate(t) for t in range(9)] == [0.5] * 3 + [0.25] * 3 + [0.125] * 3
    assert [PerEpoch(Exponential(8.0, 1.0, 3), 1)(t) for t in range(4)] == pytest.approx(
        [8, 4, 2, 1], **exactly
    )


def test_warm_up_rises_in_equal_steps_and_then_follows_the_schedule():
    rate = WarmUp(Exponential(8.0, 1.0, length=3), length=3)
    assert [rate(t) for t in range(8)] == pytest.approx([2, 4, 6, 8, 4, 2, 1, 1], **exactly)
    assert [WarmUp(6.0, 2)(t) for t in range(4)] == pytest.approx([2, 4, 6, 6], **exactly)
    epochs = PerEpoch(WarmUp(6.0, 2), steps_per_epoch=2)
    assert [epochs(t) for t in range(6)] == pytest.approx([2, 2, 4, 4, 6, 6], **exactly)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WarmUp(1.0, 0), "expected a positive length, got 0"),
        (lambda: WarmUp(-1.0, 3), "expected a positive value, got -1"),
        (lambda: WarmUp(Cosine, 3), "expected schedule to be a function .* got the class Cosine"),
        (lambda: WarmUp("0.1", 3), "expected schedule to be a number, got '0.1'"),
    ],
)
def test_warm_up_refuses(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_warm_up_has_the_state_of_its_schedule():
    class Counting:
        calls = 0

        def __call__(self, t):
            self.calls += 1
            return 1.0

        def state(self):
            return {"calls": self.calls}

        def restore(self, state):
            self.calls = state["calls"]

    one, other = WarmUp(Counting(), 2), WarmUp(PerEpoch(Counting(), 1), 2)
    for t in range(5):
        one(t)
    assert one.state() == {"calls": 5}
    other.restore(one.state())
    assert other.state() == {"calls": 5}
    assert WarmUp(1.0, 2).state() == {}


def test_the_first_update_is_at_zero_and_each_is_one_further():
    """SGD with a gradient of 1 subtracts exactly what the schedule returns: 3, then 1 + 1, then 1/2."""
    layer = Dense(1, 1, bias=False, weight_init=Fill(100.0)).initialize(0, np.float64)
    w = layer.weight
    w.grad[...] = 1.0
    optimizer = SGD([w], PerEpoch(lambda epoch: [3.0, 1.0, 0.5][epoch], steps_per_epoch=2))
    path = []
    for _ in range(6):
        optimizer.step()
        path.append(float(w.data[0, 0]))
    assert path == [97.0, 94.0, 93.0, 92.0, 91.5, 91.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(0.0), "Constant: expected a positive value"),
        (lambda: Cosine(0.0, 0.0, 3), "Cosine: expected a positive start"),
        (lambda: Cosine(1.0, 0.0, 0), "Cosine: expected a positive length"),
        (lambda: Cosine(1.0, -1e-9, 3), "Cosine: expected end of at least 0"),
        (lambda: Cosine(1.0, math.nan, 3), "Cosine: expected end of at least 0"),
        (lambda: Cosine(1.0, math.inf, 3), "Cosine: expected end of at least 0"),
        (lambda: Exponential(1.0, 0.0, 3), "Exponential: expected a positive end"),
        (lambda: PerEpoch(Constant(1.0), 0), "PerEpoch: expected a positive steps_per_epoch"),
    ],
)
def test_what_is_no_schedule_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_binarynets_rate_of_the_second_epoch():
    rate = PerEpoch(Exponential(3e-3, 3e-7, 1000), steps_per_epoch=500)
    assert rate(0) == rate(499) == 3e-3
    assert round(rate(500), 7) == round(rate(999), 7) == 0.0029725
    assert rate(500_000) == pytest.approx(3e-7, rel=1e-12)


X = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)

LABELS = np.arange(40) % 3

KINDS = (SGD, Adam, AdaMax, ShiftAdaMax)


def model(backend="cpu"):
    return Dense(4, 3, bias=False, weight_quantizer=SignSTE()).initialize(0).to(backend)


def at(t, bad, good=0.1):
    """A schedule that is valid until `t` updates were made."""
    return lambda n: bad if n >= t else good


def refused_after(optimizer, p, message, error=ValueError):
    """The number of steps before the error; also checks that the refused step changes nothing."""
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
