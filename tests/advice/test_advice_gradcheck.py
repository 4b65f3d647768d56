"""What the gradient check says of a mistake, followed: the mended layer passes."""

from __future__ import annotations

import numpy as np
import pytest
from advice import advised, shows

from minibnn import (
    Activation,
    Dense,
    Feedback,
    Fill,
    FixedFeedback,
    Function,
    Layer,
    LogitCrossEntropy,
    Parameter,
    SignSTE,
    check_gradients,
)
from minibnn.backend import backend_of
from minibnn.functions import sign
from minibnn.random_stream import RandomStream

RNG = np.random.default_rng(1)
X = RNG.standard_normal((6, 4))


class Scale(Layer):
    """y = s x for each feature, and a mistake of somebody's."""

    def __init__(self, wrong=""):
        self.wrong = wrong
        self.scale = Parameter("scale", (4,), Fill(1.0))

    def forward(self, x, *, train=False):
        if self.wrong == "changes its input":
            x += 1
        y = x * self.scale.data
        if train:
            self.saved = (y.shape, x)
        return y

    def backward(self, dy, *, need_dx=True):
        (x,) = self.take_saved(dy)
        ds = (x * dy).sum(axis=0)
        wrong = self.wrong
        if wrong == "adds":
            self.scale.grad += ds
        elif wrong == "replaces":
            self.scale.grad = ds
        elif wrong != "forgets":
            factor = {
                "zero": 0,
                "inf": np.inf,
                "nan": np.nan,
                "sign": -1,
                "factor": 3,
                "batch": 6,
                "divided": 1 / 6,
            }
            factor |= {"relative": 1.001}
            self.scale.grad[...] = ds * factor.get(wrong, 1)
        if wrong == "changes dy":
            dy *= 2
        dx = dy * self.scale.data
        return dx[:, :3] if wrong == "shape" else dx


def causes(layer, x=X, **options):
    report = check_gradients(layer, x, **options)
    assert not report
    return str(report)


def test_a_right_layer_passes():
    assert check_gradients(Scale(), X)


@pytest.mark.parametrize("wrong", ["forgets", "adds", "nan"])
def test_a_gradient_is_overwritten(wrong):
    shows(
        "gradcheck",
        "backward does not set this gradient, or adds to it: it has to overwrite it; or it gives nan",
        causes(Scale(wrong)),
    )
    assert check_gradients(Scale(), X)


def test_what_is_said_of_each_factor_is_undone():
    """Dividing by the factor that was named gives the layer that passes."""
    shows("gradcheck", "backward leaves this gradient at zero", causes(Scale("zero")))
    shows("gradcheck", "backward gives nan or inf here", causes(Scale("inf")))
    shows("gradcheck", "the sign is flipped", causes(Scale("sign")))
    text = causes(Scale("factor"))
    shows("gradcheck", "off by the constant factor {}", text)
    assert "factor 3" in text
    shows(
        "gradcheck",
        "too large by the batch size ({}): a mean whose gradient is not divided",
        causes(Scale("batch")),
    )
    shows(
        "gradcheck",
        "too small by the batch size ({}): divided by it once too often",
        causes(Scale("divided")),
    )
    text = causes(Scale("relative"))
    shows("gradcheck", "off by a relative {} everywhere", text)
    assert "relative 1.0e-03" in text
    assert check_gradients(Scale(), X)


class OneDense(Layer):
    """y = x W + b, and a mistake of somebody's."""

    def __init__(self, wrong=""):
        self.wrong = wrong
        self.weight = Parameter("weight", (4, 4), Fill(0.0))
        self.bias = Parameter("bias", (4,), Fill(0.0))
        self.unused = Parameter("unused", (2,), Fill(0.0)) if wrong == "unused" else None

    def forward(self, x, *, train=False):
        y = x @ self.weight.data + self.bias.data
        if train:
            self.saved = (y.shape, x)
        return y

    def backward(self, dy, *, need_dx=True):
        (x,) = self.take_saved(dy)
        dW = x.T @ dy
        self.weight.grad[...] = dW.T if self.wrong == "transposed" else dW
        self.bias.grad[...] = dy.sum(axis=0)
        if self.unused is not None:
            self.unused.grad[...] = 1
        return dy @ (self.weight.data if self.wrong == "way back" else self.weight.data.T)


