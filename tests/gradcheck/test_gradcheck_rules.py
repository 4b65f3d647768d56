"""What the gradient check asks of a layer beside right gradients: its rules, and a sign at zero."""

# ruff: noqa: NPY002 (what draws from global states is tested here)

from __future__ import annotations

import random
from functools import partial

import numpy as np
import pytest

from minibnn import (
    Activation,
    AdaSTE,
    ApproxSign,
    BatchNorm,
    Conv2D,
    Dense,
    DoReFaActivations,
    DoReFaWeights,
    Dropout,
    Fill,
    Flatten,
    Function,
    Heaviside,
    Layer,
    LogitCrossEntropy,
    MagnitudeAwareSign,
    Parameter,
    PowerOfTwo,
    RandomStream,
    ReLU,
    Rescale,
    Sequential,
    SignSTE,
    StochasticSign,
    SwishSign,
    Tanh,
    Ternary,
    TernaryWeights,
    check_gradients,
    random_stream,
)
from minibnn.functions import sign
from minibnn.random_stream import mix, stream_keys, uniform


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).standard_normal(shape)


# --- Random numbers in backward ------------------------------------------------------------------


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


def test_evaluation_in_the_place_of_the_draw_is_wrong():
    """Forward draws signs; backward takes those of evaluation for them."""

    class Mixed(SignsAgain):
        def backward(self, dy, *, need_dx=True):
            (x,) = self.take_saved(dy)
            return self.f.backward(dy * x.mean(), x) + (dy * self.f.forward(x)).sum() / x.size

    assert check_gradients(Mixed(SignSTE()), values(5, 4))
    assert not check_gradients(Mixed(StochasticSign()), values(5, 4))


# --- What training does, too ---------------------------------------------------------------------


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


# --- The sign of zero ----------------------------------------------------------------------------


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
