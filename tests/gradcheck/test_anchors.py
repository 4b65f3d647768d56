"""Anchored functions, products and pooling: right layers pass, wrong ones do not."""

from __future__ import annotations

import numpy as np
import pytest
from gradcheck_helpers import mutant, values

from minibnn import (
    Activation,
    AdaSTE,
    BatchNorm,
    Conv2D,
    Dense,
    FixedFeedback,
    Flatten,
    Function,
    Layer,
    MaxPool2D,
    RandomStream,
    Sequential,
    SignSTE,
    Ternary,
    Transpose,
    check_gradients,
)
from minibnn.gradcheck.anchors import anchor
from minibnn.layers import pooling


def test_feedback_needs_a_product():
    class Odd(Layer):
        def __init__(self):
            self.feedback = FixedFeedback()

        def forward(self, x, *, train=False):
            return x

        def backward(self, dy, *, need_dx=True):
            return dy

    with pytest.raises(TypeError, match="expected a method product"):
        check_gradients(Odd(), values(5, 4))


def test_one_function_in_two_places_and_in_two_calls():
    sign = SignSTE(clip=1.0)

    class Twice(Layer):
        def __init__(self):
            self.function = sign

        def forward(self, x, *, train=False):
            self.saved = (x.shape, x)
            return self.function.forward(x) + self.function.forward(2 * x)

        def backward(self, dy, *, need_dx=True):
            (x,) = self.take_saved(dy)
            return self.function.backward(dy, x) + 2 * self.function.backward(dy, 2 * x)

    report = check_gradients(Sequential(Twice(), Activation(sign), Activation(sign)), values(5, 4))
    assert report, str(report)


def test_a_transpose_that_is_none_is_anchored_too():
    class Doubled(Transpose):
        def backward_weights(self, W):
            return 2 * W

    layer = Dense(4, 3, feedback=Doubled())
    report = check_gradients(layer, values(5, 4))
    assert report, str(report)
    usual = Dense(4, 3, feedback=Transpose())
    assert len(list(anchor(layer))) == len(list(anchor(usual))) + 1


class Frozen(Function):
    """A scale that backward takes for constant, and a slope that depends on dy's direction."""

    def forward(self, x):
        return x * abs(x).mean()

    def backward(self, dy, x):
        return dy * abs(x).mean() * np.where(dy > 0, 2.0, 1.0)

    def surrogate_at(self, x0, dy):
        slope = abs(x0).mean() * np.where(dy > 0, 2.0, 1.0)
        return lambda x: x * slope


def test_a_surrogate_may_hold_things_fixed_at_the_point():
    model = Sequential(Dense(4, 4, weight_quantizer=Frozen()), Activation(Frozen()), Dense(4, 3))
    report = check_gradients(model, values(5, 4))
    assert report, str(report)
    assert not check_gradients(type("Wrong", (Frozen,), {"surrogate_at": Function.surrogate_at})(),
                               values(5, 4))  # fmt: skip


class Own(Layer):
    """A layer around a function or a stream, to be filled in below."""

    def __init__(self, function=None):
        if function is None:
            self.stream = RandomStream()
        else:
            self.function = function


class ChangesWhatTheFunctionGave(Own):
    def forward(self, x, *, train=False):
        y = self.function.train_forward(x)
        self.saved = (y.shape, x)
        y *= self.function.bits
        return y

    def backward(self, dy, *, need_dx=True):
        (x,) = self.take_saved(dy)
        return self.function.backward(self.function.bits * dy, x)


class ChangesWhatWasDrawn(Own):
    def forward(self, x, *, train=False):
        assert self.stream.seed is not None
        u = self.stream.uniform(self.backend, x.shape, x.dtype)
        u -= 0.5
        self.saved = (x.shape, u > 0)
        return x * (u > 0)

    def backward(self, dy, *, need_dx=True):
        (kept,) = self.take_saved(dy)
        return dy * kept


