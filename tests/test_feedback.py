"""How errors travel back, checked by reduction to backpropagation."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    Activation,
    Blocked,
    Dense,
    Feedback,
    Fill,
    FixedFeedback,
    ReLU,
    Sequential,
    SignSTE,
    check_gradients,
)


def network(feedback=lambda: None, quantizer=None):
    return Sequential(
        Dense(6, 5, weight_quantizer=quantizer, feedback=feedback()),
        Activation(ReLU()),
        Dense(5, 4, weight_quantizer=quantizer, feedback=feedback()),
        Activation(ReLU()),
        Dense(4, 3, weight_quantizer=quantizer, feedback=feedback()),
    ).initialize(3)


@pytest.mark.parametrize("quantizer", [None, SignSTE()], ids=["real", "binary"])
def test_feedback_alignment_with_the_forward_weights_is_backprop(quantizer, rng):
    backprop, aligned = network(quantizer=quantizer), network(FixedFeedback, quantizer)
    for layer, other in zip(backprop, aligned, strict=True):
        if isinstance(layer, Dense):
            other.weight.data[...] = layer.weight.data
            other.feedback.weights.data[...] = layer.weight_quantizer.forward(layer.weight.data)
    x = rng.standard_normal((8, 6)).astype(np.float32)
    dy = rng.standard_normal((8, 3)).astype(np.float32)
    results = []
    for model in (backprop, aligned):
        model.forward(x, train=True)
        results.append([model.backward(dy), *(p.grad for p in model.parameters())])
    for expected, got in zip(*results, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_fixed_feedback_is_another_matrix_that_never_changes(rng):
    layer = Dense(6, 5, feedback=FixedFeedback()).initialize(0)
    B = layer.feedback.weights.data.copy()
    assert not np.allclose(B, layer.weight.data)
    x = rng.standard_normal((8, 6)).astype(np.float32)
    dy = rng.standard_normal((8, 5)).astype(np.float32)
    for _ in range(2):
        layer.forward(x, train=True)
        np.testing.assert_allclose(layer.backward(dy), dy @ B.T, rtol=1e-6)
        layer.weight.data += 1
    np.testing.assert_array_equal(layer.feedback.weights.data, B)
    assert [b.name for b in layer.buffers()] == ["feedback"]


def test_blocked_sends_nothing_back_and_still_trains_its_own_layer(rng):
    model = Sequential(Dense(6, 5), Dense(5, 3, feedback=Blocked())).initialize(0)
    for p in model.parameters():
        p.grad[...] = np.nan
    model.forward(rng.standard_normal((8, 6)).astype(np.float32), train=True)
    dx = model.backward(rng.standard_normal((8, 3)).astype(np.float32))
    assert not dx.any()
    assert not model[0].weight.grad.any()
    assert not model[0].bias.grad.any()
    assert model[1].weight.grad.all()


def test_a_feedback_of_ones_own():
    """Sign-symmetric feedback (Liao et al. 2016, arXiv:1510.05067): only the signs travel back."""

    class SignSymmetric(Feedback):
        def backward_weights(self, W):
            return SignSTE().forward(W)

    layer = Dense(4, 3, feedback=SignSymmetric()).initialize(0)
    dy = np.ones((2, 3), np.float32)
    layer.forward(np.ones((2, 4), np.float32), train=True)
    np.testing.assert_array_equal(layer.backward(dy), dy @ np.sign(layer.weight.data).T)
    assert check_gradients(layer, np.random.default_rng(0).standard_normal((5, 4)))


def test_two_layers_may_not_share_a_feedback_matrix():
    shared = FixedFeedback()
    with pytest.raises(ValueError, match="got one of them twice"):
        Sequential(Dense(4, 4, feedback=shared), Dense(4, 4, feedback=shared))


def test_the_initialiser_draws_the_matrix():
    layer = Dense(4, 3, feedback=FixedFeedback(Fill(0.25))).initialize(0)
    np.testing.assert_array_equal(layer.feedback.weights.data, np.full((4, 3), 0.25))
