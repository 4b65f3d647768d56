"""Layers at ties of whole numbers: right ones pass, wrong ones do not."""

from __future__ import annotations

import numpy as np
import pytest
from gradcheck_helpers import signs, values

from minibnn import Activation, Dense, Flatten, Layer, Reshape, Sequential, SignSTE, check_gradients
from minibnn.gradcheck.leaves import wrong_leaves


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
    model = over_sums(layer, 1, False)
    assert not check_gradients(model, signs(8, 4))
    dy = model.initialize(0, np.float64).forward(signs(8, 4)) + 1
    rng = np.random.default_rng(0)
    wrong = wrong_leaves(model, signs(8, 4), dy, True, 1e-6, 100, rng)
    assert [comparison.name for comparison in wrong] == ["2.x"]