def test_a_transposed_gradient_is_transposed():
    shows(
        "gradcheck",
        "this is the transpose of the right gradient",
        causes(OneDense("transposed")),
    )
    assert check_gradients(OneDense(), X)


class Bias(Layer):
    """y = x + b, of as many features as samples, so that a wrong axis has the right shape."""

    def __init__(self, axis):
        self.axis = axis
        self.bias = Parameter("bias", (4,), Fill(0.0))

    def forward(self, x, *, train=False):
        if train:
            self.saved = (x.shape,)
        return x + self.bias.data

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        self.bias.grad[...] = dy.sum(axis=self.axis)
        return dy


def test_a_sum_over_the_features_is_one_over_the_batch():
    x = RNG.standard_normal((4, 4))
    shows(
        "gradcheck",
        "dy is summed over the features; sum it over the batch, axis 0",
        causes(Bias(1), x),
    )
    assert check_gradients(Bias(0), x)


def test_a_wrong_way_back_has_its_weights_transposed():
    shows(
        "gradcheck",
        "the parameters' gradients are right, so the way back to x is wrong: is a term missing, or "
        "are the weights not transposed there, or not the same as in forward?",
        causes(OneDense("way back")),
    )
    assert check_gradients(OneDense(), X)


class UsesUnused(OneDense):
    def forward(self, x, *, train=False):
        return super().forward(x, train=train) + self.unused.data.sum()

    def backward(self, dy, *, need_dx=True):
        dx = super().backward(dy)
        self.unused.grad[...] = dy.sum()
        return dx


def test_a_parameter_that_does_nothing_is_made_to():
    shows(
        "gradcheck",
        "the output does not depend on it, or only through a function without surrogate",
        causes(OneDense("unused")),
    )
    assert check_gradients(UsesUnused("unused"), X)


class Centred(Layer):
    """y = x - mean(x), without or with the term of the mean in backward."""

    def __init__(self, term):
        self.term = term
        self.scale = Parameter("scale", (4,), Fill(1.0))

    def forward(self, x, *, train=False):
        centred = x - x.mean(axis=0)
        y = centred * self.scale.data
        if train:
            self.saved = (y.shape, centred)
        return y

    def backward(self, dy, *, need_dx=True):
        (centred,) = self.take_saved(dy)
        self.scale.grad[...] = (centred * dy).sum(axis=0)
        dx = dy * self.scale.data
        return dx - dx.mean(axis=0) if self.term else dx


def test_the_term_of_the_batch_mean_is_added():
    shows(
        "gradcheck",
        "right but for its mean over the batch: the term of the batch mean is missing",
        causes(Centred(False)),
    )
    assert check_gradients(Centred(True), X)


# --- functions ------------------------------------------------------------------------------------


class Sign(Function):
    """A sign whose surrogate is hardtanh, and a mistake of somebody's in its mask."""

    def __init__(self, wrong=""):
        self.wrong = wrong

    def forward(self, x):
        return sign(x)

    def surrogate(self, x):
        return np.clip(x, -1, 1)

    def backward(self, dy, x):
        mask = abs(x) <= {"no mask": np.inf, "narrow": 0.5}.get(self.wrong, 1)
        return dy * mask * (x if self.wrong == "else" else 1)


def test_a_mask_gets_its_width():
    shows(
        "gradcheck",
        "non-zero where the surrogate is flat: a clip or mask is missing in backward",
        causes(Sign("no mask")),
    )
    shows(
        "gradcheck",
        "zero where the surrogate has a slope: a mask in backward is too narrow",
        causes(Sign("narrow")),
    )
    shows(
        "gradcheck",
        "backward is not the derivative of the function's surrogate, or of its forward",
        causes(Sign("else")),
    )
    assert check_gradients(Sign(), X)


