"""The gradient check itself: it passes what is right, and catches and names planted faults."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import types

import numpy as np
import pytest

from minibnn import (
    Activation,
    Adam,
    AdaSTE,
    BatchNorm,
    Conv2D,
    DataLoader,
    Dense,
    Fill,
    FixedFeedback,
    Flatten,
    Function,
    HardTanh,
    Layer,
    LogitCrossEntropy,
    MaxPool2D,
    Parameter,
    RandomStream,
    ReLU,
    Rescale,
    Sequential,
    SignSTE,
    Tanh,
    Ternary,
    Transpose,
    Uniform,
    check_gradients,
    load_sample,
)
from minibnn.layers import pooling


def mutant(module: str, right: str, wrong: str) -> types.ModuleType:
    """A copy of one of minibnn's modules in which `right` reads `wrong`."""
    original = importlib.import_module(module)
    source = inspect.getsource(original)
    assert source.count(right) == 1, f"{right!r} stands {source.count(right)} times in {module}"
    copy = types.ModuleType(f"{module}_mutant")
    copy.__dict__["__file__"] = original.__file__
    sys.modules[copy.__name__] = copy  # dataclasses look their module up
    try:
        exec(compile(source.replace(right, wrong), copy.__name__, "exec"), copy.__dict__)
    finally:
        del sys.modules[copy.__name__]
    return copy


def spread(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).standard_normal(shape)


def with_loss(loss):
    labels = np.array([0, 2, 1, 1, 0])
    return check_gradients(Sequential(), spread(5, 3), loss=loss, labels=labels)


