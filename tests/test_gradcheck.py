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
    BatchNorm,
    Dense,
    FixedFeedback,
    HardTanh,
    Layer,
    LogitCrossEntropy,
    Rescale,
    Sequential,
    SignSTE,
    Tanh,
    check_gradients,
)


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
        "minibnn.functions.quantizers",
        "return dy * (abs(x) <= self.clip)",
        "return dy",
        lambda m: check_gradients(Activation(m.SignSTE(clip=0.5)), spread(5, 4)),
        "x",
        "clip or mask is missing",
    ),
    "clip too narrow": (
        "minibnn.functions.quantizers",
        "return dy * (abs(x) <= self.clip)",
        "return dy * (abs(x) <= self.clip / 2)",
        lambda m: check_gradients(Activation(m.SignSTE(clip=1.0)), spread(5, 4)),
        "x",
        "mask in backward is too narrow",
    ),
    "factor of the batch size": (
        "minibnn.layers.dense",
        "dz.sum(axis=0, out=self.bias.grad)",
        "dz.mean(axis=0, out=self.bias.grad)",
        lambda m: check_gradients(m.Dense(4, 3), spread(5, 4)),
        "bias",
        r"too small by the batch size \(5\)",
    ),
    "transposed weight": (
        "minibnn.layers.dense",
        "self.backend.matmul(dz, B.T)",
        "self.backend.matmul(dz, B)",
        lambda m: check_gradients(m.Dense(4, 4), spread(5, 4)),
        "x",
        "are the weights transposed",
    ),
    "latent instead of binary weights on the way back": (
        "minibnn.layers.dense",
        "self.feedback.backward_weights(Wq)",
        "self.feedback.backward_weights(self.weight.data)",
        lambda m: check_gradients(m.Dense(4, 4, weight_quantizer=SignSTE()), spread(5, 4)),
        "x",
        "the same as in forward",
    ),
    "transposed weight gradient": (
        "minibnn.layers.dense",
        "self.backend.matmul(x.T, dz, out=self.weight.grad)",
        "self.backend.matmul(dz.T, x, out=self.weight.grad)",
        lambda m: check_gradients(m.Dense(4, 4), spread(5, 4)),
        "weight",
        "transpose of the right gradient",
    ),
    "bias gradient over the wrong axis": (
        "minibnn.layers.dense",
        "dz.sum(axis=0, out=self.bias.grad)",
        "dz.sum(axis=1, out=self.bias.grad)",
        lambda m: check_gradients(m.Dense(3, 4), spread(4, 3)),
        "bias",
        "summed over the features",
    ),
    "batch-norm mean term missing": (
        "minibnn.layers.norm",
        "        dx -= self.beta.grad / n\n",
        "",
        lambda m: check_gradients(m.BatchNorm(4), spread(5, 4)),
        "x",
        "term of the batch mean is missing",
    ),
    "batch-norm variance term missing": (
        "minibnn.layers.norm",
        "dx = x_hat * (self.gamma.grad / -n)",
        "dx = x_hat * 0",
        lambda m: check_gradients(m.BatchNorm(4), spread(5, 4)),
        "x",
        "the way back to x is wrong",
    ),
    "loss gradient not divided": (
        "minibnn.losses",
        "            dlogits = exp / (total * n)\n            dlogits[rows, labels] -= 1 / n\n",
        "            dlogits = exp / total\n            dlogits[rows, labels] -= 1\n",
        lambda m: with_loss(m.LogitCrossEntropy()),
        "x",
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
        "minibnn.layers.norm",
        "(dy * x_hat).sum(axis=axes, out=self.gamma.grad)",
        "self.gamma.grad[...] = 0",
        lambda m: check_gradients(m.BatchNorm(4), spread(5, 4)),
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
    assert result.error > 1e-3
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
    assert report, report
    assert "x" not in [r.name for r in report.results], "pixels have no gradient"


def test_large_arrays_are_sampled():
    report = check_gradients(Dense(50, 40), spread(3, 50), max_elements=20)
    assert report, report
    assert [(r.checked, r.size) for r in report.results] == [(20, 2000), (20, 40), (20, 150)]


def test_kinks_are_left_out_not_called_wrong():
    report = check_gradients(Activation(HardTanh()), np.array([[-1.0, 0.3, 1.0, 2.0]]))
    assert report, report
    assert report.results[0].kinks == 2


def test_a_slope_outside_the_kink_is_wrong():
    class Steep(HardTanh):
        def backward(self, dy, x):
            return 3 * dy * (abs(x) <= 1)

    assert not check_gradients(Activation(Steep()), np.array([[-1.0, 1.0]]))


def test_gradient_of_the_wrong_shape():
    class Broadcasting(Layer):
        def forward(self, x, *, train=False):
            return x * 2

        def backward(self, dy, *, need_dx=True):
            return dy.sum(axis=0)

    with pytest.raises(
        ValueError, match=r"expected a gradient of shape \(5, 4\) for x, got \(4,\)"
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
