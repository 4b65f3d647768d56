"""What a gradient check holds still, and the rounding that it allows for."""

from __future__ import annotations

import numpy as np
import pytest
from gradcheck_helpers import values

from minibnn import (
    Activation,
    BatchNorm,
    Dense,
    Layer,
    RandomStream,
    ReLU,
    Sequential,
    SignSTE,
    check_gradients,
)
from minibnn.gradcheck.point import Point


class Noise(Layer):
    """A layer that draws, from a stream that the check can hold still or from one that it cannot."""

    def __init__(self, source):
        self.source = source

    def forward(self, x, *, train=False):
        if isinstance(self.source, RandomStream):
            mask = self.source.uniform(self.backend, x.shape, x.dtype)
        else:
            mask = self.source.random(x.shape)
        if train:
            self.saved = (x.shape, mask)
        return x * mask

    def backward(self, dy, *, need_dx=True):
        (mask,) = self.take_saved(dy)
        return dy * mask if need_dx else None


def test_random_numbers_of_a_stream_are_held_still():
    layer = Noise(RandomStream()).initialize(0)
    assert check_gradients(layer, values(5, 4))
    assert layer.source.count == 0, "the layer itself is not touched"


def test_random_numbers_from_elsewhere_are_named():
    with pytest.raises(ValueError, match=r"two forward passes differ.*minibnn\.RandomStream"):
        check_gradients(Noise(np.random.default_rng(0)), values(5, 4))
    with pytest.raises(ValueError, match="two forward passes differ"):
        Point(Noise(np.random.default_rng(0)), values(5, 4)).require_repeatable()
    Point(Noise(RandomStream()).initialize(0), values(5, 4)).require_repeatable()


class FirstSix(Dense):
    """Takes its gradient from all samples but the last two."""

    def backward(self, dy, *, need_dx=True):
        (x, *_), dx = self.saved[1:], super().backward(dy, need_dx=need_dx)
        self.weight.grad[...] = x[:6].T @ dy[:6]
        return dx


@pytest.mark.parametrize("mean", [1e2, 1e5])
@pytest.mark.parametrize("seed", range(2))
def test_features_that_vary_little_beside_their_mean(mean, seed):
    """Batch norm magnifies the rounding of backward itself; a mistake still is one."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((8, 5)) + mean * rng.uniform(0.5, 1, 5)
    for first, right in ((Dense, True), (FirstSix, False)):
        for function in (SignSTE(clip=1.0), ReLU()):
            model = Sequential(first(5, 8), BatchNorm(8), Activation(function), Dense(8, 3))
            # The mistake is in every weight, and a wrong one takes long: few show it.
            report = check_gradients(model, x, max_elements=1000 if right else 10)
            assert bool(report) == right, str(report)