# What is broken; where; the line and its faulty twin; how to check it; which array; the diagnosis.
FAULTS = {
    "clip dropped": (
        "minibnn.functions.signs",
        "return backend_of(x).run(straight_through_gradient, dy, x, self.clip)",
        "return dy",
        lambda m: check_gradients(Activation(m.SignSTE(clip=0.5)), spread(5, 4)),
        "x",
        "clip or mask is missing",
    ),
    "clip too narrow": (
        "minibnn.functions.signs",
        "return backend_of(x).run(straight_through_gradient, dy, x, self.clip)",
        "return backend_of(x).run(straight_through_gradient, dy, x, self.clip / 2)",
        lambda m: check_gradients(Activation(m.SignSTE(clip=1.0)), spread(5, 4)),
        "x",
        "mask in backward is too narrow",
    ),
    "factor of the batch size": (
        "minibnn.layers.dense",
        "batch_sum(dz, out=self.bias.grad)",
        "dz.mean(axis=0, out=self.bias.grad)",
        lambda m: check_gradients(m.Dense(4, 3), spread(5, 4)),
        "bias",
        r"too small by the batch size \(5\)",
    ),
    "transposed weight": (
        "minibnn.layers.dense",
        "matmul(dz, B.T)",
        "matmul(dz, B)",
        lambda m: check_gradients(m.Dense(4, 4), spread(5, 4)),
        "x",
        "are the weights not transposed",
    ),
    "latent instead of binary weights on the way back": (
        "minibnn.layers.dense",
        "self.backward_weights(Wq)",
        "self.backward_weights(self.weight.data)",
        lambda m: check_gradients(m.Dense(4, 4, weight_quantizer=SignSTE()), spread(5, 4)),
        "x",
        "the same as in forward",
    ),
    "transposed weight gradient": (
        "minibnn.layers.dense",
        "matmul(x.T, dz, out=self.weight.grad)",
        "matmul(dz.T, x, out=self.weight.grad)",
        lambda m: check_gradients(m.Dense(4, 4), spread(5, 4)),
        "weight",
        "transpose of the right gradient",
    ),
    "bias gradient over the wrong axis": (
        "minibnn.layers.dense",
        "batch_sum(dz, out=self.bias.grad)",
        "dz.sum(axis=1, out=self.bias.grad)",
        lambda m: check_gradients(m.Dense(3, 4), spread(4, 3)),
        "bias",
        "summed over the features",
    ),
    "batch-norm mean term missing": (
        "minibnn.layers.norm",
        " - scale * dbeta / n",
        "",
        lambda m: check_gradients(m.BatchNorm(4), spread(5, 4)),
        "x",
        "term of the batch mean is missing",
    ),
    "batch-norm variance term missing": (
        "minibnn.layers.norm",
        " - (scale * dgamma / n) * x_hat",
        "",
        lambda m: check_gradients(m.BatchNorm(4), spread(5, 4)),
        "x",
        "the way back to x is wrong",
    ),
    "batch-norm epsilon missing in backward": (
        "minibnn.layers.norm",
        "x_hat, inv_std = self.take_saved(dy)",
        "x_hat, inv_std = self.take_saved(dy); inv_std = (inv_std**-2 - self.epsilon) ** -0.5",
        lambda m: check_gradients(
            m.BatchNorm(4, epsilon=0.5), np.random.default_rng(0).standard_normal((5, 4))
        ),
        "x",
        "the way back to x is wrong",
    ),
    "weight gradient without the quantizer's": (
        "minibnn.layers.dense",
        "dW = self._quantizer.backward(dWq, self.weight.data)",
        "dW = dWq",
        lambda m: check_gradients(m.Dense(5, 4, weight_quantizer=SignSTE(clip=1.0)), spread(5, 5)),
        "weight",
        "clip or mask is missing",
    ),
    "gradient accumulated": (
        "minibnn.layers.shift_norm",
        "self.gamma.grad[...] = dy_c * r_ap2",
        "self.gamma.grad[...] += dy_c * r_ap2",
        lambda m: check_gradients(m.ShiftBatchNorm(4), spread(5, 4)),
        "gamma",
        "does not set this gradient, or adds to it",
    ),
    "surrogate not the one of backward": (
        "minibnn.functions.activations",
        "return dy * (1 - y * y)",
        "return dy * (1 - y)",
        lambda m: check_gradients(Activation(m.Tanh()), spread(5, 4)),
        "x",
        "not the derivative of the function's surrogate",
    ),
    "loss gradient not divided": (
        "minibnn.losses.cross_entropy",
        "run(cross_entropy_gradient, p, labels, self.label_smoothing)",
        "run(cross_entropy_gradient, p, labels, self.label_smoothing) * len(labels)",
        lambda m: with_loss(m.LogitCrossEntropy()),
        "logits",
        r"too large by the batch size \(5\)",
    ),
    "sign flipped": (
        "minibnn.functions.activations",
        "return dy * (1 - y * y)",
        "return dy * (y * y - 1)",
        lambda m: check_gradients(Activation(m.Tanh()), spread(5, 4)),
        "x",
        "sign is flipped",
    ),
    "factor two": (
        "minibnn.layers.reshape",
        "return dy * self.scale if need_dx else None",
        "return dy * (2 * self.scale) if need_dx else None",
        lambda m: check_gradients(m.Rescale(3.0), spread(5, 4)),
        "x",
        "constant factor 2",
    ),
    "gradient never set": (
        "minibnn.layers.shift_norm",
        "self.gamma.grad[...] = dy_c * r_ap2",
        "self.gamma.grad[...] = 0",
        lambda m: check_gradients(m.ShiftBatchNorm(4), spread(5, 4)),
        "gamma",
        "leaves this gradient at zero",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_caught_and_named(fault):
    module, right, wrong, check, array, cause = FAULTS[fault]
    assert check(importlib.import_module(module)), "the unbroken code must pass"
    report = check(mutant(module, right, wrong))
    assert not report
    result = next(r for r in report.results if r.name == array)
    assert not result.ok
    assert not result.error < 1e-3
    assert re.search(cause, result.cause), report


def test_report_reads_as_a_table():
    report = check_gradients(Dense(4, 3), spread(5, 4))
    assert repr(report).splitlines()[0] == "gradient check of Dense(4 -> 3): passed"
    assert [r.name for r in report.results] == ["weight", "bias", "x"]


def test_the_model_is_left_as_it_was():
    model = Sequential(Dense(4, 3, feedback=FixedFeedback()), BatchNorm(3)).initialize(0)
    before = [p.data.copy() for p in model.parameters()] + [b.data.copy() for b in model.buffers()]
    assert check_gradients(model, spread(5, 4).astype(np.float32))
    after = [p.data for p in model.parameters()] + [b.data for b in model.buffers()]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.dtype == np.float32
    assert model[0].saved is None


def test_a_whole_binarised_network_through_its_loss():
    model = Sequential(
        Rescale(1 / 255),
        Dense(8, 6, weight_quantizer=SignSTE(clip=1.0)),
        Activation(SignSTE(clip=1.0)),
        Dense(6, 3, weight_quantizer=SignSTE()),
    )
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8), dtype=np.uint8)
    labels = np.arange(9) % 3
    report = check_gradients(model, pixels, loss=LogitCrossEntropy(), labels=labels)
    assert report, str(report)
    assert "x" not in [r.name for r in report.results], "pixels have no gradient"


