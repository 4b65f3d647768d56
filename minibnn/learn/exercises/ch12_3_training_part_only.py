"""Fit on the training part only

Somebody standardises the features: minus the mean, divided by the standard
deviation. And somebody else tests them. Where may the mean come from?

Write `prepare`: both parts, standardised with the mean and the standard
deviation of each feature (axis 0) in the training part. A feature that is
constant there has a standard deviation of 0; divide it by 1 instead. Return
the two new arrays.

Behind it stands a code that asks whether a standardised feature has reached a
threshold t. A device has no floats: it compares its readings, whole numbers,
with whole numbers. So write `on_device`: the smallest whole number r for each
feature so that x >= r is the same as (x - mean) / std >= t, for every whole
number x. std is positive. (An array of floats is fine if they are whole.)
"""

import numpy as np


def prepare(x_train, x_test):
    """Both parts, standardised; (n, features) each."""
    # hole: two new arrays
    mean, std = x_train.mean(axis=0), x_train.std(axis=0)
    std = np.where(std > 0, std, 1)
    new_train, new_test = (x_train - mean) / std, (x_test - mean) / std
    # end of hole
    return new_train, new_test


def on_device(mean, std, t):
    """Whole numbers (features,), for mean, std and t of shape (features,)."""
    return np.ceil(mean + t * std).astype(int)  # hole: chapter 7 also rounded its thresholds


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake, parts

HINTS = [
    "x_train.mean(axis=0) and x_train.std(axis=0), and nothing from x_test. The same numbers are "
    "used for both parts.",
    "np.where(std > 0, std, 1) puts a 1 where the standard deviation is 0.",
    "Multiply by std, and add the mean: (x - mean) / std >= t is the same as x >= mean + t std.",
    "A whole number has reached 4.2 if it has reached 5, and it has reached 4 if it has reached 4: "
    "that is np.ceil. .astype(int) makes whole numbers of floats.",
]

_rng = np.random.default_rng(123)
_TRAIN = np.round(_rng.normal([5, -40, 3, 0.5], [2, 30, 0, 0.3], (6, 4)), 1)
_TEST = np.round(_rng.normal([9, -90, 4, 0.6], [3, 50, 1, 0.3], (4, 4)), 1)
_CASES = [(_TRAIN, _TEST), (_TRAIN[:, :2], _TEST[:2, :2])]
_MEAN = np.array([4.0, -3.5, 10.0, -7.0, 0.25, -20.0])
_STD = np.array([2.0, 1.0, 0.5, 4.0, 1.5, 3.0])
_T = np.array([0.5, 1.25, -1.0, 0.3, 0.0, 1.1])
CHECKS = [
    *parts(prepare, _CASES, "new_train new_test"),
    Agrees(on_device, [(_MEAN, _STD, _T), (_MEAN[:3], _STD[3:], _T[1:4])], "whole numbers",
           points=2),
]  # fmt: skip


@mistake(prepare, "each part by its own statistics")
def own(x_train, x_test):
    """The test part was scaled by its own mean and deviation. On a device there is one sample at a
    time, and no mean of those to come; and a sensor that has drifted would never show. Use the
    training part's numbers for both."""
    return prepare(x_train, x_train)[0], prepare(x_test, x_test)[0]


@mistake(prepare, "a test part minus its own mean")
def own_mean(x_train, x_test):
    """The deviation is that of the training part, but the mean is not. A mean of the test part is
    something that a device never has. Use the training part's numbers for both."""
    new_train, new_test = prepare(x_train, x_test)
    return new_train, new_test - new_test.mean(axis=0)


@mistake(prepare, "a division by 0")
def by_zero(x_train, x_test):
    """A feature that is constant in the training part has a standard deviation of 0. Divide it by 1
    instead."""
    mean, std = x_train.mean(axis=0), x_train.std(axis=0)
    return (x_train - mean) / std, (x_test - mean) / std


@mistake(prepare, "a small number added to the deviation")
def with_eps(x_train, x_test):
    """It changes every feature a little, and makes huge numbers in the test part of one that is
    constant in training. Only where the deviation is 0, divide by 1."""
    mean, std = x_train.mean(axis=0), x_train.std(axis=0) + 1e-5
    return (x_train - mean) / std, (x_test - mean) / std


@mistake(prepare, "a deviation of at least 1")
def at_least_one(x_train, x_test):
    """A deviation of 0.3 became 1 here. Only one of exactly 0 is replaced."""
    mean, std = x_train.mean(axis=0), np.maximum(x_train.std(axis=0), 1)
    return (x_train - mean) / std, (x_test - mean) / std


@mistake(prepare, "the statistics of both parts together")
def pooled(x_train, x_test):
    """The mean was taken over both parts, so the training has seen something of the test. The test
    part has to stay unknown until the end."""
    both = np.concatenate([x_train, x_test])
    return prepare(both, x_train)[1], prepare(both, x_test)[1]


@mistake(prepare, "one mean for all features")
def one_mean(x_train, x_test):
    """Features have units of their own: take the mean and the deviation of each, along axis 0."""
    mean, std = x_train.mean(), x_train.std()
    return (x_train - mean) / std, (x_test - mean) / std


@mistake(prepare, "a division by the variance")
def by_variance(x_train, x_test):
    """The standard deviation is the root of the variance: x_train.std(axis=0)."""
    mean, var = x_train.mean(axis=0), x_train.var(axis=0)
    var = np.where(var > 0, var, 1)
    return (x_train - mean) / var, (x_test - mean) / var


@mistake(on_device, "thresholds rounded to the nearest")
def rounded(mean, std, t):
    """For 4.2 this gives 4. But 4 has not reached 4.2. Round up."""
    return np.round(mean + t * std).astype(int)


@mistake(on_device, "thresholds rounded down")
def down(mean, std, t):
    """For 4.2 this gives 4. But 4 has not reached 4.2. Round up."""
    return np.floor(mean + t * std).astype(int)


@mistake(on_device, "thresholds cut at the point")
def cut(mean, std, t):
    """astype(int) alone cuts towards zero: 4.2 becomes 4, which has not reached 4.2, although -4.2
    becomes -4, which is right. Round up on both sides of zero."""
    return (mean + t * std).astype(int)


@mistake(on_device, "thresholds one too high")
def above(mean, std, t):
    """floor + 1 is right except where mean + t std is a whole number already: x has reached 4 if it
    is 4."""
    return np.floor(mean + t * std).astype(int) + 1


@mistake(on_device, "a threshold in the wrong direction")
def wrong_side(mean, std, t):
    """(t - mean) / std takes t for a reading. But t is in standard deviations. Which reading is
    that?"""
    return np.ceil((t - mean) / std).astype(int)
