"""The weighted sum of a neuron

A neuron has a weight w_i for each of its inputs x_i, and a bias b. It adds
up its inputs, each times its weight, and then the bias:

    z = x_1 w_1 + x_2 w_2 + ... + x_n w_n + b

Write it for one sample, where x and w have the shape (n,) and z is a number.
Then write it for a batch, where X has the shape (batch, n), a sample in each
row, and z has the shape (batch,).
"""

import numpy as np


def weighted_sum(x, w, b):
    """The sum z of one neuron for one sample x."""
    z = np.sum(x * w) + b  # hole: a number
    return z


def weighted_sums(X, w, b):
    """The sums of one neuron for each sample, each row of X."""
    return X @ w + b  # hole: shape (batch,)


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Shapes, mistake

HINTS = [
    "x * w multiplies the two arrays element by element. What is left to do with the products?",
    "np.sum(x * w) is the first part of z. For two vectors, x @ w is the same.",
    "For a matrix and a vector, X @ w multiplies each row of X with w and adds up: one number for "
    "each row. The bias comes last, and NumPy adds the number b to each of them.",
]

SAMPLES = [
    (np.array([1.0, 2.0]), np.array([0.5, -1.0]), 0.25),
    (np.array([0.5, -1.5, 2.0]), np.array([2.0, 1.0, -0.5]), -1.0),
]
BATCHES = [
    (np.array([[1.0, 2.0], [0.0, 3.0], [-1.0, 0.5]]), np.array([0.5, -1.0]), 0.25),
    (np.array([[0.5, -1.5, 2.0], [1.0, 0.0, 4.0]]), np.array([2.0, 1.0, -0.5]), -1.0),
]

CHECKS = [
    Agrees(weighted_sum, SAMPLES, "the sum for one sample", points=2),
    Shapes(weighted_sums, BATCHES, "one number for each sample of a batch"),
    Agrees(weighted_sums, BATCHES, "the sums for a batch"),
]


@mistake(weighted_sum, "the sum without the bias")
def without_bias(x, w, b):
    """The products are added up correctly; b is missing. Without a bias a neuron gives 0 whenever
    all inputs are 0, whatever it has learnt."""
    return np.sum(x * w)


@mistake(weighted_sum, "an array of products, not added up")
def not_added(x, w, b):
    """There is still a number for each input. A neuron has one output: add up its products."""
    return x * w + b


@mistake(weighted_sum, "the bias added once for each input")
def bias_often(x, w, b):
    """The bias is inside the sum, so it is added as often as there are inputs. It belongs behind
    the sum, once."""
    return np.sum(x * w + b)


@mistake(weighted_sum, "the product of two sums")
def product_of_sums(x, w, b):
    """The order matters: multiply each input with its own weight first, then add up."""
    return np.sum(x) * np.sum(w) + b


@mistake(weighted_sums, "one sum over the whole batch")
def over_the_batch(X, w, b):
    """All samples have become one number. Each sample has a sum of its own: add up over the
    inputs (axis 1), and not over the samples."""
    return np.sum(X * w) + b


@mistake(weighted_sums, "the sums without the bias")
def sums_without_bias(X, w, b):
    """The products are added up correctly for each sample; b is missing in all of them."""
    return X @ w
