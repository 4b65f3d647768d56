"""Softmax, without overflow

A network for digits has ten outputs for each sample, the logits z. Softmax
makes probabilities of them, positive and with the sum 1:

    p_j = exp(z_j) / (exp(z_1) + ... + exp(z_10))

The exponential of 1000 is more than a float can hold. But softmax does not
change if the same number is subtracted from all logits of a sample, since
exp(z - m) = exp(z) / exp(m). With the largest of them subtracted, no exponent
is above 0, and nothing overflows.

Write it for a batch: z and p are (batch, classes), a sample in each row.
"""

import numpy as np


def softmax(z):
    """The probabilities p of each row of z."""
    # hole: p, from z with the largest of each row subtracted
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    # end of hole
    return p


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Shapes, mistake

HINTS = [
    "z.max(axis=1) is the largest of each row, of shape (batch,). To subtract it from each row it "
    "needs the shape (batch, 1): keepdims=True keeps the axis.",
    "Put the exponentials into an array e first. Then p is e divided by the sum of each of its "
    "rows.",
    "e = np.exp(z - z.max(axis=1, keepdims=True)), and the sum is e.sum(axis=1, keepdims=True).",
]

SMALL = [
    np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]]),
    np.array([[0.3, -0.3, 0.1, 2.0], [1.0, 1.0, 1.0, 1.0], [0.0, 5.0, -5.0, 0.2]]),
]
LARGE = [
    np.array([[1000.0, 999.0, -1000.0], [-1000.0, 0.0, 1000.0]]),
    np.array([[-1000.0, -1001.0], [1000.0, 1002.0], [3.0, 2.0]]),
]

CHECKS = [
    Shapes(softmax, SMALL, "the shape of z"),
    Agrees(softmax, SMALL, "probabilities of small logits"),
    Agrees(softmax, LARGE, "probabilities of large logits", points=2),
]


@mistake(softmax, "softmax without the largest logit subtracted")
def overflows(z):
    """It is right as long as the logits are small. exp(1000) is inf, and inf / inf is nan: subtract
    the largest logit of each row first."""
    e = np.exp(z)
    return e / e.sum(axis=1, keepdims=True)


@mistake(softmax, "softmax with the largest logit of the whole batch")
def whole_maximum(z):
    """Nothing overflows now. But for a row that lies far below the others, all exponentials are
    rounded to 0, and 0 / 0 is nan. Subtract from each row its own largest logit."""
    e = np.exp(z - z.max())
    return e / e.sum(axis=1, keepdims=True)


@mistake(softmax, "softmax over the samples, by columns")
def columns(z):
    """Each column has the sum 1 here, so the samples compete with each other. A sample is a row:
    its classes compete, along axis 1."""
    e = np.exp(z - z.max(axis=0))
    return e / e.sum(axis=0)


@mistake(softmax, "softmax over the whole batch")
def everything(z):
    """All numbers together have the sum 1. Each row needs it: sum with axis=1 and keepdims=True."""
    e = np.exp(z - z.max())
    return e / e.sum()


@mistake(softmax, "softmax with one sum for the whole batch")
def one_sum(z):
    """Your probabilities add up to 1 over the whole batch; each row has to. Sum with axis=1 and
    keepdims=True."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum()


@mistake(softmax, "an array of exponentials, not divided by their sum")
def not_divided(z):
    """They are positive, but their sum is not 1. Divide each row by its sum."""
    return np.exp(z - z.max(axis=1, keepdims=True))


@mistake(softmax, "a division by the sum, without exponentials")
def without_exponentials(z):
    """This has the sum 1, but a negative logit becomes a negative probability. The exponentials
    make all of them positive first."""
    return z / z.sum(axis=1, keepdims=True)