def test_large_arrays_are_sampled():
    report = check_gradients(Dense(50, 40), spread(3, 50), max_elements=20)
    assert report, str(report)
    assert [(r.checked, r.size) for r in report.results] == [(20, 2000), (20, 40), (20, 150)]


def test_kinks_are_left_out_not_called_wrong():
    report = check_gradients(HardTanh(), np.array([[-1.0, 0.3, 1.0, 2.0, 0.1]]))
    assert report, str(report)
    # backward takes the slope 1 at both edges, and the mean of both sides is 1/2
    assert (report.results[0].left_out, report.results[0].checked) == (2, 3)


@pytest.mark.parametrize("factor", [3, -0.1, 1.01])
def test_a_slope_outside_the_kink_is_wrong(factor):
    class Steep(HardTanh):
        def backward(self, dy, x):
            return np.where(abs(x) == 1, factor, 1) * super().backward(dy, x)

    assert not check_gradients(Steep(), np.array([[-1.0, 1.0, 0.5]]))


def test_nothing_compared_is_not_a_pass():
    report = check_gradients(ReLU(), np.zeros((2, 3)))
    assert not report
    assert "nothing was compared" in str(report)


@pytest.mark.parametrize("x", [spread(5, 4) + 1e4, spread(5, 4) * 1e-3, spread(5, 4) * 1e3])
def test_the_scale_of_the_input_does_not_matter(x):
    report = check_gradients(BatchNorm(4, epsilon=1e-12), x, tolerance=1e-5)
    assert report, str(report)
    assert not any(r.left_out for r in report.results)


def test_curvature_is_no_kink():
    layers = [layer for _ in range(6) for layer in (Dense(4, 4), Activation(Tanh()))]
    report = check_gradients(Sequential(*layers), spread(5, 4))
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

    assert check_gradients(Wave(), spread(5, 4))
    report = check_gradients(Wrong(), spread(5, 4))
    assert not report
    # Next to an extremum, where the slope passes through zero, curvature may be all there is.
    assert report.results[0].left_out <= 1, str(report)


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

    report = check_gradients(Nearly(4, 3), spread(5, 4))
    assert [r.name for r in report.results if not r.ok] == [array]
    report = check_gradients(Nearly(4, 3), spread(5, 4), tolerance=2 * size)
    assert report, str(report)


def test_a_trained_network_with_a_real_batch():
    """What the README shows: small gradients, a bias that batch norm makes idle, a large loss."""
    data = load_sample()
    model = Sequential(
        Flatten(), Rescale(1 / 255),
        Dense(784, 32, weight_quantizer=SignSTE(), weight_bound=1.0),
        BatchNorm(32), Activation(SignSTE(clip=1.0)),
        Dense(32, 10, weight_quantizer=SignSTE(), weight_bound=1.0), BatchNorm(10),
    ).initialize(0)  # fmt: skip
    loss, optimizer = LogitCrossEntropy(), Adam(model.parameters(), 0.01)
    for x, y in DataLoader((data.train_images, data.train_labels), 64, shuffle=True, rng=0):
        loss.forward(model.forward(x, train=True), y)
        model.backward(loss.backward(), need_dx=False)
        optimizer.step()
    for size in (8, 64):
        report = check_gradients(
            model, data.train_images[:size], loss=loss, labels=data.train_labels[:size],
            max_elements=60,
        )  # fmt: skip
        assert report, str(report)
    seed = Sequential(Flatten(), Rescale(1 / 255), Dense(784, 10, weight_quantizer=SignSTE()))
    x = data.train_images[:64]
    report = check_gradients(seed, x, loss=loss, labels=data.train_labels[:64], max_elements=60)
    assert report, str(report)


