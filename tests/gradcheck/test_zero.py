"""Functions of two values have to give +1 for a sign at zero."""

from __future__ import annotations

import numpy as np
import pytest
from gradcheck_helpers import values

from minibnn import (
    Activation,
    AdaSTE,
    ApproxSign,
    Conv2D,
    Dense,
    DoReFaActivations,
    DoReFaWeights,
    Flatten,
    Function,
    Heaviside,
    MagnitudeAwareSign,
    PowerOfTwo,
    ReLU,
    Sequential,
    SignSTE,
    StochasticSign,
    SwishSign,
    Tanh,
    Ternary,
    TernaryWeights,
    check_gradients,
)
from minibnn.functions import sign
from minibnn.gradcheck.zero import check_zero


class Sign(SignSTE):
    """A sign of NumPy's, 0 at 0; variants below."""

    def forward(self, x):
        return np.sign(x)


class MinusAtZero(SignSTE):
    def forward(self, x):
        return np.where(x > 0, 1.0, -1.0)


class MinusAtMinusZero(SignSTE):
    def forward(self, x):
        return np.copysign(1.0, x)


class NanAtZero(SignSTE):
    def forward(self, x):
        return x / abs(x)


class ScaledSign(MagnitudeAwareSign):
    def forward(self, x):
        return self.scale(x) * np.sign(x)


class NegatedSign(Function):
    def forward(self, x):
        return -np.sign(x)

    def surrogate(self, x):
        return -x

    def backward(self, dy, x):
        return -dy


class HalfAtZero(SignSTE):
    def forward(self, x):
        return (np.sign(x) + 1) / 2


class TrainedSign(SignSTE):
    def train_forward(self, x):
        return np.sign(x)


class UndeclaredSign(Function):
    """As in README, with np.sign: nothing says that it is one."""

    def forward(self, x):
        return np.sign(x)

    def surrogate(self, x):
        return np.tanh(x)

    def backward(self, dy, x):
        return dy * (1 - np.tanh(x) ** 2)


@pytest.mark.parametrize(
    "f",
    [
        Sign(), Sign(clip=1.0), MinusAtZero(), MinusAtMinusZero(), NanAtZero(), ScaledSign(),
        NegatedSign(), HalfAtZero(), TrainedSign(), UndeclaredSign(),
    ],
    ids=lambda f: type(f).__name__,
)  # fmt: skip
def test_signs_are_asked_at_zero(f):
    hint = r"use minibnn\.functions\.sign\(x\)"
    x = values(5, 4)
    for layer in (
        Activation(f),
        Dense(4, 3, weight_quantizer=f),
        Sequential(Dense(4, 4), Sequential(Activation(f), Dense(4, 3, weight_quantizer=f))),
    ):
        with pytest.raises(ValueError, match=hint):
            check_gradients(layer, x)
    with pytest.raises(ValueError, match=hint):
        check_zero(Activation(f), f, x)
    with pytest.raises(ValueError, match=hint):
        check_gradients(Conv2D(2, 3, 2, weight_quantizer=f), values(2, 3, 3, 2))
    x[0, 0], x[1, 1] = 0.0, -0.0
    if type(f) is not NanAtZero:
        with pytest.raises(ValueError, match=hint):
            check_gradients(Activation(f), x)


class Shifted(SignSTE):
    def forward(self, x):
        return sign(x - 0.5)

    def surrogate(self, x):
        return super().surrogate(x)


class Negated(NegatedSign):
    def forward(self, x):
        return -sign(x)


class Jumps(Function):
    """Real numbers with a jump at 0, which is no sign."""

    def forward(self, x):
        return np.sign(x) * (1 + abs(x))

    def surrogate(self, x):
        return x

    def backward(self, dy, x):
        return dy


@pytest.mark.parametrize(
    "f",
    [
        SignSTE(), ApproxSign(), SwishSign(), AdaSTE(), MagnitudeAwareSign(), StochasticSign(),
        Ternary(), Ternary(threshold=1e-6), TernaryWeights(), TernaryWeights(clip=None), Heaviside(),
        DoReFaActivations(bits=1), DoReFaActivations(bits=2), DoReFaWeights(bits=1),
        DoReFaWeights(bits=2), PowerOfTwo(), ReLU(), Tanh(), Shifted(), Negated(), Jumps(),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_sign_is_not_blamed(f):
    report = check_gradients(Dense(4, 3, weight_quantizer=f), values(5, 4))
    assert report, str(report)
    for x in (values(5, 4), values(1, 4), values(5, 3, 2)):
        report = check_gradients(Activation(f), x)
        assert report, str(report)
    with_zeros = np.array([[0.0, 0.3, -0.4], [-0.0, 0.7, -0.8]])
    assert check_gradients(Sequential(Flatten(), Activation(f)), with_zeros)


def test_a_sign_that_only_takes_its_own_shape_is_left_alone():
    class OnlyFive(SignSTE):
        def forward(self, x):
            if len(x) != 5:
                raise ValueError("five")
            return super().forward(x)

    assert check_gradients(Activation(OnlyFive()), values(5, 4))
