"""The backward pass of a binary layer

A layer with binary weights and binary answers, for real weights W:

    Wq = sign(W)        z = x Wq        h = sign(z)

Its backward pass is given dh and returns dx and dW. The sign of z has a clip
of 1, so dh passes where |z| <= 1. The sign of W is straight through, by the
identity.

Mind which matrix the product used on the way forward. And mind that dW has
to be what changes the real numbers W.

x is (batch, in), W (in, out), dh (batch, out).
"""

import numpy as np


def sign(x):
    """+1 where x >= 0, else -1."""
    return np.where(x >= 0, 1.0, -1.0)


def backward(dh, x, W):
    """dx and dW."""
    # hole: dz first, then both gradients
    z = x @ sign(W)
    dz = dh * (np.abs(z) <= 1)
    dW = x.T @ dz
    dx = dz @ sign(W).T
    # end of hole
    return dx, dW


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Differences, mistake, parts

HINTS = [
    "Go back one line at a time: from h to z, then from z to x and to Wq, then from Wq to W.",
    "dz = dh * (np.abs(z) <= 1), with z = x @ sign(W). For dx and the gradient by Wq, this is a "
    "dense layer with the weights Wq.",
    "dx = dz @ sign(W).T. The gradient by Wq is x.T @ dz, and the identity makes it the gradient "
    "by W.",
]

_rng = np.random.default_rng(52)
_SMALL = (
    _rng.normal(size=(5, 4)).round(2),
    (0.6 * _rng.normal(size=(5, 3))).round(2),
    _rng.normal(size=(3, 4)).round(2),
)
_SIGNS = (
    np.array([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.25]]),
    np.array([[1.0, -1.0, 1.0], [1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]]),
    np.array([[1.5, -0.2], [0.0, -2.0], [-0.7, 0.6]]),
)
CASES = [_SMALL, _SIGNS]


def anchored(Wq0, h0, z0, dh, x, W, W0):
    """The sum of dh h, with both signs anchored at W0 and z0."""
    Wq = Wq0 + (W - W0)
    h = h0 + np.clip(x @ Wq, -1, 1) - np.clip(z0, -1, 1)
    return (dh * h).sum()


def anchors(dh, x, W):
    """The arguments of `anchored`."""
    Wq0 = sign(W)
    return Wq0, sign(x @ Wq0), x @ Wq0, dh, x, W, W


CHECKS = [
    *parts(backward, CASES, "dx dW", points=2),
    Differences(backward, anchored, "W", [_SMALL], "dW passes the anchored check", returns="dx dW",
                part="dW", at=anchors),
]  # fmt: skip


def _other(mask=lambda z, dh: np.abs(z) <= 1, back=sign, forward=sign):
    """A backward with another mask or other matrices."""

    def backward(dh, x, W):
        dz = dh * mask(x @ forward(W), dh)
        return dz @ back(W).T, x.T @ dz

    return backward


@mistake(backward, "the error sent back through the real weights")
def through_real_weights(*given):
    """The product used Wq = sign(W) on the way forward, so the error goes back through Wq. W itself
    was never multiplied with anything."""
    return _other(back=lambda W: W)(*given)


@mistake(backward, "a backward in which all of dh passes")
def without_mask(*given):
    """There is no mask, or one that lets everything pass, such as a mask of h: |h| is always 1. The
    gradient stops where |z| > 1."""
    return _other(mask=lambda z, dh: 1.0)(*given)


@mistake(backward, "a mask from the product with the real weights")
def mask_of_real_product(*given):
    """z is x sign(W), as in the forward pass. Your mask asks for x W."""
    return _other(forward=lambda W: W)(*given)


@mistake(backward, "a mask on dh")
def mask_on_gradient(*given):
    """The mask is where |z| <= 1, whatever dh is."""
    return _other(mask=lambda z, dh: np.abs(dh) <= 1)(*given)


@mistake(backward, "the gradient of the weights times their signs")
def times_signs(dh, x, W):
    """From Wq to W the gradient goes straight through: dW is the gradient by Wq, with nothing in
    between."""
    dx, dW = _other()(dh, x, W)
    return dx, dW * sign(W)


@mistake(backward, "a mask on the weights as well")
def masked_weights(dh, x, W):
    """The clip belongs to the sign of z. The sign of W is straight through, by the identity, so
    weights beyond 1 have a gradient, too."""
    dx, dW = _other()(dh, x, W)
    return dx, dW * (np.abs(W) <= 1)


@mistake(backward, "a gradient that is itself a sign")
def signs_of_gradient(dh, x, W):
    """Only weights and answers are binary. Gradients stay real numbers: their size says how much a
    flip matters."""
    dx, dW = _other()(dh, x, W)
    return dx, sign(dW)


@mistake(backward, "the true gradient, which is zero")
def zeros(dh, x, W):
    """Calculus is right, and useless. Take the derivatives of the surrogates."""
    return np.zeros(x.shape), np.zeros(W.shape)
