"""The weighted sum of a neuron

A neuron has a weight w_i for each of its inputs x_i, and a bias b. It adds
up its inputs, each times its weight, and then the bias:

    z = x_1 w_1 + x_2 w_2 + ... + x_n w_n + b

Write it for one sample, where x and w have the shape (n,) and z is a number.
Then write it for a batch, where x has the shape (batch, n), a sample in each
row, and z has the shape (batch,).

Then choose weights by thinking, as McCulloch and Pitts did. A neuron has four
inputs, each of them 0 or 1, and says "yes" if z >= 0. It should say "yes" if
at least two of the first three inputs are 1, but never if the fourth input
is 1: the fourth has a veto. Which w and b do this?
"""

import numpy as np


def weighted_sum(x, w, b):
    """The sum z of one neuron for one sample x."""
    z = np.sum(x * w) + b  # hole: a number
    return z


def weighted_sums(x, w, b):
    """The sums of one neuron for each sample, each row of x."""
    return x @ w + b  # hole: shape (batch,)


def two_of_three_and_a_veto():
    """The w, of shape (4,), and the b of the neuron with a veto."""
    w = np.array([1.0, 1.0, 1.0, -2.0])  # hole: an array of four numbers
    b = -1.5  # hole: a number
    return w, b


# ---- the learner's file ends here ------------------------------------------------------------

from itertools import product

from minibnn.learn.author import Agrees, Probe, mistake

HINTS = [
    "x * w multiplies the two arrays element by element. What is left to do with the products?",
    "np.sum(x * w) is the first part of z. For two vectors, x @ w is the same.",
    "For a matrix and a vector, x @ w multiplies each row of x with w and adds up: one number for "
    "each row. The bias comes last, and NumPy adds the number b to each of them.",
    "Leave the fourth input out at first. If three weights are 1, the sum of the products counts "
    "the inputs that are 1. Which b makes z negative for one of them, and not for two?",
    "With the fourth input on, z has to be negative even if all other inputs are 1: what is z "
    "then, without the fourth weight?",
]

SAMPLES = [
    (np.array([1.0, 2.0]), np.array([0.5, -1.0]), 0.25),
    (np.array([0.5, -1.5, 2.0]), np.array([2.0, 1.0, -0.5]), -1.0),
]
BATCHES = [
    (np.array([[1.0, 2.0], [0.0, 3.0], [-1.0, 0.5]]), np.array([0.5, -1.0]), 0.25),
    (np.array([[0.5, -1.5, 2.0], [1.0, 0.0, 4.0]]), np.array([2.0, 1.0, -0.5]), -1.0),
]


def answers(neuron):
    """What the neuron says to each of the 16 inputs."""
    w, b = neuron()
    w = np.asarray(w, dtype=float)
    if w.shape != (4,):
        raise ValueError(f"expected w of shape (4,), got {w.shape}")
    return {
        f"the answer to x = {list(bits)}": "yes" if np.dot(bits, w) + float(b) >= 0 else "no"
        for bits in product((0, 1), repeat=4)
    }


CHECKS = [
    Agrees(weighted_sum, SAMPLES, "the sum for one sample"),
    Agrees(weighted_sums, BATCHES, "the sums for a batch"),
    Probe(two_of_three_and_a_veto, answers, "two of three, and a veto", points=2),
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
def over_the_batch(x, w, b):
    """All samples have become one number. Each sample has a sum of its own: add up over the
    inputs (axis 1), and not over the samples."""
    return np.sum(x * w) + b


@mistake(weighted_sums, "the sums without the bias")
def sums_without_bias(x, w, b):
    """The products are added up correctly for each sample; b is missing in all of them."""
    return x @ w


@mistake(two_of_three_and_a_veto, "a neuron whose veto is too weak")
def weak_veto():
    """It is right as long as two of the first three inputs are 1. If all three are, they outvote
    the fourth. Its weight has to be large enough for the worst case."""
    return np.array([1.0, 1.0, 1.0, -1.0]), -1.5


@mistake(two_of_three_and_a_veto, "a neuron without a veto")
def no_veto():
    """It counts the first three inputs correctly. The fourth does nothing: it needs a weight that
    speaks for "no"."""
    return np.array([1.0, 1.0, 1.0, 0.0]), -1.5


@mistake(two_of_three_and_a_veto, "a neuron to which one input is enough")
def one_is_enough():
    """One of the first three inputs is enough for it. Look at z for exactly one input, and make it
    negative: the bias is too large."""
    return np.array([1.0, 1.0, 1.0, -4.0]), -0.5


@mistake(two_of_three_and_a_veto, "a neuron that wants all three inputs")
def all_three():
    """Two of the first three inputs are not enough for it. Look at z for exactly two inputs: it
    must not be negative, so the bias is too small."""
    return np.array([1.0, 1.0, 1.0, -2.0]), -2.5


@mistake(two_of_three_and_a_veto, "a neuron that says yes to everything")
def always_yes():
    """It says yes even if all inputs are 0, where z is b. The products have to reach a threshold,
    and b, which is added to them, is minus this threshold."""
    return np.array([1.0, 1.0, 1.0, -2.0]), 2.0


@mistake(two_of_three_and_a_veto, "a bias with the sign of a threshold")
def threshold():
    """The products have to reach a threshold, but the bias is added to them, and z compared with 0.
    So the bias is minus the threshold."""
    return np.array([1.0, 1.0, 1.0, -2.0]), 1.5