class Bare(Function):
    """A sign without a surrogate."""

    def forward(self, x):
        return sign(x)

    def backward(self, dy, x):
        return dy * (abs(x) <= 1)


class Told(Bare):
    def surrogate(self, x):
        return np.clip(x, -1, 1)


class Hides(Layer):
    """A layer whose sign the check can find, or not."""

    def __init__(self, function):
        self.function = function

    def forward(self, x, *, train=False):
        if train:
            self.saved = (x.shape, x)
        function = self.function[0] if isinstance(self.function, list) else self.function
        return function.forward(x)

    def backward(self, dy, *, need_dx=True):
        (x,) = self.take_saved(dy)
        return Told().backward(dy, x)


def test_a_flat_function_is_given_a_surrogate_where_the_check_finds_it():
    advice = (
        "the function is flat at every place checked: if it is to be trained through a "
        "surrogate, define surrogate(x), and keep the Function as an attribute of the layer"
    )
    for wrong in (Bare(), Hides([Told()])):
        shows(
            "gradcheck",
            "the function is flat at every place checked: if it is to be trained through a "
            "surrogate, define surrogate(x), and keep the Function as an attribute of the layer",
            causes(wrong),
        )
    assert check_gradients(Told(), X), advice
    assert check_gradients(Hides(Told()), X), advice


def test_what_could_not_be_compared_is_at_another_x():
    shows(
        "gradcheck",
        "nothing was compared: every element is on a kink or lost in rounding; choose another x, or "
        "other weights",
        causes(Activation(SignSTE(clip=1.0)), np.ones((4, 3))),
    )
    assert check_gradients(Activation(SignSTE(clip=1.0)), X)


# --- the rules of a layer -------------------------------------------------------------------------


def test_a_copy_is_worked_on():
    for wrong in ("changes its input", "changes dy"):
        with advised("gradcheck", "work on a copy"):
            check_gradients(Scale(wrong), X)
    assert check_gradients(Scale(), X)

    class SpoilsLogits(LogitCrossEntropy):
        def forward(self, logits, labels):
            value = super().forward(logits, labels)
            logits += 1
            return value

    labels = np.arange(6) % 4
    with advised("gradcheck", "work on a copy"):
        check_gradients(Scale(), X, loss=SpoilsLogits(), labels=labels)
    assert check_gradients(Scale(), X, loss=LogitCrossEntropy(), labels=labels)


def test_a_gradient_is_written_into_its_array():
    with advised(
        "gradcheck",
        "write into it, since the optimiser holds it: parameter.grad[...] = gradient",
    ):
        check_gradients(Scale("replaces"), X)
    assert check_gradients(Scale(), X)


def test_a_parameter_is_renamed():
    class Taken(Layer):
        def __init__(self, name):
            self.name = name
            setattr(self, name, Parameter(name, (4,), Fill(1.0)))

        def forward(self, x, *, train=False):
            if train:
                self.saved = (x.shape, x)
            return x * getattr(self, self.name).data

        def backward(self, dy, *, need_dx=True):
            (x,) = self.take_saved(dy)
            getattr(self, self.name).grad[...] = (x * dy).sum(axis=0)
            return dy * getattr(self, self.name).data

    for name in ("x", "logits"):
        with advised("gradcheck", "rename the parameter; x and logits are taken"):
            check_gradients(Taken(name), X)
    assert check_gradients(Taken("s"), X)


def test_another_x_is_chosen():
    class Log(Function):
        def forward(self, x):
            with np.errstate(invalid="ignore"):
                return np.log(x)

        def backward(self, dy, x):
            return dy / x

    with advised("gradcheck", "choose another"):
        check_gradients(Log(), X)
    assert check_gradients(Log(), abs(X) + 1)


class Noise(Layer):
    """y = x times a random number, from a stream that the check can hold still, or not."""

    def __init__(self, draws):
        self.draws = draws

    def forward(self, x, *, train=False):
        if isinstance(self.draws, RandomStream):
            factor = self.draws.uniform(backend_of(x), x.shape, x.dtype)
        else:
            factor = self.draws.random(x.shape)
        if train:
            self.saved = (x.shape, factor)
        return x * factor

    def backward(self, dy, *, need_dx=True):
        (factor,) = self.take_saved(dy)
        return dy * factor