@pytest.mark.parametrize("size", [8, 64])
@pytest.mark.parametrize("seed", range(4))
def test_right_networks_pass_though_clips_and_kinks_lie_near(size, seed):
    data = load_sample()
    x, labels = data.train_images[:size], data.train_labels[:size]

    def binary(n, m):
        return Dense(n, m, bias=False, weight_quantizer=SignSTE(), weight_init=Uniform(-1, 1))

    modern = Sequential(
        Flatten(), Rescale(2 / 255, -1),
        binary(784, 128), BatchNorm(128), Activation(SignSTE(clip=1.0)),
        binary(128, 64), BatchNorm(64), Activation(SignSTE(clip=1.0)), binary(64, 10), BatchNorm(10),
    )  # fmt: skip
    smooth = Sequential(
        Flatten(), Rescale(1 / 255),
        Dense(784, 128), BatchNorm(128), Activation(ReLU()), Dense(128, 10),
    )  # fmt: skip
    for model in (modern, smooth):
        report = check_gradients(
            model.initialize(seed), x, loss=LogitCrossEntropy(), labels=labels, max_elements=20
        )
        assert report, str(report)


@pytest.mark.parametrize("gain", [1e-4, 1e-8, 1e-10])
@pytest.mark.parametrize("fault", [0.0, 1.5, -1.0, 1.001])
def test_small_gradients_are_compared_too(gain, fault):
    class Small(Rescale):
        def backward(self, dy, *, need_dx=True):
            return fault * super().backward(dy)

    assert check_gradients(Rescale(gain), spread(5, 4))
    assert not check_gradients(Small(gain), spread(5, 4))


def test_what_drowns_in_rounding_is_not_called_right():
    report = check_gradients(Rescale(1e-8, 1e8), spread(5, 4))
    assert not report
    assert "lost in rounding" in str(report)


def test_unchecked_places_do_not_set_the_scale():
    class Wild(Dense):
        def backward(self, dz, *, need_dx=True):
            dx = super().backward(dz, need_dx=need_dx)
            self.weight.grad *= 1.5
            self.weight.grad[0, 0] = 1e9
            return dx

    for rng in range(3):
        assert not check_gradients(Wild(30, 20), spread(4, 30), max_elements=20, rng=rng)


def test_names_that_clash_are_refused():
    class Clash(Layer):
        def __init__(self):
            self.x = Parameter("w", (4,), Fill(1.0))

        def forward(self, x, *, train=False):
            self.saved = (x.shape, x)
            return x * self.x.data

        def backward(self, dy, *, need_dx=True):
            raise AssertionError

    with pytest.raises(ValueError, match="rename the parameter"):
        check_gradients(Clash(), spread(5, 4))


def test_feedback_needs_a_product():
    class Odd(Layer):
        def __init__(self):
            self.feedback = FixedFeedback()

        def forward(self, x, *, train=False):
            return x

        def backward(self, dy, *, need_dx=True):
            return dy

    with pytest.raises(TypeError, match="expected a method product"):
        check_gradients(Odd(), spread(5, 4))


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
        check_gradients(Broken(fault), spread(5, 4))
    assert check_gradients(Broken("none"), spread(5, 4))


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

    report = check_gradients(Sequential(Twice(), Activation(sign), Activation(sign)), spread(5, 4))
    assert report, str(report)


def test_a_transpose_that_is_none_is_anchored_too():
    class Doubled(Transpose):
        def backward_weights(self, W):
            return 2 * W

    report = check_gradients(Dense(4, 3, feedback=Doubled()), spread(5, 4))
    assert report, str(report)


@pytest.mark.parametrize("x", [np.array(1.0), np.zeros((0, 4))])
def test_no_batch(x):
    with pytest.raises(ValueError, match="expected a batch x"):
        check_gradients(Tanh(), x)


