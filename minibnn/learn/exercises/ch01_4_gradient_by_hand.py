"""The gradient of one neuron, by hand

The loss L depends on z, z depends on w and b. With the chain rule:

    z = x_1 w_1 + ... + x_n w_n + b
    p = 1 / (1 + exp(-z))
    L = -(t log(p) + (1 - t) log(1 - p))

    dL/dp = (p - t) / (p (1 - p))
    dp/dz = p (1 - p)

So dL/dz, the product of the two, is very simple: work it out on paper. Then
ask how z changes with each w_i, and with b.

In this book dv is short for dL/dv, the gradient of the loss by v. It has the
shape of v: here x, w and dw are (n,), and t, b, dz and db are numbers.
"""

import numpy as np


def logistic(z):
    """The probability for a weighted sum z."""
    return 1 / (1 + np.exp(-z))


def gradient(x, w, b, t):
    """dw and db for one sample x with label t."""
    p = logistic(x @ w + b)
    dz = p - t  # hole: dL/dz, from p and t
    dw = dz * x  # hole: dL/dw, shape (n,)
    db = dz  # hole: dL/db, a number
    return dw, db


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Differences, Shapes, mistake

HINTS = [
    "In dL/dp times dp/dz, the factor p (1 - p) cancels. What is left?",
    "If w_2 grows by a small h, z grows by h x_2. So dz/dw_2 is x_2, and dL/dw_2 is dz times x_2.",
    "All elements at once: dw is the number dz times the array x. If b grows by h, z grows by h, "
    "so db is dz itself.",
]


def loss(x, w, b, t):
    """The loss of one sample."""
    p = logistic(x @ w + b)
    return -(t * np.log(p) + (1 - t) * np.log(1 - p))


CASES = [
    (np.array([1.0, 2.0, -1.0]), np.array([0.5, -0.25, 1.0]), 0.2, 1),
    (np.array([0.5, -2.0]), np.array([1.0, 0.3]), -0.4, 0),
]

CHECKS = [
    Shapes(gradient, CASES, "dw has the shape of w, db is a number", returns="dw db"),
    Differences(gradient, loss, "w", CASES, "dw", points=2, returns="dw db", part="dw"),
    Differences(gradient, loss, "b", CASES, "db", returns="dw db", part="db"),
]


@mistake(gradient, "the gradient with the wrong sign, from t - p")
def wrong_sign(x, w, b, t):
    """t - p points downhill. The gradient points uphill: if p is larger than t, a larger z makes
    the loss larger, so dz has to be positive."""
    dz = t - logistic(x @ w + b)
    return dz * x, dz


@mistake(gradient, "the gradient with a factor p (1 - p) too much")
def factor_too_much(x, w, b, t):
    """p (1 - p) is dp/dz, and it cancels with the denominator of dL/dp. It would stay with a
    squared error, and a neuron that is sure and wrong would hardly learn."""
    p = logistic(x @ w + b)
    dz = (p - t) * p * (1 - p)
    return dz * x, dz


@mistake(gradient, "dz alone, without the input")
def without_input(x, w, b, t):
    """Each weight has the same gradient here. But a weight only matters as much as its input: z
    contains x_i w_i, so dz/dw_i is x_i."""
    dz = logistic(x @ w + b) - t
    return dz * np.ones_like(w), dz


@mistake(gradient, "the gradient times w in place of x")
def times_w(x, w, b, t):
    """dz times w is dx, the gradient by the input, which the layer before would need. z contains
    the product x_i w_i: its derivative by w_i is the other factor."""
    dz = logistic(x @ w + b) - t
    return dz * w, dz


@mistake(gradient, "the gradient of the bias times b")
def bias_times_b(x, w, b, t):
    """z contains b itself, not a square of it: if b grows by h, so does z. So db is dz, whatever
    b is."""
    dz = logistic(x @ w + b) - t
    return dz * x, dz * b


@mistake(gradient, "the slope of the logistic function alone")
def slope_alone(x, w, b, t):
    """p (1 - p) is dp/dz. The label does not occur in it, so it cannot be the gradient of a loss:
    multiply it by dL/dp."""
    p = logistic(x @ w + b)
    return p * (1 - p) * x, p * (1 - p)
