"""Radial: distances, and how an error travels back through them."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import Blocked, Dense, FixedFeedback, Radial, Sequential, SignSTE, check_gradients


def test_radial_by_hand():
    layer = Radial(2, 2, weight_quantizer=SignSTE()).initialize(0)
    layer.weight.data[...] = [[0.3, -0.2], [-0.0, 5.0]]  # signs: [[1, -1], [1, 1]]
    layer.bias.data[...] = [10.0, 20.0]
    x = np.array([[1, 2], [3, -1]], np.float32)
    np.testing.assert_array_equal(
        layer.forward(x, train=True), [[10 - 1, 20 - 5], [10 - 8, 20 - 20]]
    )
    dx = layer.backward(np.array([[1, 2], [0, -1]], np.float32))
    # dx = -2 sum_k (x - w_k) dz_k;  dW_k = 2 sum_n (x_n - w_k) dz_nk
    np.testing.assert_array_equal(dx, [[-8, -6], [8, -4]])
    np.testing.assert_array_equal(layer.weight.grad, [[0, 0], [2, 8]])
    np.testing.assert_array_equal(layer.bias.grad, [1, 1])


def test_radial_is_the_distance(rng):
    layer = Radial(5, 3, bias=False).initialize(0, np.float64)
    x = rng.standard_normal((4, 5))
    expected = -((x[:, :, None] - layer.weight.data) ** 2).sum(axis=1)
    np.testing.assert_allclose(layer.forward(x), expected, rtol=1e-12)


@pytest.mark.parametrize("quantizer", [None, SignSTE()], ids=["real", "binary"])
def test_feedback_with_the_forward_weights_is_backprop(quantizer, rng):
    results = []
    for feedback in (None, FixedFeedback()):
        layer = Radial(5, 3, weight_quantizer=quantizer, feedback=feedback).initialize(3)
        if feedback:
            B = layer.weight_quantizer.forward(layer.weight.data)
            layer.feedback.weights.data[...] = B
        inputs = np.random.default_rng(1)
        layer.forward(inputs.standard_normal((4, 5)).astype(np.float32), train=True)
        dx = layer.backward(inputs.standard_normal((4, 3)).astype(np.float32))
        results.append([dx, layer.weight.grad, layer.bias.grad])
    for expected, got in zip(*results, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_fixed_feedback_takes_the_place_of_the_weights_only(rng):
    layer = Radial(5, 3, feedback=FixedFeedback()).initialize(0, np.float64)
    x, dz = rng.standard_normal((4, 5)), rng.standard_normal((4, 3))
    layer.forward(x, train=True)
    dx = layer.backward(dz)
    B = layer.feedback.weights.data
    np.testing.assert_allclose(dx, 2 * (dz @ B.T - x * dz.sum(axis=1, keepdims=True)), rtol=1e-12)


def test_blocked_sends_nothing_back(rng):
    model = Sequential(Dense(5, 4), Radial(4, 3, feedback=Blocked())).initialize(0)
    model.forward(rng.standard_normal((6, 5)).astype(np.float32), train=True)
    assert not model.backward(rng.standard_normal((6, 3)).astype(np.float32)).any()
    assert not model[0].weight.grad.any()
    assert model[1].weight.grad.all()


class NoSquare(Radial):
    """Forgets that |x|^2 depends on x."""

    def backward(self, dz, *, need_dx=True):
        x = self.saved[1]
        dx = super().backward(dz, need_dx=need_dx)
        return dx + 2 * x * dz.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("feedback", [None, FixedFeedback, Blocked])
def test_the_gradient_check_sees_a_missing_square(feedback, rng):
    x = rng.standard_normal((5, 4))
    right, wrong = (
        check_gradients(kind(4, 3, feedback=feedback and feedback()), x)
        for kind in (Radial, NoSquare)
    )
    assert right, str(right)
    assert {r.name: r.ok for r in wrong.results} == {"weight": True, "bias": True, "x": False}


def test_it_says_who_it_is():
    layer = Radial(4, 3, weight_quantizer=SignSTE(), bias=False)
    assert repr(layer) == "Radial(4 -> 3, weight_quantizer=SignSTE(clip=None), bias=False)"
    with pytest.raises(ValueError, match=r"^Radial\(4 -> 3\): expected x of shape \(batch, 4\)"):
        layer.initialize(0).forward(np.zeros((2, 5), np.float32))
    with pytest.raises(TypeError, match=r"Radial: expected in_features of type int, got 3\.0"):
        Radial(3.0, 2)
