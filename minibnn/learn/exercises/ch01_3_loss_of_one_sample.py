"""The loss of one sample

The neuron says that its sample belongs to class 1 with probability p. The
label t is what is true: 1 or 0. The cross-entropy is small if p is close to
t, and grows without a bound if p is close to the wrong end:

    L = -log(p)        if t is 1
    L = -log(1 - p)    if t is 0

Write it as one equation for both labels, without an `if`: t and 1 - t switch
a term on or off. (The logarithm is the natural one, np.log.)

For z = 800 the computer rounds p = 1 / (1 + exp(-z)) to exactly 1, and the
loss of t = 0 becomes -log(0), which is infinite. Computed from z, without p,
it stays finite:

    L = max(z, 0) - t z + log(1 + exp(-|z|))

The exponential cannot overflow here, since -|z| is never positive.

t, p and z are numbers or arrays of one shape; so is L, elementwise.
"""

import numpy as np


def loss(p, t):
    """The cross-entropy of probability p and label t."""
    return -(t * np.log(p) + (1 - t) * np.log(1 - p))  # hole: two terms, one for each label


def loss_from_sum(z, t):
    """The same from the weighted sum z, finite for every z."""
    return np.maximum(z, 0) - t * z + np.log(1 + np.exp(-np.abs(z)))  # hole: the third equation


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake

HINTS = [
    "Multiply log(p) by t: this is log(p) if t is 1, and 0 if t is 0. What does the other term "
    "have to be multiplied by?",
    "Both logarithms are negative or 0, and a loss is positive or 0: there is one minus in front "
    "of everything.",
    "The larger of z and 0, elementwise, is np.maximum(z, 0); np.max would look for the largest "
    "element. For -|z| write -np.abs(z).",
]

CASES = [(0.8, 1), (0.8, 0), (np.array([0.9, 0.1, 0.35, 0.35]), np.array([1, 1, 0, 1]))]
SUMS = [(1.5, 1), (1.5, 0), (np.array([-2.0, 0.0, 0.7, 3.0]), np.array([1, 1, 0, 0]))]
LARGE = [(800.0, 1), (800.0, 0), (-800.0, 1)]

CHECKS = [
    Agrees(loss, CASES, "the loss from p", points=2),
    Agrees(loss_from_sum, SUMS, "the loss from z"),
    Agrees(loss_from_sum, LARGE, "the loss from a very large z"),
]


@mistake(loss, "the logarithm without its minus")
def without_minus(p, t):
    """Logarithms of probabilities are negative, so this is negative, too, and becomes smaller the
    worse the neuron is. Training would make it worse still."""
    return t * np.log(p) + (1 - t) * np.log(1 - p)


@mistake(loss, "the term of class 1 alone")
def one_term(p, t):
    """It is 0 for every sample of class 0, whatever p is: nothing would be learnt from them. The
    second term, of 1 - t and 1 - p, is for these."""
    return -t * np.log(p)


@mistake(loss, "the loss with the labels exchanged")
def exchanged(p, t):
    """The loss has to be small where p is close to t. Look at t = 1: which of the two logarithms
    has to be left over?"""
    return -((1 - t) * np.log(p) + t * np.log(1 - p))


@mistake(loss, "the squared error")
def squared(p, t):
    """(p - t)^2 is a loss as well, but it is never more than 1: a neuron that is sure and wrong
    hardly notices. Take the logarithms of the text."""
    return (p - t) ** 2


@mistake(loss, "the logarithm to base 2")
def base_two(p, t):
    """That measures the loss in bits. It is right but for a constant factor, and the gradient gets
    this factor, too; the book takes the natural logarithm, np.log."""
    return -(t * np.log2(p) + (1 - t) * np.log2(1 - p))


@mistake(loss_from_sum, "the loss by way of p")
def by_way_of_p(z, t):
    """It is right for small z. For a large one p is rounded to 1 or to 0, and the logarithm of 0 is
    infinite. Take the equation that has no p in it."""
    p = 1 / (1 + np.exp(-z))
    return -(t * np.log(p) + (1 - t) * np.log(1 - p))


@mistake(loss_from_sum, "the logarithm of 1 + exp(z), not made safe")
def overflows(z, t):
    """log(1 + exp(z)) - t z is the same in mathematics, but exp(800) is more than a float can
    hold. With exp(-|z|) the exponential never exceeds 1."""
    return np.log(1 + np.exp(z)) - t * z
