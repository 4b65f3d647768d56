"""Backward may not draw random numbers, from any source."""

# ruff: noqa: NPY002 (what draws from global states is tested here)

from __future__ import annotations

import random
from functools import partial

import numpy as np
import pytest
from gradcheck_helpers import values

from minibnn import (
    Activation,
    Dense,
    Dropout,
    Function,
    Layer,
    LogitCrossEntropy,
    RandomStream,
    Rescale,
    Sequential,
    SignSTE,
    StochasticSign,
    Tanh,
    check_gradients,
    random_stream,
)
from minibnn.gradcheck.no_draws import no_draws
from minibnn.random_stream import mix, stream_keys, uniform


class Masked(Layer):
    """A dropout whose forward draws from a stream; what backward does instead is filled in."""

    def __init__(self):
        self.stream = RandomStream()
        self.rng = np.random.default_rng(1)

    def forward(self, x, *, train=False):
        if not train:
            return x
        mask = self.draw(x)
        self.saved = (x.shape, mask)
        return x * mask

    def draw(self, x):
        return self.stream.uniform(self.backend, x.shape, x.dtype) > 0.5

    def backward(self, dy, *, need_dx=True):
        (mask,) = self.take_saved(dy)
        return dy * self.again(dy, mask)

    def again(self, dy, mask):
        return mask


class Drawn(Masked):
    def again(self, dy, mask):
        return self.draw(dy)


class SetBack(Masked):
    def again(self, dy, mask):
        self.stream.count -= 1
        return self.draw(dy)


class HashedAgain(Masked):
    def again(self, dy, mask):
        keys = stream_keys(self.stream.seed, self.stream.count - 1)
        return self.backend.run(uniform, np, dy.shape, *keys, 0, dy.dtype) > 0.5


class OwnGenerator(Masked):
    def again(self, dy, mask):
        return self.rng.random(dy.shape) > 0.5


class OwnGeneratorUnused(Masked):
    def again(self, dy, mask):
        self.rng.permutation(3)
        return mask


class OwnGeneratorReplayed(Masked):
    """Right numbers all the time: both passes begin at the same state."""

    def draw(self, x):
        self.rng.bit_generator.state = np.random.PCG64(4).state
        return self.rng.random(x.shape) > 0.5

    def again(self, dy, mask):
        return self.draw(dy)


class SeededAgain(Masked):
    def draw(self, x):
        return np.random.default_rng(4).random(x.shape) > 0.5

    def again(self, dy, mask):
        return self.draw(dy)


class OldGenerator(Masked):
    def again(self, dy, mask):
        return np.random.RandomState(4).rand(*dy.shape) > 0.5


class GlobalState(Masked):
    def again(self, dy, mask):
        return np.random.rand(*dy.shape) > 0.5


class GlobalStateReplayed(Masked):
    def draw(self, x):
        np.random.seed(4)
        return np.random.rand(*x.shape) > 0.5

    def again(self, dy, mask):
        return self.draw(dy)


class PythonsRandom(Masked):
    def again(self, dy, mask):
        return random.random() < 2


class PythonsRandomReplayed(Masked):
    def draw(self, x):
        random.seed(4)
        return random.random()

    def again(self, dy, mask):
        return self.draw(dy)


class PythonsOwn(Masked):
    def draw(self, x):
        return random.Random(4).uniform(1, 2)

    def again(self, dy, mask):
        return self.draw(dy)


class PythonsShuffle(Masked):
    def again(self, dy, mask):
        random.shuffle([1, 2, 3])
        return mask


class InAList(Masked):
    def __init__(self):
        super().__init__()
        self.tools = {"generators": [np.random.default_rng(3)]}

    def again(self, dy, mask):
        self.tools["generators"][0].integers(2)
        return mask


class ByPartial(Masked):
    def again(self, dy, mask):
        return partial(self.rng.random, dy.shape)() > 0.5


OF_THE_MODULE = np.random.default_rng(5)


class OfTheModule(Masked):
    def again(self, dy, mask):
        OF_THE_MODULE.random()
        return mask


def in_a_closure() -> type:
    generator = np.random.default_rng(5)

    class InAClosure(Masked):
        """Set back before each draw, so that all numbers are right."""

        def draw(self, x):
            generator.bit_generator.state = np.random.PCG64(4).state
            return generator.random(x.shape) > 0.5

        def again(self, dy, mask):
            generator.bit_generator.state = self.rng.bit_generator.state
            return mask

    return InAClosure


class InALambda(Masked):
    def __init__(self):
        super().__init__()
        generator = random.Random(3)
        self.pick = lambda: generator.gauss(0, 1)

    def again(self, dy, mask):
        self.pick()
        return mask


