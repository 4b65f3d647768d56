"""The thermometer code

A thermometer code turns a number into signs: for each of some thresholds, +1
if the number has reached it, else -1.

First the thresholds. B of them cut the training values of each feature into
B + 1 parts of equally many values. They are the quantiles at 1/(B+1),
2/(B+1), ..., B/(B+1). x_train is (n, features); the thresholds are
(features, B), and those of a feature rise.

Then the code: first the B signs of feature 0, then those of feature 1, and so
on. For x of shape (n, features) the signs are (n, features * B). A device has
one sample at a time, so x may also be (features,). Then the signs are
(features * B,).
"""

import numpy as np


def thresholds(x_train, B):
    """The thresholds, shape (features, B)."""
    # hole: np.quantile(x_train, parts, axis=0) has shape (parts, features)
    parts = np.arange(1, B + 1) / (B + 1)
    return np.quantile(x_train, parts, axis=0).T
    # end of hole


def thermometer(x, t):
    """The signs, (n, features * B) or (features * B,), for thresholds (features, B)."""
    # hole: compare x[..., None] with t, and bring the result into shape
    signs = np.where(x[..., None] >= t, 1.0, -1.0)
    return signs.reshape(*x.shape[:-1], -1)
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake

HINTS = [
    "The parts for B = 3 are 1/4, 2/4 and 3/4: np.arange(1, B + 1) / (B + 1). Neither 0 nor 1 is "
    "one of them.",
    "np.quantile(x_train, parts, axis=0) has a row for each part. Turn it around with .T.",
    "x[..., None] has shape (n, features, 1) and t has (features, B), so x[..., None] >= t has "
    "shape (n, features, B). np.where makes signs of it, and .reshape(len(x), -1) puts the signs "
    "of each feature side by side.",
    "For a single sample the result has one axis. x.shape[:-1] is (n,) for a batch and () for one "
    "sample: .reshape(*x.shape[:-1], -1) is right for both.",
]

_rng = np.random.default_rng(121)
_TRAIN = np.round(_rng.normal(0, 1, (11, 3)) ** 3 * [1, 10, 100])
_T = np.array([[-2.0, 0.0], [1.0, 5.0], [-8.0, -3.0]])
_X = np.array([[-2.0, 4.0, -9.0], [-3.0, 5.0, -3.0], [0.0, 0.5, 7.0], [1.0, 1.0, -4.0]])
CHECKS = [
    Agrees(thresholds, [(_TRAIN, 3), (_TRAIN[:, :2], 4)], "the thresholds", points=2),
    Agrees(thermometer, [(_X, _T), (_X[:2, :2], _T[:2])], "the signs"),
    Agrees(thermometer, [(_X[0], _T), (_X[3, :2], _T[:2])], "the signs of one sample"),
]


@mistake(thresholds, "thresholds at equal distances")
def uniform(x_train, B):
    """They cut the *range* into equal parts. One very large value, and nearly all others fall into
    the first part. Quantiles cut the values into parts of equally many."""
    parts = np.arange(1, B + 1) / (B + 1)
    low, high = x_train.min(axis=0), x_train.max(axis=0)
    return low[:, None] + (high - low)[:, None] * parts


@mistake(thresholds, "thresholds at the ends, too")
def with_ends(x_train, B):
    """The first threshold is the least value and the last one the greatest. Every training value
    has reached the least, so that bit never changes and says nothing. Leave 0 and 1 out of the
    parts."""
    return np.quantile(x_train, np.linspace(0, 1, B), axis=0).T


@mistake(thresholds, "thresholds at 1/B, 2/B and so on")
def parts_of_b(x_train, B):
    """B thresholds cut the values into B + 1 parts, not B. Here the last threshold is the greatest
    value, which hardly any other value reaches."""
    return np.quantile(x_train, np.arange(1, B + 1) / B, axis=0).T


@mistake(thresholds, "thresholds of shape (B, features)")
def not_turned(x_train, B):
    """These are the right numbers, with a row for each part. A row for each feature is asked for:
    turn the array around."""
    return thresholds(x_train, B).T


@mistake(thresholds, "one set of thresholds for all features")
def shared(x_train, B):
    """The values of all features were thrown together. Features have units of their own; each
    needs its own thresholds. Take the quantiles along axis 0."""
    parts = np.arange(1, B + 1) / (B + 1)
    return np.tile(np.quantile(x_train, parts), (x_train.shape[1], 1))


@mistake(thermometer, "a code with > in the place of >=")
def strict(x, t):
    """A number that equals a threshold has reached it, so its sign is +1. Whole numbers meet a
    threshold often."""
    return np.where(x[..., None] > t, 1.0, -1.0).reshape(*x.shape[:-1], -1)


@mistake(thermometer, "bits of 0 and 1")
def zeros_and_ones(x, t):
    """A binary layer takes signs. A 0 would say nothing to any neuron; take -1."""
    return (x[..., None] >= t).reshape(*x.shape[:-1], -1).astype(float)


@mistake(thermometer, "a code in the order of the thresholds")
def by_threshold(x, t):
    """First come the first signs of all features, then the second ones. Each feature's signs have
    to be neighbours: the last axis before the reshape is that of the thresholds."""
    signs = np.where(x[..., None] >= t, 1.0, -1.0)
    return np.swapaxes(signs, -1, -2).reshape(*x.shape[:-1], -1)


@mistake(thermometer, "the thermometer upside down")
def upside_down(x, t):
    """+1 is for a number that has *reached* the threshold. Here it is +1 below."""
    return np.where(x[..., None] < t, 1.0, -1.0).reshape(*x.shape[:-1], -1)


@mistake(thermometer, "a code for batches only")
def batches_only(x, t):
    """The shape begins with len(x). For a batch that is n, but for one sample it is the number of
    features. Keep all axes of x but the last."""
    return np.where(x[..., None] >= t, 1.0, -1.0).reshape(len(x), -1)
