"""The logistic function and the logit

A neuron's weighted sum z can be any number. The logistic function makes a
probability of it, the probability p that the sample belongs to class 1:

    p = 1 / (1 + exp(-z))

Its inverse is the logit, which takes the probability back to the sum:

    z = log(p / (1 - p))

Write both. They take a number or an array, and return the same shape.
"""

import numpy as np


def logistic(z):
    """The probability for a weighted sum z, elementwise."""
    return 1 / (1 + np.exp(-z))  # hole: the first equation


def logit(p):
    """The weighted sum for a probability p in (0, 1), elementwise."""
    return np.log(p / (1 - p))  # hole: the second equation


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake

HINTS = [
    "NumPy has exp and log, and both take arrays: np.exp(-z) is an array like z.",
    "Try it at z = 0: exp(0) is 1, so p is 1 / 2. What is p for a large z, say 10?",
    "The denominator needs brackets: 1 / (1 + ...). In the logit, p / (1 - p) are the odds; "
    "np.log of the odds is z.",
]

Z = np.array([-4.0, -1.0, 0.0, 0.5, 3.0])
P = np.array([0.02, 0.25, 0.5, 0.9])

CHECKS = [
    Agrees(logistic, [0.0, 2.0, Z], "the logistic function", points=2),
    Agrees(logit, [0.5, 0.75, P], "the logit", points=1),
]


@mistake(logistic, "exp(z) in place of exp(-z)")
def without_the_minus(z):
    """It gives 1 - p, the probability of class 0: it falls from 1 to 0 as z grows, and a
    probability of class 1 has to rise with z."""
    return 1 / (1 + np.exp(z))


@mistake(logistic, "1 / 1 + exp(-z), without brackets")
def without_brackets(z):
    """Python divides before it adds, so this is 1 + exp(-z), which is more than 1. Put brackets
    around the whole denominator."""
    return 1 / 1 + np.exp(-z)


@mistake(logistic, "the hyperbolic tangent")
def tangent(z):
    """It has the same shape, but runs from -1 to 1. A probability lies between 0 and 1; the
    two are related by p = (1 + tanh(z / 2)) / 2."""
    return np.tanh(z)


@mistake(logit, "the odds the wrong way round")
def wrong_way_round(p):
    """log((1 - p) / p) is -z: the logit of a probability above one half has to be positive."""
    return np.log((1 - p) / p)


@mistake(logit, "the odds without the logarithm")
def odds(p):
    """p / (1 - p) are the odds. They are exp(z), so z is their logarithm."""
    return p / (1 - p)


@mistake(logit, "the logarithm of p alone")
def log_p(p):
    """log(p) is never positive. The logit compares p with 1 - p: it is log(p) - log(1 - p)."""
    return np.log(p)