def test_random_numbers_come_from_draws():
    with advised(
        "gradcheck",
        "if it draws random numbers, draw them from an attribute that is a minibnn.RandomStream, which "
        "the check can hold still",
    ):
        check_gradients(Noise(np.random.default_rng(0)), X)
    assert check_gradients(Noise(RandomStream()), X)


class Own(Layer):
    """A layer with feedback, which calls its own product, or has none."""

    def __init__(self):
        self.weight = Parameter("weight", (4, 3), Fill(0.0))
        self.feedback = FixedFeedback()

    def _initialize(self, rng, dtype):
        super()._initialize(rng, dtype)
        self.feedback.initialize(self.weight.shape, rng, dtype)

    def forward(self, x, *, train=False):
        W = self.weight.data
        y = self.product(x, W) if hasattr(self, "product") else x @ W
        if train:
            self.saved = (y.shape, x)
        return y

    def backward(self, dy, *, need_dx=True):
        (x,) = self.take_saved(dy)
        self.weight.grad[...] = x.T @ dy
        return dy @ self.feedback.backward_weights(self.weight.data).T

    def buffers(self):
        yield from super().buffers()
        yield from self.feedback.buffers()


class WithProduct(Own):
    def product(self, x, W):
        return x @ W


def test_a_layer_with_feedback_defines_its_product():
    with advised("gradcheck", "define it and let forward call self.product(x, W)"):
        check_gradients(Own(), X)
    assert check_gradients(WithProduct(), X)
    assert issubclass(FixedFeedback, Feedback)


def test_a_class_is_made_an_object():
    with advised("checks", "write {}") as caught:
        check_gradients(SignSTE, X)
    assert "write SignSTE()" in caught.text
    assert check_gradients(SignSTE(), X)
    assert check_gradients(Dense(4, 3), X, loss=LogitCrossEntropy(), labels=np.arange(6) % 3)


class DrawsBack(Noise):
    """Draws its mask anew in backward."""

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy * self.draws.uniform(backend_of(dy), dy.shape, dy.dtype)


def test_a_mask_is_saved_for_backward():
    with advised(
        "gradcheck", "draw in forward, and save the mask for backward: self.saved = (y.shape, mask)"
    ):
        check_gradients(DrawsBack(RandomStream()), X)
    assert check_gradients(Noise(RandomStream()), X)


class Sign0(Function):
    """A sign that is 0 at 0, or the library's."""

    def __init__(self, sign):
        self.sign = sign

    def forward(self, x):
        return self.sign(x)

    def surrogate(self, x):
        return np.clip(x, -1, 1)

    def backward(self, dy, x):
        return dy * (abs(x) <= 1)


def test_a_sign_of_zero_is_the_librarys():
    with advised("gradcheck", "use minibnn.functions.sign(x)"):
        check_gradients(Sign0(np.sign), X)
    assert check_gradients(Sign0(lambda x: sign(x)), X)


class Maximum(Layer):
    """The greatest of each row; the gradient goes to all that are equal to it, or to the first."""

    def __init__(self, first):
        self.first = first

    def forward(self, x, *, train=False):
        y = x.max(axis=1, keepdims=True)
        if train:
            self.saved = (y.shape, x)
        return y

    def backward(self, dy, *, need_dx=True):
        (x,) = self.take_saved(dy)
        mask = x == x.max(axis=1, keepdims=True)
        if self.first:
            mask = np.arange(x.shape[1]) == x.argmax(axis=1)[:, None]
        return dy * mask


def test_equal_maxima_share_one_gradient():
    ties = np.array([[1.0, 1.0, 0.0], [2.0, 0.5, 2.0], [0.3, 0.1, 0.2], [1.0, -1.0, 0.0]])
    shows(
        "gradcheck",
        "equal values get the gradient of one each; together they are to get it once",
        causes(Maximum(first=False), ties),
    )
    assert check_gradients(Maximum(first=True), ties)
