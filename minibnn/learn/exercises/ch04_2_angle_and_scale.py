"""How far the signs are from the weights

A matrix W of real weights becomes a matrix of signs. How much of it is left?

First as an angle, as in the chapter. W and sign(W) are two vectors of as many
numbers as W has elements, and

    cos(angle) = mean of |w| / root of the mean of w^2

Then as a distance. The signs may be multiplied by a positive number a, the
scale. Which a makes the squared distance

    D(a) = sum of (w - a sign(w))^2

as small as possible? Set the derivative of D by a to zero, and use that
w sign(w) = |w| and sign(w)^2 = 1.

A layer's output neurons do not need the same scale: give each its own. W is
(in, out), so the weights of a neuron are a column of W.
"""

import numpy as np


def angle(W):
    """The angle between W and its signs, in degrees."""
    # hole: np.arccos gives radians, np.degrees makes degrees of them
    return np.degrees(np.arccos(np.abs(W).mean() / np.sqrt((W**2).mean())))
    # end of hole


def best_scales(W):
    """The scale with the smallest D for each output neuron, of shape (out,)."""
    return np.abs(W).mean(axis=0)  # hole: one number for each column


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Shapes, mistake

HINTS = [
    "The cosine is np.abs(W).mean() / np.sqrt((W**2).mean()). Then np.arccos, then np.degrees.",
    "The derivative of D is the sum of -2 sign(w) (w - a sign(w)), which is -2 (sum of |w| - a n) "
    "for n weights. For which a is it zero?",
    "a is the mean of |w|. Of each column: np.abs(W).mean(axis=0).",
]

_rng = np.random.default_rng(42)
MATRICES = [
    np.array([[0.5, -2.0], [-0.1, 1.0], [0.3, 0.4]]),
    np.array([[1.0, -0.5, 0.25, 0.0], [3.0, -0.5, -4.0, 1.5]]),
    _rng.normal(size=(5, 3)).round(2),
]
CHECKS = [
    Agrees(angle, MATRICES, "the angle in degrees", points=2),
    Shapes(best_scales, MATRICES, "a scale for each output"),
    Agrees(best_scales, MATRICES, "the best scales", points=2),
]


@mistake(angle, "the angle in radians")
def radians(W):
    """np.arccos gives radians, of which a right angle has 1.57. np.degrees makes degrees of
    them."""
    return np.radians(angle(W))


@mistake(angle, "the cosine, not the angle")
def cosine(W):
    """This is the cosine, a number up to 1. The angle is its arccos, in degrees."""
    return np.cos(np.radians(angle(W)))


@mistake(angle, "the angle from a mean square without its root")
def no_root(W):
    """A length is a root of a sum of squares: divide by the square root of the mean of w^2."""
    return np.degrees(np.arccos(np.clip(np.abs(W).mean() / (W**2).mean(), -1, 1)))


@mistake(angle, "the angle with a mean in which the signs cancel")
def without_magnitude(W):
    """The product of w and its sign is |w|, which is never negative. Take np.abs before the
    mean."""
    return np.degrees(np.arccos(W.mean() / np.sqrt((W**2).mean())))


@mistake(angle, "the angle to signs of which one is 0")
def with_a_zero(W):
    """np.sign(0) is 0, so a weight of 0 makes the vector of signs shorter. Here, as in all of the
    book, sign(0) is +1."""
    return np.degrees(np.arccos(np.abs(W).sum() / np.sqrt((W**2).sum() * (W != 0).sum())))


@mistake(best_scales, "the mean of the weights, not of their magnitudes")
def mean_of_weights(W):
    """Positive and negative weights cancel, so this is nearly 0. In the derivative of D, w meets
    its own sign, and w sign(w) = |w|."""
    return W.mean(axis=0)


@mistake(best_scales, "one scale for the whole matrix")
def one_scale(W):
    """There is a single number for all of W. Each output neuron has a scale of its own, from its
    column: axis=0."""
    return np.abs(W).mean()


@mistake(best_scales, "a scale for each input")
def of_rows(W):
    """axis=1 goes along a row: the weights from one input to all neurons. A neuron's weights are a
    column, so the mean goes along axis 0."""
    return np.abs(W).mean(axis=1)


@mistake(best_scales, "the root mean square")
def root_mean_square(W):
    """With it a sign(w) has the same length as w, but it is not the nearest: where the derivative
    of D is zero, a is a mean of magnitudes."""
    return np.sqrt((W**2).mean(axis=0))


@mistake(best_scales, "a sum, not a mean")
def sums(W):
    """-2 (sum of |w| - a n) is zero for a = sum / n: divide by the number of weights in the
    column."""
    return np.abs(W).sum(axis=0)
