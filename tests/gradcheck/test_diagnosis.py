"""Planted faults are caught, and the report names each of them."""

from __future__ import annotations

import importlib
import re

import numpy as np
import pytest
from gradcheck_helpers import mutant, values

from minibnn import Activation, Sequential, SignSTE, Tanh, check_gradients
from minibnn.gradcheck.diagnosis import likely_cause


def with_loss(loss):
    labels = np.array([0, 2, 1, 1, 0])
    return check_gradients(Sequential(), values(5, 3), loss=loss, labels=labels)


# What is broken: its module, the right line, the faulty line, the check, the array, the diagnosis.
PLANTED = {
    "clip dropped": (
        "minibnn.functions.signs",
        "return backend_of(x).run(straight_through_gradient, dy, x, self.clip)",
        "return dy",
        lambda m: check_gradients(Activation(m.SignSTE(clip=0.5)), values(5, 4)),
        "x",
        "clip or mask is missing",
    ),
    "clip too narrow": (
        "minibnn.functions.signs",
        "return backend_of(x).run(straight_through_gradient, dy, x, self.clip)",
        "return backend_of(x).run(straight_through_gradient, dy, x, self.clip / 2)",
        lambda m: check_gradients(Activation(m.SignSTE(clip=1.0)), values(5, 4)),
        "x",
        "mask in backward is too narrow",
    ),
    "factor of the batch size": (
        "minibnn.layers.dense",
        "batch_sum(dz, out=self.bias.grad)",
        "dz.mean(axis=0, out=self.bias.grad)",
        lambda m: check_gradients(m.Dense(4, 3), values(5, 4)),
        "bias",
        r"too small by the batch size \(5\)",
    ),
    "transposed weight": (
        "minibnn.layers.dense",
        "matmul(dz, B.T)",
        "matmul(dz, B)",
        lambda m: check_gradients(m.Dense(4, 4), values(5, 4)),
        "x",
        "are the weights not transposed",
    ),
    "latent instead of binary weights on the way back": (
        "minibnn.layers.dense",
        "self.backward_weights(Wq)",
        "self.backward_weights(self.weight.data)",
        lambda m: check_gradients(m.Dense(4, 4, weight_quantizer=SignSTE()), values(5, 4)),
        "x",
        "the same as in forward",
    ),
    "transposed weight gradient": (
        "minibnn.layers.dense",
        "matmul(x.T, dz, out=self.weight.grad)",
        "matmul(dz.T, x, out=self.weight.grad)",
        lambda m: check_gradients(m.Dense(4, 4), values(5, 4)),
        "weight",
        "transpose of the right gradient",
    ),
    "bias gradient over the wrong axis": (
        "minibnn.layers.dense",
        "batch_sum(dz, out=self.bias.grad)",
        "dz.sum(axis=1, out=self.bias.grad)",
        lambda m: check_gradients(m.Dense(3, 4), values(4, 3)),
        "bias",
        "summed over the features",
    ),
    "batch-norm mean term missing": (
        "minibnn.layers.norm",
        " - scale * dbeta / n",
        "",
        lambda m: check_gradients(m.BatchNorm(4), values(5, 4)),
        "x",
        "term of the batch mean is missing",
    ),
    "batch-norm variance term missing": (
        "minibnn.layers.norm",
        " - (scale * dgamma / n) * x_hat",
        "",
        lambda m: check_gradients(m.BatchNorm(4), values(5, 4)),
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
        lambda m: check_gradients(m.Dense(5, 4, weight_quantizer=SignSTE(clip=1.0)), values(5, 5)),
        "weight",
        "clip or mask is missing",
    ),
    "gradient accumulated": (
        "minibnn.layers.shift_norm",
        "self.gamma.grad[...] = dy_c * r_ap2",
        "self.gamma.grad[...] += dy_c * r_ap2",
        lambda m: check_gradients(m.ShiftBatchNorm(4), values(5, 4)),
        "gamma",
        "does not set this gradient, or adds to it",
    ),
    "surrogate not the one of backward": (
        "minibnn.functions.activations",
        "return dy * (1 - y * y)",
        "return dy * (1 - y)",
        lambda m: check_gradients(Activation(m.Tanh()), values(5, 4)),
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
        lambda m: check_gradients(Activation(m.Tanh()), values(5, 4)),
        "x",
        "sign is flipped",
    ),
    "factor two": (
        "minibnn.layers.reshape",
        "return dy * self.scale if need_dx else None",
        "return dy * (2 * self.scale) if need_dx else None",
        lambda m: check_gradients(m.Rescale(3.0), values(5, 4)),
        "x",
        "constant factor 2",
    ),
    "gradient never set": (
        "minibnn.layers.shift_norm",
        "self.gamma.grad[...] = dy_c * r_ap2",
        "self.gamma.grad[...] = 0",
        lambda m: check_gradients(m.ShiftBatchNorm(4), values(5, 4)),
        "gamma",
        "leaves this gradient at zero",
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_planted_fault_is_caught_and_named(fault):
    module, right, wrong, check, array, cause = PLANTED[fault]
    assert check(importlib.import_module(module)), "the unbroken code must pass"
    report = check(mutant(module, right, wrong))
    assert not report
    result = next(r for r in report.results if r.name == array)
    assert not result.ok
    assert not result.error < 1e-3
    assert re.search(cause, result.cause), report


def test_a_sign_without_surrogate_is_explained():
    class Bare(SignSTE):
        def surrogate(self, x):
            return self.forward(x)

    assert "define surrogate(x)" in str(check_gradients(Bare(), values(5, 4)))


def test_nan_is_named():
    class Broken(Tanh):
        def backward(self, dy, x):
            return dy * float("nan")

    assert "nan or inf" in repr(check_gradients(Activation(Broken()), values(5, 4)))
    right, nan = values(5, 4), np.full((5, 4), np.nan)
    assert "nan or inf" in likely_cause("x", nan, right, right, others_ok=False)
