"""The gradient check at kinks and under rounding: right layers pass, wrong ones do not."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES

from minibnn import (
    Activation,
    BatchNorm,
    Dense,
    Flatten,
    HardTanh,
    Hinge,
    Layer,
    LogitCrossEntropy,
    MeanSquaredError,
    ReLU,
    Rescale,
    Reshape,
    Sequential,
    ShiftBatchNorm,
    SignSTE,
    SquaredHinge,
    check_gradients,
)


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).standard_normal(shape)


def signs(*shape: int) -> np.ndarray:
    return np.where(values(*shape) > 0, 1.0, -1.0)


# --- Ties of whole numbers -------------------------------------------------------------------------


class Picked(Layer):
    """What stands at a rank among the values along axis 1; `fault` breaks backward."""

    def __init__(self, ranks, fault=None):
        self.ranks = list(ranks)
        self.fault = fault

    def forward(self, x, *, train=False):
        place = x.argsort(axis=1, kind="stable")[:, self.ranks]
        y = np.take_along_axis(x, place, axis=1)
        if train:
            self.saved = (y.shape, x, place)
        return y

    def backward(self, dy, *, need_dx=True):
        x, place = self.take_saved(dy)
        dx = np.zeros_like(x)
        np.put_along_axis(dx, place, dy, axis=1)
        if self.fault == "a factor":
            dx *= 1.01
        elif self.fault == "twice":
            dx *= 2
        elif self.fault == "one sample only":
            dx[1:] = 0
        elif self.fault == "one element":
            dx[2, 1, 1] += 0.3
        elif self.fault == "the next one":
            dx = np.roll(dx, 1, axis=1)
        elif self.fault == "all that are equal":
            dx = (x[:, :, None] == np.take_along_axis(x, place, axis=1)[:, None]) * dy[:, None]
            dx = dx.sum(axis=2)
        return dx


FAULTS = ["a factor", "twice", "one sample only", "one element", "the next one"]
KINDS = {"maximum": [-1], "minimum": [0], "median": [2], "largest two": [-2, -1], "sort": range(4)}


def over_sums(layer: Layer, picked: int, deep: bool) -> Sequential:
    """The layer after sums of signs, and perhaps a binary network after it."""
    binary = SignSTE()
    layers = [Dense(4, 8, weight_quantizer=binary, bias=False), Reshape((4, 2)), layer, Flatten()]
    if deep:
        layers += [
            Dense(2 * picked, 5, weight_quantizer=binary, bias=False),
            Activation(SignSTE(clip=1.0)),
            Dense(5, 2, weight_quantizer=binary),
        ]
    return Sequential(*layers)


@pytest.mark.parametrize("kind", KINDS)
def test_ties_are_no_mistake(kind):
    ranks = KINDS[kind]
    for deep in (False, True):
        report = check_gradients(over_sums(Picked(ranks), len(ranks), deep), signs(8, 4))
        assert report, str(report)
        assert all(r.checked > r.size / 2 for r in report.results), str(report)
    whole = np.random.default_rng(0).integers(-2, 3, (6, 4, 3)).astype(float)
    report = check_gradients(Picked(ranks), whole)
    assert report, str(report)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["maximum", "median"])
def test_mistakes_at_ties_are_still_caught(kind, fault):
    ranks = KINDS[kind]
    model = over_sums(Picked(ranks, fault), len(ranks), kind == "maximum")
    assert not check_gradients(model, signs(8, 4), max_elements=16)
    whole = np.random.default_rng(0).integers(-2, 3, (6, 4, 3)).astype(float)
    assert not check_gradients(Picked(ranks, fault), whole)


def test_equal_maxima_share_one_gradient():
    layer = Picked([-1], "all that are equal")
    assert check_gradients(layer, values(6, 4, 3)), "without ties it is right"
    report = check_gradients(layer, np.random.default_rng(0).integers(-2, 3, (6, 4, 3)) * 1.0)
    assert not report
    assert "equal values" in str(report)
    assert not check_gradients(over_sums(layer, 1, False), signs(8, 4))


class Steep(HardTanh):
    """Wrong at the edges of its clip only."""

    def __init__(self, factor):
        self.factor = factor

    def backward(self, dy, x):
        return np.where(abs(x) == 1, self.factor, 1.0) * super().backward(dy, x)


@pytest.mark.parametrize("function", [ReLU(), HardTanh(), SignSTE(clip=1.0), Steep(1.0)], ids=repr)
def test_sums_of_signs_at_a_clip_are_no_mistake(function):
    model = Sequential(
        Dense(5, 6, weight_quantizer=SignSTE(), bias=False), Activation(function),
        Dense(6, 4, weight_quantizer=SignSTE(), bias=False), Activation(function), Dense(4, 2),
    )  # fmt: skip
    report = check_gradients(model, signs(9, 5))
    assert report, str(report)


@pytest.mark.parametrize("factor", [1.01, 2.0, -1.0])
def test_a_slope_that_no_side_of_a_clip_has_is_caught_in_a_network(factor):
    model = Sequential(
        Dense(5, 6, weight_quantizer=SignSTE(), bias=False), Activation(Steep(factor)), Dense(6, 2)
    )
    assert not check_gradients(model, signs(9, 5))


# --- Scales ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8])
def test_tiny_and_huge_inputs_are_no_mistake(case, scale):
    x = scale * np.random.default_rng(3).standard_normal((5, *case.shape))
    report = check_gradients(case.make(), x, rng=11, max_elements=4)
    assert report, str(report)


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8])
@pytest.mark.parametrize(
    "loss", [LogitCrossEntropy(), Hinge(), SquaredHinge(), MeanSquaredError()], ids=repr
)
def test_tiny_and_huge_outputs_are_no_mistake(loss, scale):
    labels = np.array([0, 2, 1, 1, 0])
    for model in (Sequential(), Sequential(Dense(3, 3), BatchNorm(3)), Dense(3, 3)):
        report = check_gradients(model, scale * values(5, 3), loss=loss, labels=labels)
        assert report, str(report)


class Wrong(Dense):
    """One thing wrong with one of the gradients."""

    def __init__(self, array, fault):
        super().__init__(4, 3)
        self.array, self.fault = array, fault

    def backward(self, dz, *, need_dx=True):
        x = self.saved[1]
        dx = super().backward(dz, need_dx=need_dx)
        gradient = self.weight.grad if self.array == "weight" else dx
        if gradient is None:
            return dx
        if self.fault == "a factor":
            gradient *= 1.01
        elif self.fault == "twice":
            gradient *= 2
        elif self.fault == "one element":
            gradient[1, 2] *= 1.01
        elif self.array == "weight":  # one sample only
            gradient[...] = x[:1].T @ dz[:1]
        else:
            gradient[1:] = 0
        return dx


@pytest.mark.parametrize("fault", ["a factor", "twice", "one element", "one sample only"])
@pytest.mark.parametrize("array", ["weight", "x"])
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_mistakes_of_any_scale_are_caught(array, fault, scale):
    for layers in ((), (BatchNorm(3),)):
        report = check_gradients(Sequential(Wrong(array, fault), *layers), scale * values(6, 4))
        assert not report, str(report)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e3])
@pytest.mark.parametrize("kind", [BatchNorm, ShiftBatchNorm])
def test_constant_columns_are_no_mistake(kind, scale):
    x = scale * values(6, 4)
    x[:, 1], x[:, 2] = 0.7 * scale, 0.0
    binary = SignSTE()
    for layers in ((), (Activation(SignSTE(clip=1.0)), Dense(4, 3, weight_quantizer=binary))):
        report = check_gradients(Sequential(kind(4), *layers), x)
        assert report, str(report)


class WrongNorm(BatchNorm):
    def backward(self, dy, *, need_dx=True):
        dx = super().backward(dy, need_dx=need_dx)
        return None if dx is None else dx * 1.01


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e3])
def test_mistakes_at_constant_columns_are_caught(scale):
    x = scale * values(6, 4)
    x[:, 1], x[:, 2] = 0.7 * scale, 0.0
    assert not check_gradients(WrongNorm(4), x)
    constant = np.repeat(x[:1], 6, axis=0)
    assert check_gradients(BatchNorm(4), constant)
    assert not check_gradients(WrongNorm(4), constant)


def test_what_no_step_shows_is_not_called_right():
    report = check_gradients(Rescale(1e-12, 1e8), values(5, 4))
    assert not report
    assert "lost in rounding" in str(report)


def test_a_layer_that_takes_nothing_but_signs_is_not_asked_beside_them():
    class OnlySigns(Rescale):
        def forward(self, x, *, train=False):
            if not (abs(x) < 1.001).all():
                raise TypeError("signs")
            return super().forward(x, train=train)

    x = values(5, 4)
    x[0, 0] = 1.0  # at the clip: a kink, so that the functions' values are moved
    model = Sequential(Activation(SignSTE(clip=1.0)), OnlySigns(2.0), Dense(4, 3))
    report = check_gradients(model, x)
    assert report, str(report)
    assert report.results[-1].left_out == 1


class FirstSix(Dense):
    """Takes its gradient from all samples but the last two."""

    def backward(self, dy, *, need_dx=True):
        (x, *_), dx = self.saved[1:], super().backward(dy, need_dx=need_dx)
        self.weight.grad[...] = x[:6].T @ dy[:6]
        return dx


@pytest.mark.parametrize("mean", [1e2, 1e5])
@pytest.mark.parametrize("seed", range(3))
def test_features_that_vary_little_beside_their_mean(mean, seed):
    """Batch norm magnifies the rounding of backward itself; a mistake still is one."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((8, 5)) + mean * rng.uniform(0.5, 1, 5)
    for first, right in ((Dense, True), (FirstSix, False)):
        for function in (SignSTE(clip=1.0), ReLU()):
            model = Sequential(first(5, 8), BatchNorm(8), Activation(function), Dense(8, 3))
            report = check_gradients(model, x)
            assert bool(report) == right, str(report)