def test_no_elements():
    with pytest.raises(ValueError, match="expected max_elements of at least 1"):
        check_gradients(Tanh(), spread(2, 2), max_elements=0)


def test_a_sign_without_surrogate_is_explained():
    class Bare(SignSTE):
        def surrogate(self, x):
            return self.forward(x)

    assert "define surrogate(x)" in str(check_gradients(Bare(), spread(5, 4)))


def test_arrays_on_a_device(device):
    model = Dense(4, 3).initialize(0).to(device)
    x, labels = device.asarray(spread(5, 4)), device.asarray(np.arange(5) % 3)
    assert check_gradients(model, x, loss=LogitCrossEntropy(), labels=labels)
    assert model.backend is device


def test_gradient_of_the_wrong_shape():
    class Broadcasting(Layer):
        def forward(self, x, *, train=False):
            return x * 2

        def backward(self, dy, *, need_dx=True):
            return dy.sum(axis=0)

    with pytest.raises(
        ValueError, match=r"expected backward to return dx of shape \(5, 4\), got \(4,\)"
    ):
        check_gradients(Broadcasting(), spread(5, 4))


def test_nan_is_named():
    class Broken(Tanh):
        def backward(self, dy, x):
            return dy * float("nan")

    assert "nan or inf" in repr(check_gradients(Activation(Broken()), spread(5, 4)))


def test_loss_without_labels():
    with pytest.raises(TypeError, match="loss and labels together"):
        check_gradients(Sequential(), spread(5, 3), loss=LogitCrossEntropy())


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
    assert check_gradients(layer, spread(5, 4))
    assert layer.source.count == 0, "the layer itself is not touched"


def test_random_numbers_from_elsewhere_are_named():
    with pytest.raises(ValueError, match=r"two forward passes differ.*minibnn\.RandomStream"):
        check_gradients(Noise(np.random.default_rng(0)), spread(5, 4))


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
    report = check_gradients(model, spread(5, 4))
    assert report, str(report)
    assert not check_gradients(type("Wrong", (Frozen,), {"surrogate_at": Function.surrogate_at})(),
                               spread(5, 4))  # fmt: skip


# --- What anchors must not get in the way of ----------------------------------------------------


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


class OneBuffer(LogitCrossEntropy):
    """A right loss that writes every gradient into the same array."""

    def forward(self, logits, labels):
        value = super().forward(logits, labels)
        self.buffer = getattr(self, "buffer", np.empty_like(logits))
        self.buffer[...] = super().backward()
        return value

    def backward(self):
        return self.buffer


class Transposed(LogitCrossEntropy):
    def backward(self):
        return super().backward().T


class InPlace(LogitCrossEntropy):
    def forward(self, logits, labels):
        logits -= 1
        return super().forward(logits, labels)


def test_losses_of_unusual_habits():
    x, labels = np.random.default_rng(0).standard_normal((6, 4)), np.array([0, 1, 2, 0, 1, 2])
    # By chance of the last labels asked for, a stale gradient is near the right one; not at 1e-9.
    assert check_gradients(Dense(4, 3), x, loss=OneBuffer(), labels=labels, tolerance=1e-9)
    with pytest.raises(ValueError, match=r"the outputs' shape \(6, 3\), got \(3, 6\)"):
        check_gradients(Dense(4, 3), x, loss=Transposed(), labels=labels)
    with pytest.raises(ValueError, match="the loss changed the outputs"):
        check_gradients(Dense(4, 3), x, loss=InPlace(), labels=labels)


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
    report = check_gradients(binary_cnn().initialize(seed), spread(4, 6, 6, 2), rng=seed)
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
        assert check_gradients(pool, spread(2, 4, 4, 2))
        if pool.windows.overlap == ("+=" in right):
            with monkeypatch.context() as patch:
                patch.setattr(pooling, "max_pool_gradient", broken.max_pool_gradient)
                assert not check_gradients(pool, spread(2, 4, 4, 2))
                signs = Sequential(Activation(SignSTE()), pool)
                assert not check_gradients(signs, spread(2, 4, 4, 2))