class ReadsTheClip(Own):
    def forward(self, x, *, train=False):
        self.saved = (x.shape, x)
        return self.function.clip * self.function.train_forward(x)

    def backward(self, dy, *, need_dx=True):
        (x,) = self.take_saved(dy)
        return self.function.backward(self.function.clip * dy, x)


class ComputesOneOfTwoAgain(Own):
    """y = f(x) f(2x); backward keeps the first factor and computes the second again."""

    def forward(self, x, *, train=False):
        first = self.function.train_forward(x)
        self.saved = (x.shape, x, first)
        return first * self.function.train_forward(2 * x)

    def backward(self, dy, *, need_dx=True):
        x, first = self.take_saved(dy)
        second = self.function.forward(2 * x)
        to_first, to_second = self.function.backward(dy * second, x), dy * first
        return to_first + 2 * self.function.backward(to_second, 2 * x)


class TwiceAtOnePlace(Own):
    """y = (f(x), 3 f(x)), with a function whose surrogate depends on what comes back."""

    def forward(self, x, *, train=False):
        f = self.function.train_forward
        y = np.concatenate([f(x), 3 * f(x)], axis=1)
        self.saved = (y.shape, x)
        return y

    def backward(self, dy, *, need_dx=True):
        (x,) = self.take_saved(dy)
        one, two = np.split(dy, 2, axis=1)
        return self.function.backward(3 * two, x) + self.function.backward(one, x)


class CallsANumberFeedback(Own):
    feedback = 0.5

    def forward(self, x, *, train=False):
        self.saved = (x.shape,)
        return self.feedback * x

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return self.feedback * dy


@pytest.mark.parametrize(
    "layer",
    [
        ChangesWhatTheFunctionGave(SignSTE(clip=1.0)),
        ChangesWhatTheFunctionGave(Ternary(clip=0.5)),
        ChangesWhatWasDrawn(),
        ReadsTheClip(SignSTE(clip=0.7)),
        ComputesOneOfTwoAgain(SignSTE(clip=1.0)),
        TwiceAtOnePlace(AdaSTE()),
        CallsANumberFeedback(),
    ],
    ids=repr,
)
def test_right_layers_of_unusual_habits_pass(layer):
    report = check_gradients(layer, np.random.default_rng(0).standard_normal((6, 4)))
    assert report, str(report)


def binary_cnn():
    def conv(n_in, n_out):
        return Conv2D(n_in, n_out, 3, padding=1, padding_value=-1.0, weight_quantizer=SignSTE())

    return Sequential(
        Activation(SignSTE()), conv(2, 3), MaxPool2D(2), BatchNorm(3), Activation(SignSTE(clip=1.0)),
        conv(3, 3), MaxPool2D((2, 1), stride=1), Flatten(), Dense(18, 3),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_equal_maxima_of_whole_numbers_are_no_mistake(seed):
    """Sums of signs in a window are often equal: kinks in nearly every weight."""
    report = check_gradients(binary_cnn().initialize(seed), values(4, 6, 6, 2), rng=seed)
    assert report, str(report)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("dx[:, rows, columns] = dy * (position == k)", "dx[:, rows, columns] = dy"),
        (
            "dx[:, rows, columns] += dy * (position == k)",
            "dx[:, rows, columns] = dy * (position == k)",
        ),
    ],
)
def test_wrong_pooling_is_still_caught(right, wrong, monkeypatch):
    broken = mutant("minibnn.layers.pooling", right, wrong)
    for windows in ((2, 2), (2, 1)):
        pool = MaxPool2D(*windows)
        assert check_gradients(pool, values(2, 4, 4, 2))
        if pool.windows.overlap == ("+=" in right):
            with monkeypatch.context() as patch:
                patch.setattr(pooling, "max_pool_gradient", broken.max_pool_gradient)
                assert not check_gradients(pool, values(2, 4, 4, 2))
                signs = Sequential(Activation(SignSTE()), pool)
                assert not check_gradients(signs, values(2, 4, 4, 2))
