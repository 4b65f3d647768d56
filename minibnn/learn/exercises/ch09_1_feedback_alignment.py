"""Feedback alignment, backward

A network of two layers, without biases:

    h = tanh(x W1)          z = h W2

error is the gradient with respect to z. Backpropagation would send it back
through W2. Feedback alignment sends it through B, a fixed random matrix of the
same shape as W2:

    dW2 = h.T error
    dh  = error B.T
    dW1 = x.T (dh * (1 - h^2))

x is (batch, in), W1 (in, hidden), W2 and B (hidden, out), error (batch, out).
"""

import numpy as np


def backward(x, W1, W2, B, error):
    """dW1 and dW2."""
    # hole: h first, then both gradients
    h = np.tanh(x @ W1)
    dW2 = h.T @ error
    dh = error @ B.T
    dW1 = x.T @ (dh * (1 - h**2))
    # end of hole
    return dW1, dW2


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import mistake, parts

HINTS = [
    "The last layer's gradient is the true one: nothing was bent above it.",
    "B replaces W2 on the way back only: dh = error @ B.T. The derivative of tanh stays.",
    "dW1 = x.T @ (dh * (1 - h**2)), with h = np.tanh(x @ W1).",
]

_rng = np.random.default_rng(91)


def _case(batch, n_in, hidden, out):
    shapes = (batch, n_in), (n_in, hidden), (hidden, out), (hidden, out), (batch, out)
    return tuple(_rng.normal(size=shape).round(2) for shape in shapes)


CHECKS = parts(backward, [_case(4, 3, 5, 2), _case(3, 2, 4, 3)], "dW1 dW2", points=2)


@mistake(backward, "backpropagation")
def backpropagation(x, W1, W2, B, error):
    """It is the true gradient, through W2. Send the error through B."""
    return backward(x, W1, W2, W2, error)


@mistake(backward, "a way back without the derivative of tanh")
def without_tanh(x, W1, W2, B, error):
    """B replaces the weights, nothing else. The error still passes tanh, so multiply by 1 - h^2."""
    h = np.tanh(x @ W1)
    return x.T @ (error @ B.T), h.T @ error


@mistake(backward, "a way back through both matrices")
def through_both(x, W1, W2, B, error):
    """B comes in the place of W2, not in addition to it."""
    return backward(x, W1, W2, W2 + B, error)


@mistake(backward, "a derivative at the wrong point")
def wrong_point(x, W1, W2, B, error):
    """1 - h^2 is the derivative of tanh if h is its output. Here it is taken from the score."""
    z = x @ W1
    return x.T @ (error @ B.T * (1 - z**2)), np.tanh(z).T @ error


@mistake(backward, "a last layer that learns from B")
def last_by_feedback(x, W1, W2, B, error):
    """The gradient of the last layer needs no way back: h.T @ error, with the h of the forward
    pass."""
    dW1, _ = backward(x, W1, W2, B, error)
    return dW1, B * error.sum(axis=0)
