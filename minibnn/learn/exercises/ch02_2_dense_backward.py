"""A dense layer, backward

PyTorch keeps the weights of a dense layer the other way round than this book,
with a *row* of W for each neuron. So its layer computes

    z = x W.T + b

Write the backward pass of this layer. The layer after it hands back dz, the
gradient of the loss by z, with the shape of z. Return three gradients: dx for
the layer before, dW and db for this one. Each has the shape of what it is the
gradient of:

    x, dx (batch, in)    W, dW (out, in)    b, db (out,)    dz (batch, out)

The formulas of the chapter do not fit here. Derive these on paper in the same
way: z[i, j] is the sum over k of x[i, k] W[j, k], plus b[j]. In which of the
z does W[j, k] occur, and with which factor? In which of them does x[i, k]?
"""

import numpy as np


def backward(dz, x, W):
    """The gradients by x, W and b."""
    dx = dz @ W  # hole: shape (batch, in)
    dW = dz.T @ x  # hole: shape (out, in)
    db = dz.sum(axis=0)  # hole: shape (out,)
    return dx, dW, db


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Differences, Shapes, mistake

HINTS = [
    "W[j, k] occurs in z[i, j] of every sample i, with the factor x[i, k]. So dW[j, k] is the sum "
    "over i of dz[i, j] x[i, k]. And x[i, k] occurs in z[i, j] of every neuron j.",
    "Let the shapes help: of all ways to multiply dz (batch, out) and W (out, in), with or without "
    "a transpose, one gives (batch, in).",
    "dz.T is (out, batch) and x is (batch, in), so their product is (out, in), and adds up over "
    "the batch by itself.",
    "np.sum has an argument axis: dz.sum(axis=0) adds up the rows, so that one number for each "
    "column is left.",
]

_rng = np.random.default_rng(22)


def _numbers(*shape):
    return _rng.normal(size=shape).round(2)


CASES = [
    (_numbers(4, 2), _numbers(4, 3), _numbers(2, 3)),
    (_numbers(2, 3), _numbers(2, 5), _numbers(3, 5)),
]
NAMES = "dx dW db"

CHECKS = [
    Shapes(backward, CASES, "the shapes of x, W and b", returns=NAMES),
    Differences(backward, lambda dz, x, W: (dz * (x @ W.T)).sum(), "x", CASES, "dx",
                returns=NAMES, part="dx"),
    Differences(backward, lambda dz, x, W: (dz * (x @ W.T)).sum(), "W", CASES, "dW",
                returns=NAMES, part="dW"),
    Differences(backward, lambda dz, x, W, b: (dz * (x @ W.T + b)).sum(), "b", CASES, "db",
                returns=NAMES, part="db", at=lambda dz, x, W: (dz, x, W, np.zeros(len(W)))),
]  # fmt: skip


@mistake(backward, "dx by the formula of the chapter")
def with_transpose(dz, x, W):
    """In the chapter W is (in, out), and the way back needs its transpose. Here the way forward has
    the transpose already. Sum over the neurons j: which index of W is that?"""
    return dz @ W.T, dz.T @ x, dz.sum(axis=0)


@mistake(backward, "the transpose of dW")
def transposed(dz, x, W):
    """It has the shape (in, out), as in the chapter. Here W is (out, in), so it cannot be
    subtracted from W: what has `out` as its first axis comes first."""
    return dz @ W, x.T @ dz, dz.sum(axis=0)


@mistake(backward, "the mean over the batch in dW")
def mean_of_weights(dz, x, W):
    """dW adds up over the samples. If the loss is a mean over the batch, its gradient dz has been
    divided by the batch size already: dividing again would do it twice."""
    return dz @ W, dz.T @ x / len(x), dz.sum(axis=0)


@mistake(backward, "the mean over the batch in db")
def mean_of_bias(dz, x, W):
    """db is the sum over the samples. If the loss is a mean, its gradient dz has been divided by
    the batch size already."""
    return dz @ W, dz.T @ x, dz.mean(axis=0)


@mistake(backward, "db summed over the neurons")
def wrong_axis(dz, x, W):
    """axis=1 leaves one number for each sample. But b has one for each neuron, and each bias acts
    on all samples: add up over the batch, which is axis 0."""
    return dz @ W, dz.T @ x, dz.sum(axis=1)


@mistake(backward, "db not summed at all")
def not_summed(dz, x, W):
    """This is the gradient of each sample, with the shape of dz. The samples share one b: its
    gradient is the sum of theirs."""
    return dz @ W, dz.T @ x, dz


@mistake(backward, "db as a single number")
def over_everything(dz, x, W):
    """Without an axis, sum adds up everything. Each neuron has a bias of its own, so one number for
    each column has to stay: axis=0."""
    return dz @ W, dz.T @ x, dz.sum()
