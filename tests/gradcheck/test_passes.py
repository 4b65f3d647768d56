"""The rules for forward and backward, and the ways in which training calls them."""

from __future__ import annotations

import numpy as np
import pytest
from gradcheck_helpers import values

from minibnn import (
    Activation,
    BatchNorm,
    Dense,
    Fill,
    Layer,
    Parameter,
    ReLU,
    Rescale,
    Sequential,
    Tanh,
    check_gradients,
)
from minibnn.gradcheck.passes import backward


class Broken(Layer):
    """y = w x, with one thing wrong."""

    def __init__(self, fault):
        self.fault = fault
        self.w = Parameter("w", (4,), Fill(2.0))

    def forward(self, x, *, train=False):
        if self.fault == "forward changes x":
            x *= 2
        y = x * self.w.data
        if self.fault == "forward gives nan":
            y = np.where(x > 1, np.nan, y)
        self.saved = (y.shape, x)
        return y

    def backward(self, dy, *, need_dx=True):
        (x,) = self.take_saved(dy)
        if self.fault == "backward changes dy":
            dy *= 2
        if self.fault == "backward changes x":
            x *= 2
        if self.fault == "backward changes w":
            self.w.data += 1
        if self.fault == "backward replaced":
            self.w.grad = (x * dy).sum(axis=0)
        else:
            self.w.grad[...] = (x * dy).sum(axis=0)
        return None if self.fault == "return dx" else dy * self.w.data


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("forward changes x", "forward changed its input"),
        ("forward gives nan", "forward gives nan or inf"),
        ("backward changes dy", "backward changed dy or x"),
        ("backward changes x", "backward changed dy or x"),
        ("backward changes w", "backward changed w.data"),
        ("backward replaced", "backward replaced the array w.grad"),
        ("return dx", r"expected backward to return dx of shape \(5, 4\), got None"),
    ],
)
def test_broken_rules_are_named(fault, message):
    with pytest.raises(ValueError, match=message):
        check_gradients(Broken(fault), values(5, 4))
    assert check_gradients(Broken("none"), values(5, 4))


def test_gradient_of_the_wrong_shape():
    class Broadcasting(Layer):
        def forward(self, x, *, train=False):
            return x * 2

        def backward(self, dy, *, need_dx=True):
            return dy.sum(axis=0)

    message = r"expected backward to return dx of shape \(5, 4\), got \(4,\)"
    with pytest.raises(ValueError, match=message):
        check_gradients(Broadcasting(), values(5, 4))
    with pytest.raises(ValueError, match=message):
        backward(Broadcasting(), values(5, 4), np.ones((5, 4)), need_dx=True)
    assert not backward(Broadcasting(), values(5, 4), np.ones((5, 4)), need_dx=False)


class Forgets(Dense):
    def backward(self, dz, *, need_dx=True):
        kept = self.weight.grad.copy()
        dx = super().backward(dz, need_dx=need_dx)
        if not need_dx:
            self.weight.grad[...] = kept
        return dx


class Halves(Dense):
    def backward(self, dz, *, need_dx=True):
        dx = super().backward(dz, need_dx=need_dx)
        self.weight.grad *= 1.0 if need_dx else 0.5
        return dx


class HalvesOne(Dense):
    def backward(self, dz, *, need_dx=True):
        dx = super().backward(dz, need_dx=need_dx)
        self.bias.grad[1] *= 1.0 if need_dx else 1.01
        return dx


class Accumulates(Dense):
    def backward(self, dz, *, need_dx=True):
        kept = self.bias.grad.copy()
        dx = super().backward(dz, need_dx=need_dx)
        self.bias.grad += 0 if need_dx else kept
        return dx


class FirstBatchSize(Rescale):
    """Divides by the size of the first batch that it met."""

    n = None

    def forward(self, x, *, train=False):
        self.n = self.n or len(x)
        return super().forward(x, train=train) / len(x)

    def backward(self, dy, *, need_dx=True):
        return super().backward(dy) / self.n


class Stale(Dense):
    """Keeps the first batch of each size."""

    def __init__(self, *shape):
        super().__init__(*shape)
        self.kept = {}

    def forward(self, x, *, train=False):
        z = super().forward(x, train=train)
        if train:
            self.saved = (z.shape, self.kept.setdefault(len(x), x), *self.saved[2:])
        return z


class SumsUp(Dense):
    total = 0.0

    def backward(self, dz, *, need_dx=True):
        dx = super().backward(dz, need_dx=need_dx)
        self.total = self.total + self.weight.grad
        self.weight.grad[...] = self.total
        return dx


class EvaluationOverwrites(Rescale):
    factor = 1.0

    def forward(self, x, *, train=False):
        self.factor = 1.0 if train else 0.0
        return super().forward(x, train=train)

    def backward(self, dy, *, need_dx=True):
        return super().backward(dy) * self.factor


class EvaluationForgets(Rescale):
    def forward(self, x, *, train=False):
        y = super().forward(x, train=train)
        if not train:
            self.saved = None
        return y


class KeepsTheOld(Dense):
    def forward(self, x, *, train=False):
        saved = self.saved
        z = super().forward(x, train=train)
        if train and saved is not None:
            self.saved = saved
        return z


