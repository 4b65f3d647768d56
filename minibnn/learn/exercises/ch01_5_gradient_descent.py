"""One step of gradient descent, and many

The gradient says in which direction the loss grows fastest. A step of
gradient descent goes a little in the other direction. The learning rate eta
says how far:

    w <- w - eta dw
    b <- b - eta db

Write the step first. It returns new values and leaves w and b as they are.

Then train a neuron: x is (batch, n), a sample in each row, t is (batch,),
the labels 0 and 1. The loss of several samples is the mean of their losses,
so the gradient is the mean of their gradients. Begin with w and b at 0, and
repeat `steps` times: the gradient on all samples, then a step.
"""

import numpy as np


def logistic(z):
    """The probability for a weighted sum z."""
    return 1 / (1 + np.exp(-z))


def step(w, b, dw, db, learning_rate):
    """The values of w and b after one step."""
    # hole: new_w and new_b
    new_w = w - learning_rate * dw
    new_b = b - learning_rate * db
    # end of hole
    return new_w, new_b


def train(x, t, learning_rate, steps):
    """The w and b of a neuron that has made this many steps on all samples."""
    w, b = np.zeros(x.shape[1]), 0.0
    for _ in range(steps):
        dz = logistic(x @ w + b) - t  # one number for each sample
        dw = x.T @ dz / len(t)  # hole: the mean over the samples of dz x, shape (n,)
        db = dz.mean()  # hole: the mean over the samples of dz, a number
        w, b = step(w, b, dw, db, learning_rate)
    return w, b


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import mistake, parts

HINTS = [
    "For the step, the two equations are two lines of Python: new_w = w - ... and new_b = b - ...",
    "In train, dz has a number for each sample, and x a row for each. The gradient of sample i "
    "is dz[i] * x[i]. You want the mean of these rows.",
    "x.T @ dz adds up dz[i] * x[i] over all samples. Divide by their number, len(t). For db, "
    "dz.mean() is all.",
]

STEPS = [
    (np.array([1.0, -2.0]), 0.5, np.array([0.3, 0.1]), -0.2, 0.1),
    (np.array([0.0, 1.0, 2.0]), -1.0, np.array([1.0, -1.0, 0.5]), 0.4, 2.0),
]
_X = np.array([[1.0, 0.2], [0.8, 1.5], [-0.6, 0.3], [-1.2, -0.4], [0.1, -0.9]])
TRAININGS = [
    (_X, np.array([1, 1, 0, 0, 0]), 0.5, 1),
    (_X[:4], np.array([1, 1, 0, 1]), 0.5, 20),
]

CHECKS = [
    *parts(step, STEPS, "new_w new_b"),
    *parts(train, TRAININGS, "w b"),
]


@mistake(step, "a step uphill")
def uphill(w, b, dw, db, learning_rate):
    """It adds the gradient, so the loss grows. The gradient points uphill; go the other way."""
    return w + learning_rate * dw, b + learning_rate * db


@mistake(step, "a step without the learning rate")
def without_rate(w, b, dw, db, learning_rate):
    """It goes as far as the gradient is long, which is usually much too far. Multiply the gradient
    by the learning rate."""
    return w - dw, b - db


@mistake(step, "a step that multiplies the old values by the learning rate")
def shrinks(w, b, dw, db, learning_rate):
    """The learning rate belongs to the gradient: it says how far a step goes. The old values stay
    whole."""
    return learning_rate * w - dw, learning_rate * b - db


@mistake(step, "a step that changes w itself")
def in_place(w, b, dw, db, learning_rate):
    """`w -= ...` changes the array that the caller has, too. Optimisers of libraries do that on
    purpose, to save memory; here the old values have to stay: write new_w = w - ..."""
    w -= learning_rate * dw
    return w, b - learning_rate * db


@mistake(train, "the sum over the samples in place of the mean")
def sums(x, t, learning_rate, steps):
    """The steps become longer with every further sample: with a thousand samples you would need a
    thousandth of the learning rate. Divide by the number of samples."""
    w, b = np.zeros(x.shape[1]), 0.0
    for _ in range(steps):
        dz = logistic(x @ w + b) - t
        w, b = step(w, b, x.T @ dz, dz.sum(), learning_rate)
    return w, b


@mistake(train, "the mean of dz times the mean of x")
def product_of_means(x, t, learning_rate, steps):
    """The order matters: multiply each sample by its own dz first, and take the mean of the
    products. With the means alone, samples of class 0 and 1 cancel out."""
    w, b = np.zeros(x.shape[1]), 0.0
    for _ in range(steps):
        dz = logistic(x @ w + b) - t
        w, b = step(w, b, dz.mean() * x.mean(axis=0), dz.mean(), learning_rate)
    return w, b


@mistake(train, "a mean over the inputs, not over the samples")
def wrong_number(x, t, learning_rate, steps):
    """x.T @ dz has been divided by the number of its columns, which are the inputs. The mean is
    over the samples, the rows: divide by len(x) or len(t)."""
    w, b = np.zeros(x.shape[1]), 0.0
    for _ in range(steps):
        dz = logistic(x @ w + b) - t
        w, b = step(w, b, x.T @ dz / x.shape[1], dz.mean(), learning_rate)
    return w, b
