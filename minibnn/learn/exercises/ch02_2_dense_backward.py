"""A dense layer, backward

The layer after this one hands back dz, the gradient of the loss by z. It has
the shape of z. From it a dense layer, z = x W + b, has to compute three:

    dW = x.T dz                      what changes its weights
    db = the sum of dz over the batch
    dx = dz W.T                      what it hands back to the layer before

Each has the shape of what it is the gradient of:

    x, dx (batch, in)    W, dW (in, out)    b, db (out,)    dz (batch, out)

(If you like, derive one of them on paper first: W[k, j] occurs in z[i, j]
for each sample i, with the factor x[i, k].)
"""

import numpy as np


def backward(dz, x, W):
    """The gradients by x, W and b."""
    dx = dz @ W.T  # hole: shape (batch, in)
    dW = x.T @ dz  # hole: shape (in, out)
    db = dz.sum(axis=0)  # hole: shape (out,)
    return dx, dW, db


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Differences, Shapes, mistake

HINTS = [
    "Let the shapes lead: of all ways to multiply dz (batch, out) and W (in, out), with or without "
    "a transpose, one gives (batch, in).",
    "x.T is (in, batch) and dz is (batch, out), so x.T @ dz is (in, out), and adds up over the "
    "batch by itself.",
    "np.sum has an argument axis: dz.sum(axis=0) adds up the rows, so that one number for each "
    "column is left.",
]

_rng = np.random.default_rng(22)


def _numbers(*shape):
    return _rng.normal(size=shape).round(2)


CASES = [
    (_numbers(4, 2), _numbers(4, 3), _numbers(3, 2)),
    (_numbers(2, 3), _numbers(2, 5), _numbers(5, 3)),
]
NAMES = "dx dW db"

CHECKS = [
    Shapes(backward, CASES, "the shapes of x, W and b", returns=NAMES),
    Differences(backward, lambda dz, x, W: (dz * (x @ W)).sum(), "x", CASES, "dx",
                returns=NAMES, part="dx"),
    Differences(backward, lambda dz, x, W: (dz * (x @ W)).sum(), "W", CASES, "dW",
                returns=NAMES, part="dW"),
    Differences(backward, lambda dz, x, W, b: (dz * (x @ W + b)).sum(), "b", CASES, "db",
                returns=NAMES, part="db", at=lambda dz, x, W: (dz, x, W, np.zeros(W.shape[1]))),
]  # fmt: skip


@mistake(backward, "dx with W in place of its transpose")
def without_transpose(dz, x, W):
    """W leads from the inputs to the neurons. The way back goes through the same weights in the
    other direction, from (batch, out) to (batch, in), and this is W.T."""
    return dz @ W, x.T @ dz, dz.sum(axis=0)


@mistake(backward, "the transpose of dW")
def transposed(dz, x, W):
    """It has the shape (out, in), while W is (in, out), so it cannot be subtracted from W. Exchange
    the two: what has `in` as its first axis comes first."""
    return dz @ W.T, dz.T @ x, dz.sum(axis=0)


@mistake(backward, "the mean over the batch in dW")
def mean_of_weights(dz, x, W):
    """dW adds up over the samples. If the loss is a mean over the batch, its gradient dz has been
    divided by the batch size already: dividing again would do it twice."""
    return dz @ W.T, x.T @ dz / len(x), dz.sum(axis=0)


@mistake(backward, "the mean over the batch in db")
def mean_of_bias(dz, x, W):
    """db is the sum over the samples. If the loss is a mean, its gradient dz has been divided by
    the batch size already."""
    return dz @ W.T, x.T @ dz, dz.mean(axis=0)


@mistake(backward, "db summed over the neurons")
def wrong_axis(dz, x, W):
    """axis=1 leaves one number for each sample. But b has one for each neuron, and each bias acts
    on all samples: add up over the batch, which is axis 0."""
    return dz @ W.T, x.T @ dz, dz.sum(axis=1)


@mistake(backward, "db not summed at all")
def not_summed(dz, x, W):
    """This is the gradient of each sample, with the shape of dz. The samples share one b: its
    gradient is the sum of theirs."""
    return dz @ W.T, x.T @ dz, dz


@mistake(backward, "db as a single number")
def over_everything(dz, x, W):
    """Without an axis, sum adds up everything. Each neuron has a bias of its own, so one number for
    each column has to stay: axis=0."""
    return dz @ W.T, x.T @ dz, dz.sum()
