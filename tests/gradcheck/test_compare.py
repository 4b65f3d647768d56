"""Gradients are compared element by element: small mistakes show at every scale."""

from __future__ import annotations

import numpy as np
import pytest
from gradcheck_helpers import values

from minibnn import (
    Activation,
    BatchNorm,
    Dense,
    ReLU,
    Rescale,
    Sequential,
    ShiftBatchNorm,
    SignSTE,
    check_gradients,
)
from minibnn.gradcheck.compare import compare
from minibnn.gradcheck.slopes import Slopes


def test_nothing_compared_is_not_a_pass():
    report = check_gradients(ReLU(), np.zeros((2, 3)))
    assert not report
    assert "nothing was compared" in str(report)


@pytest.mark.parametrize("size", [1e-4, 1e-5])
@pytest.mark.parametrize("array", ["weight", "bias", "x"])
def test_a_small_fault_in_one_element_is_seen(size, array):
    class Nearly(Dense):
        def backward(self, dz, *, need_dx=True):
            dx = super().backward(dz, need_dx=need_dx)
            where = {"weight": self.weight.grad, "bias": self.bias.grad, "x": dx}[array]
            if where is not None:
                where[(-1,) * where.ndim] *= 1 + size
            return dx

    report = check_gradients(Nearly(4, 3), values(5, 4))
    assert [r.name for r in report.results if not r.ok] == [array]
    report = check_gradients(Nearly(4, 3), values(5, 4), tolerance=2 * size)
    assert report, str(report)


@pytest.mark.parametrize("gain", [1e-4, 1e-8, 1e-10])
@pytest.mark.parametrize("fault", [0.0, 1.5, -1.0, 1.001])
def test_small_gradients_are_compared_too(gain, fault):
    class Small(Rescale):
        def backward(self, dy, *, need_dx=True):
            return fault * super().backward(dy)

    assert check_gradients(Rescale(gain), values(5, 4))
    assert not check_gradients(Small(gain), values(5, 4))


def test_unchecked_places_do_not_set_the_scale():
    class Wild(Dense):
        def backward(self, dz, *, need_dx=True):
            dx = super().backward(dz, need_dx=need_dx)
            self.weight.grad *= 1.5
            self.weight.grad[0, 0] = 1e9
            return dx

    for rng in range(3):
        assert not check_gradients(Wild(30, 20), values(4, 30), max_elements=20, rng=rng)

    x = values(12)
    slopes = Slopes(x, lambda: 2 * x, lambda plus, minus: (plus - minus, 1.0))
    analytic = np.array([1e9, *[3.0] * 11])  # 2 is right
    comparison = compare("x", slopes, analytic, np.ones(12), np.arange(1, 12), 1e-6)
    assert comparison.error == pytest.approx(1 / 3)
    assert comparison.errors[0] == 0


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