class SwallowsErrors(Masked):
    def again(self, dy, mask):
        try:
            return self.draw(dy)
        except ValueError:
            return mask


DRAWING = [
    Drawn, SetBack, HashedAgain, OwnGenerator, OwnGeneratorUnused, OwnGeneratorReplayed, SeededAgain,
    OldGenerator, GlobalState, GlobalStateReplayed, PythonsRandom, PythonsRandomReplayed, PythonsOwn,
    PythonsShuffle, InAList, OfTheModule, in_a_closure(), InALambda, ByPartial, SwallowsErrors,
]  # fmt: skip


@pytest.mark.parametrize("kind", DRAWING)
def test_backward_may_not_draw(kind):
    message = rf"{kind.__name__}\(\): expected backward to draw no random numbers.*save the mask"
    with pytest.raises(ValueError, match=message):
        check_gradients(kind(), values(5, 4))
    nested = Sequential(Dense(4, 4), Sequential(Activation(Tanh()), kind()), Dense(4, 3))
    with pytest.raises(ValueError, match=message):
        check_gradients(nested, values(5, 4))
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4), dtype=np.uint8)
    with pytest.raises(ValueError, match=message):
        check_gradients(Sequential(Rescale(1 / 255), Dense(4, 4), kind()), pixels)


def test_saved_masks_pass_and_nothing_is_left_behind():
    np.random.seed(3)
    random.seed(3)
    ours, pythons = np.random.get_state()[1].copy(), random.getstate()
    assert check_gradients(Sequential(Dense(4, 4), Masked(), Dropout(0.5)), values(5, 4))
    np.testing.assert_array_equal(np.random.get_state()[1], ours)
    assert random.getstate() == pythons
    generator = np.random.default_rng(0)
    assert 0 <= generator.random() < 1
    assert 0 <= random.Random(0).random() < 1
    assert random_stream.mix is mix


class TheSameTwice(Masked):
    """Forward sets the count back, which it may."""

    def draw(self, x):
        mask = super().draw(x)
        self.stream.count -= 1
        assert (super().draw(x) == mask).all()
        return mask


def test_forward_may_replay():
    assert check_gradients(TheSameTwice(), values(5, 4))


class Redrawing(StochasticSign):
    def backward(self, dy, x):
        return dy * (self.train_forward(x) != 0)


class NoisySlope(Function):
    def __init__(self):
        self.rng = np.random.default_rng(0)

    def forward(self, x):
        return np.tanh(x)

    def backward(self, dy, x):
        self.rng.random()
        return dy * (1 - np.tanh(x) ** 2)


class SignsAgain(Layer):
    """Multiplies by signs that it draws, and draws again instead of keeping them."""

    def __init__(self, f):
        self.f = f

    def forward(self, x, *, train=False):
        if train:
            self.saved = (x.shape, x)
        return x.mean() * self.f.train_forward(x)

    def backward(self, dy, *, need_dx=True):
        (x,) = self.take_saved(dy)
        return self.f.backward(dy * x.mean(), x) + (dy * self.f.train_forward(x)).sum() / x.size


def test_functions_and_losses_may_not_draw_in_backward_either():
    for layer in (
        Activation(Redrawing()),
        Dense(4, 3, weight_quantizer=Redrawing()),
        Activation(NoisySlope()),
        SignsAgain(StochasticSign()),
    ):
        with pytest.raises(ValueError, match="expected backward to draw no random numbers"):
            check_gradients(layer, values(5, 4))
    assert check_gradients(SignsAgain(SignSTE()), values(5, 4))

    class Noisy(LogitCrossEntropy):
        def backward(self):
            np.random.default_rng(0).random()
            return super().backward()

    with pytest.raises(ValueError, match=r"LogitCross.*expected backward to draw no random"):
        check_gradients(Dense(4, 3), values(5, 4), loss=Noisy(), labels=np.arange(5) % 3)
    with pytest.raises(ValueError, match="expected backward to draw no random"), no_draws(Noisy()):
        np.random.default_rng(0).random()


def test_evaluation_in_the_place_of_the_draw_is_wrong():
    """Forward draws signs; backward takes those of evaluation for them."""

    class Mixed(SignsAgain):
        def backward(self, dy, *, need_dx=True):
            (x,) = self.take_saved(dy)
            return self.f.backward(dy * x.mean(), x) + (dy * self.f.forward(x)).sum() / x.size

    assert check_gradients(Mixed(SignSTE()), values(5, 4))
    assert not check_gradients(Mixed(StochasticSign()), values(5, 4))
