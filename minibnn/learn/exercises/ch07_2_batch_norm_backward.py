"""Batch norm, backward

The forward pass is given. dy, the gradient with respect to y, comes from
above. Return the gradients with respect to x, gamma and beta:

    dbeta  = sum of dy over the batch
    dgamma = sum of dy x_hat over the batch
    dx     = gamma inv_std (dy - dbeta / n - x_hat dgamma / n)

n is the number of samples. Before you type the last line, say to yourself
where each of its three terms comes from: x_i acts on its own x_hat directly,
and on all of them through the mean and through the variance.

x, x_hat, dy and dx are (batch, channels); all others (channels,). A channel is
a neuron of the chapter.
"""

import numpy as np

EPSILON = 1e-5


def forward(x, gamma, beta):
    """y, and what the backward pass needs: x_hat and inv_std."""
    centred = x - x.mean(axis=0)
    inv_std = 1 / np.sqrt((centred**2).mean(axis=0) + EPSILON)
    x_hat = centred * inv_std
    return gamma * x_hat + beta, x_hat, inv_std


def backward(dy, x_hat, inv_std, gamma):
    """dx, dgamma and dbeta."""
    # hole: the three gradients
    n = len(dy)
    dbeta = dy.sum(axis=0)
    dgamma = (dy * x_hat).sum(axis=0)
    dx = gamma * inv_std * (dy - dbeta / n - x_hat * dgamma / n)
    # end of hole
    return dx, dgamma, dbeta


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Probe, mistake

HINTS = [
    "dbeta and dgamma are sums over the batch, axis=0, of shape (channels,).",
    "n = len(dy). In dx, dbeta / n is the part that the mean is to blame for, and "
    "x_hat * dgamma / n that of the variance.",
    "gamma * inv_std multiplies all three terms.",
]

_rng = np.random.default_rng(72)


def _case(batch, channels):
    x, gamma = _rng.normal(size=(batch, channels)).round(1), _rng.normal(size=channels).round(1)
    _, x_hat, inv_std = forward(x, gamma, 0.0)
    return _rng.normal(size=(batch, channels)).round(1), x_hat, inv_std, gamma


CASES = [_case(4, 3), _case(5, 2)]
_X, _DY, _GAMMA = _rng.normal(size=(3, 2)), _rng.normal(size=(3, 2)), np.array([1.5, -0.5])


def _differences(backward_of):
    """dx of a learner's backward; what it should be are the differences of the forward pass."""
    _, x_hat, inv_std = forward(_X, _GAMMA, 0.0)
    dx, _, _ = backward_of(_DY, x_hat, inv_std, _GAMMA)
    return {"dx": dx, "sum of dx over the batch": dx.sum(axis=0) + 1.0}


CHECKS = [
    Agrees(backward, CASES, "dgamma", returns="dx dgamma dbeta", part="dgamma"),
    Agrees(backward, CASES, "dbeta", returns="dx dgamma dbeta", part="dbeta"),
    Agrees(backward, CASES, "dx", returns="dx dgamma dbeta", part="dx", points=2),
    Probe(backward, _differences, "the whole, on another batch"),
]


@mistake(backward, "a mean and a variance that count as constants")
def constants(dy, x_hat, inv_std, gamma):
    """dx has its first term only, as if mean and variance did not depend on x. They do: they are
    computed from the same batch."""
    return gamma * inv_std * dy, (dy * x_hat).sum(axis=0), dy.sum(axis=0)


@mistake(backward, "a variance that counts as constant")
def variance_constant(dy, x_hat, inv_std, gamma):
    """The mean's part is there, that of the variance is not: x_hat * dgamma / n is missing."""
    dx = gamma * inv_std * (dy - dy.mean(axis=0))
    return dx, (dy * x_hat).sum(axis=0), dy.sum(axis=0)


@mistake(backward, "a dx without gamma")
def without_gamma(dy, x_hat, inv_std, gamma):
    """On its way back the gradient passes the scale: multiply by gamma."""
    n, dbeta, dgamma = len(dy), dy.sum(axis=0), (dy * x_hat).sum(axis=0)
    return inv_std * (dy - dbeta / n - x_hat * dgamma / n), dgamma, dbeta


@mistake(backward, "a dx that is not divided by the standard deviation")
def without_inv_std(dy, x_hat, inv_std, gamma):
    """x_hat changes by inv_std if x changes by 1: multiply by inv_std."""
    n, dbeta, dgamma = len(dy), dy.sum(axis=0), (dy * x_hat).sum(axis=0)
    return gamma * (dy - dbeta / n - x_hat * dgamma / n), dgamma, dbeta


@mistake(backward, "a dx with sums where it needs means")
def sums(dy, x_hat, inv_std, gamma):
    """In dx, dbeta and dgamma are divided by n: each sample has one n-th part in the mean and in
    the variance."""
    dbeta, dgamma = dy.sum(axis=0), (dy * x_hat).sum(axis=0)
    return gamma * inv_std * (dy - dbeta - x_hat * dgamma), dgamma, dbeta


@mistake(backward, "a mean in the place of each sum")
def means(dy, x_hat, inv_std, gamma):
    """The gradients of gamma and beta are sums over the batch: dy has each sample's share of the
    mean loss already."""
    dbeta, dgamma = dy.mean(axis=0), (dy * x_hat).mean(axis=0)
    return gamma * inv_std * (dy - dbeta - x_hat * dgamma), dgamma, dbeta
