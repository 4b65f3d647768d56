"""Batch norm, backward

The forward pass is given. dy, the gradient with respect to y, comes from
above. Return the gradients with respect to x, gamma and beta:

    dbeta  = sum of dy over the batch
    dgamma = sum of dy x_hat over the batch

dx has three terms, since x_i acts on its own x_hat directly, and on all of
them through the mean and through the variance. Derive it, or write down what
you remember of the chapter's result. A test for it: dx has to sum to 0 over
the batch.

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

from minibnn.learn.author import Agrees, Differences, mistake

HINTS = [
    "dbeta and dgamma are sums over the batch, axis=0, of shape (channels,).",
    "n = len(dy). In dx, dy is what acts directly. Take away dbeta / n, for the mean, and "
    "x_hat * dgamma / n, for the variance.",
    "gamma * inv_std multiplies all three terms.",
]

_rng = np.random.default_rng(72)


def _case(batch, channels):
    x, gamma = _rng.normal(size=(batch, channels)).round(1), _rng.normal(size=channels).round(1)
    _, x_hat, inv_std = forward(x, gamma, 0.0)
    return _rng.normal(size=(batch, channels)).round(1), x_hat, inv_std, gamma


CASES = [_case(4, 3), _case(5, 2)]
CHECKS = [
    Agrees(backward, CASES, "dgamma", returns="dx dgamma dbeta", part="dgamma"),
    Agrees(backward, CASES, "dbeta", returns="dx dgamma dbeta", part="dbeta"),
    Agrees(backward, CASES, "dx", returns="dx dgamma dbeta", part="dx", points=2),
    Differences(backward, lambda x, dy, gamma: (dy * forward(x, gamma, 0.0)[0]).sum(), "x",
                [_case(3, 2)], "dx beside differences", returns="dx dgamma dbeta", part="dx",
                at=lambda dy, x_hat, inv_std, gamma: (x_hat / inv_std, dy, gamma)),
]  # fmt: skip


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


@mistake(backward, "a backward with dgamma and dbeta exchanged")
def exchanged(dy, x_hat, inv_std, gamma):
    """beta is added, so its gradient is the sum of dy alone. gamma multiplies x_hat, so x_hat is in
    its gradient."""
    n, dgamma, dbeta = len(dy), dy.sum(axis=0), (dy * x_hat).sum(axis=0)
    return gamma * inv_std * (dy - dbeta / n - x_hat * dgamma / n), dgamma, dbeta


@mistake(backward, "a mean in the place of each sum")
def means(dy, x_hat, inv_std, gamma):
    """The gradients of gamma and beta are sums over the batch: dy has each sample's share of the
    mean loss already."""
    dbeta, dgamma = dy.mean(axis=0), (dy * x_hat).mean(axis=0)
    return gamma * inv_std * (dy - dbeta - x_hat * dgamma), dgamma, dbeta
