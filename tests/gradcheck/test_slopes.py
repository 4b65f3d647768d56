"""Numerical slopes at kinks, under curvature and under rounding."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES
from gradcheck_helpers import signs, values

from minibnn import (
    Activation,
    BatchNorm,
    Dense,
    Function,
    HardTanh,
    Hinge,
    LogitCrossEntropy,
    MeanSquaredError,
    ReLU,
    Rescale,
    Sequential,
    SignSTE,
    SquaredHinge,
    Tanh,
    check_gradients,
)
from minibnn.gradcheck.slopes import Slopes


def test_kinks_are_left_out_not_called_wrong():
    report = check_gradients(HardTanh(), np.array([[-1.0, 0.3, 1.0, 2.0, 0.1]]))
    assert report, str(report)
    # backward takes the slope 1 at both edges, and the mean of both sides is 1/2
    assert (report.results[0].left_out, report.results[0].checked) == (2, 3)
    x = np.array([-1.0, 0.3])
    slopes = Slopes(x, lambda: x.clip(-1, 1), lambda plus, minus: (plus - minus, 1.0))
    assert slopes.kink((0,), 1e-5, 1.0, 1.0) == (True, True)
    assert slopes.kink((0,), 1e-5, 1.01, 1.0) == (True, False)
    assert slopes.kink((1,), 1e-5, 1.0, 1.0) == (False, True)


@pytest.mark.parametrize("factor", [3, -0.1, 1.01])
def test_a_slope_outside_the_kink_is_wrong(factor):
    class Steep(HardTanh):
        def backward(self, dy, x):
            return np.where(abs(x) == 1, factor, 1) * super().backward(dy, x)

    assert not check_gradients(Steep(), np.array([[-1.0, 1.0, 0.5]]))


@pytest.mark.parametrize("x", [values(5, 4) + 1e4, values(5, 4) * 1e-3, values(5, 4) * 1e3])
def test_the_scale_of_the_input_does_not_matter(x):
    report = check_gradients(BatchNorm(4, epsilon=1e-12), x, tolerance=1e-5)
    assert report, str(report)
    assert not any(r.left_out for r in report.results)


def test_curvature_is_no_kink():
    layers = [layer for _ in range(6) for layer in (Dense(4, 4), Activation(Tanh()))]
    report = check_gradients(Sequential(*layers), values(5, 4))
    assert report, str(report)
    assert not any(r.left_out for r in report.results)


def test_strong_curvature_is_no_excuse():
    class Wave(Function):
        factor = 1.0

        def forward(self, x):
            return np.sin(1000 * x)

        def backward(self, dy, x):
            return self.factor * 1000 * np.cos(1000 * x) * dy

    class Wrong(Wave):
        factor = 1.002  # between the slopes on the two sides, at the ordinary step

    assert check_gradients(Wave(), values(5, 4))
    report = check_gradients(Wrong(), values(5, 4))
    assert not report
    # Next to an extremum, where the slope passes through zero, curvature may be all there is.
    assert report.results[0].left_out <= 1, str(report)


def test_what_drowns_in_rounding_is_not_called_right():
    report = check_gradients(Rescale(1e-8, 1e8), values(5, 4))
    assert not report
    assert "lost in rounding" in str(report)


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


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("scale", [1e-30, 1e8])
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


def test_what_no_step_shows_is_not_called_right():
    report = check_gradients(Rescale(1e-12, 1e8), values(5, 4))
    assert not report
    assert "lost in rounding" in str(report)