class WantsContiguous(Rescale):
    def backward(self, dy, *, need_dx=True):
        dx = super().backward(dy)
        memory = dy if dy.flags.c_contiguous else dx[::-1]
        return memory * self.scale if dy.flags.c_contiguous else memory


class NeedsDx(Dense):
    def backward(self, dz, *, need_dx=True):
        return super().backward(dz, need_dx=need_dx) * 1.0


class OffByOne(Sequential):
    def backward(self, dy, *, need_dx=True):
        if not need_dx:
            self._first_trained += 1
        dx = super().backward(dy, need_dx=need_dx)
        if not need_dx:
            self._first_trained -= 1
        return dx


class NoGammaWithoutDx(BatchNorm):
    def backward(self, dy, *, need_dx=True):
        gamma = self.gamma.grad.copy()
        dx = super().backward(dy, need_dx=need_dx)
        if not need_dx:
            self.gamma.grad[...] = gamma
        return dx


NOT_AS_TRAINED = [
    (Forgets(4, 3), "weight", "need_dx=False, as fit calls it, backward does not set this"),
    (Halves(4, 3), "weight", "need_dx=False, as fit calls it, backward gives another"),
    (HalvesOne(4, 3), "bias", "need_dx=False, as fit calls it, backward gives another"),
    (Accumulates(4, 3), "bias", "need_dx=False, as fit calls it, backward does not set this"),
    (FirstBatchSize(2.0), "x", ""),
    (Stale(4, 3), "weight", ""),
    (SumsUp(4, 3), "weight", ""),
    (EvaluationOverwrites(2.0), "x", "after an evaluation between"),
    (KeepsTheOld(4, 3), "weight", "after a forward pass that no backward followed"),
    (WantsContiguous(2.0), "x", "dy that is not contiguous"),
    (NoGammaWithoutDx(4), "gamma", "need_dx=False"),
    (OffByOne(Dense(4, 4), Activation(Tanh()), Dense(4, 3)), "0.weight", "need_dx=False"),
]


@pytest.mark.parametrize(
    ("layer", "array", "cause"), NOT_AS_TRAINED, ids=lambda v: type(v).__name__
)
def test_what_only_training_does_is_checked(layer, array, cause):
    report = check_gradients(layer, values(5, 4))
    assert not report
    assert array in [r.name for r in report.results if not r.ok]
    assert cause in next(r for r in report.results if r.name == array).cause
    assert not check_gradients(Sequential(Rescale(1.5), layer), values(5, 4))


@pytest.mark.parametrize("kind", [EvaluationForgets(2.0), NeedsDx(4, 3)], ids=str)
def test_what_fails_in_training_is_named(kind):
    with pytest.raises((ValueError, RuntimeError), match=r"backward raises (Runtime|Type)Error"):
        check_gradients(kind, values(5, 4))


def test_need_dx_may_come_by_position():
    class Plain(Layer):
        def forward(self, x, train=False):
            if train:
                self.saved = (x.shape,)
            return 2 * x

        def backward(self, dy, need_dx=True):
            self.take_saved(dy)
            return 2 * dy

    class Around(Layer):
        def __init__(self):
            self.inner, self.sign = Plain(), Activation(ReLU())

        def forward(self, x, train=False):
            return self.sign.forward(self.inner.forward(x, train), train=train)

        def backward(self, dy, need_dx=True):
            return self.inner.backward(self.sign.backward(dy), need_dx)

    x = values(5, 4)
    x[0, 0] = 0.0  # a kink, for which each layer is looked at
    assert check_gradients(Around(), x)


def test_a_batch_of_another_size_that_a_layer_refuses_is_no_fault():
    class Fixed(Rescale):
        def forward(self, x, *, train=False):
            if len(x) != 5:
                raise ValueError("five")
            return super().forward(x, train=train)

    assert check_gradients(Fixed(2.0), values(5, 4))


def test_what_is_learnt_from_the_first_batch_is_no_fault():
    class Initialised(Rescale):
        first = None

        def forward(self, x, *, train=False):
            if self.first is None:
                self.first = x.std()
            return super().forward(x, train=train) / self.first

        def backward(self, dy, *, need_dx=True):
            return super().backward(dy) / self.first

    assert check_gradients(Initialised(2.0), values(5, 4))


def test_forward_may_not_change_weights():
    class Swapped(Dense):
        def forward(self, x, *, train=False):
            self.weight.data[...] = np.where(self.weight.data >= 0, 1, -1)
            return super().forward(x, train=train)

    with pytest.raises(ValueError, match=r"forward changed weight\.data"):
        check_gradients(Swapped(4, 3), values(5, 4))


def test_a_parameter_that_stands_elsewhere():
    """The same rules for what a user writes from the documentation's example."""

    class Scale(Layer):
        def __init__(self, without):
            self.scale = Parameter("scale", (4,), Fill(1.0))
            self.without = without

        def forward(self, x, *, train=False):
            y = x * self.scale.data
            if train:
                self.saved = (y.shape, x)
            return y

        def backward(self, dy, *, need_dx=True):
            (x,) = self.take_saved(dy)
            if need_dx or not self.without:
                self.scale.grad[...] = (x * dy).sum(axis=0)
            return dy * self.scale.data if need_dx else None

    assert check_gradients(Scale(False), values(5, 4))
    report = check_gradients(Scale(True), values(5, 4))
    assert not report
    assert "need_dx=False" in str(report)
