"""The sign, and a binary layer

The sign has two values, and zero belongs to the upper one:

    sign(x) = +1 where x >= 0, else -1

np.sign is something else: it has a third value at zero.

A binary layer with binary outputs takes signs twice, of its weights and of
its scores:

    z = x sign(W)
    y = sign(z)

x is (batch, in), W holds real numbers (in, out), z and y are (batch, out).
Compute with floats: y has the values 1.0 and -1.0.
"""

import numpy as np


def sign(x):
    """+1.0 where x >= 0, else -1.0; the shape of x."""
    return np.where(x >= 0, 1.0, -1.0)  # hole: an array of two values


def binary_layer(x, W):
    """y, of shape (batch, out)."""
    return sign(x @ sign(W))  # hole: with the sign at both places


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake

HINTS = [
    "np.where(condition, a, b) takes a where the condition holds, and b elsewhere.",
    "The condition is x >= 0. Both zeros of a float, 0.0 and -0.0, fulfil it.",
    "The layer: z = x @ sign(W), and y is sign(z).",
]

NUMBERS = [np.array([-2.0, -0.0, 0.0, 0.5]), np.array([[1e-30, -1e-30, 3.0], [0.0, -7.0, 1.0]])]
X = np.array([[1.0, -1.0, 1.0, 1.0], [1.0, 1.0, -1.0, 1.0], [-1.0, -1.0, -1.0, 1.0]])
W = np.array([[0.3, -1.2, 0.1], [0.9, 0.4, 2.0], [-0.1, 0.0, 0.7], [0.2, -0.6, -3.0]])
REAL = np.array([[0.5, 1.0, 0.75, 0.75], [-3.0, 0.5, 1.0, 2.0]])
CHECKS = [
    Agrees(sign, NUMBERS, "the sign"),
    Agrees(binary_layer, [(X, W), (REAL, W[:, :2])], "a binary layer", points=2),
]


@mistake(sign, "a sign with three values")
def three_values(x):
    """np.sign(0) is 0, and a 0 does not fit into a bit. In a network of signs sums are often
    exactly 0: decide for +1 there."""
    return np.sign(x)


@mistake(sign, "a sign that is -1 at zero")
def negative_at_zero(x):
    """The condition is x > 0 in place of x >= 0. Either would do, if all agreed; minibnn, and this
    book, have +1 at zero."""
    return np.where(x > 0, 1.0, -1.0)


@mistake(sign, "a bit, 0 or 1, not a sign")
def zero_or_one(x):
    """The step from 0 to 1 carries the same bit, but here the values are -1 and +1."""
    return np.where(x >= 0, 1.0, 0.0)


@mistake(sign, "the sign upside down")
def upside_down(x):
    """It gives -1 to positive numbers. np.where takes its second argument where the condition
    holds."""
    return np.where(x >= 0, -1.0, 1.0)


@mistake(sign, "a sign that tells 0.0 from -0.0")
def of_the_bit(x):
    """np.copysign and np.signbit look at the bit of the sign, which -0.0 has, too. The two zeros
    are equal, and x >= 0 is true for both."""
    return np.copysign(1.0, x)


@mistake(binary_layer, "a layer that takes the signs of its inputs, too")
def signs_of_inputs(x, W):
    """z is x sign(W), with x as it is. It may be real, as the pixels in a first layer are."""
    return sign(sign(x) @ sign(W))


@mistake(binary_layer, "a layer with real weights")
def real_weights(x, W):
    """The output is binary, but the product uses W as it is. Take the sign of W, too."""
    return sign(x @ W)


@mistake(binary_layer, "a layer that returns its scores")
def scores(x, W):
    """The weights are binary, but the output is z. Take the sign of z, too."""
    return x @ sign(W)


@mistake(binary_layer, "a layer with a zero in its output")
def zeros(x, W):
    """Some sums of signs are exactly 0, and here y is 0 for them. Use your own sign for the scores,
    not np.sign."""
    return np.sign(x @ sign(W))
