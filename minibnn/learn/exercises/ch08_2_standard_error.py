"""Mean, spread and standard error

A method was run with n seeds. `scores` holds the accuracies.

    mean
    spread           the standard deviation of single runs, with n - 1
    standard error   of the mean: spread / sqrt(n)

Then plan ahead. With the same spread, how many seeds are needed for the
standard error to be at most `wanted`? A whole number, at least 2: a single
run has no spread.

And the other luck, that of the images: the standard deviation of an accuracy
p measured on m images is sqrt(p (1 - p) / m).
"""

from math import ceil, sqrt

import numpy as np


def mean_and_errors(scores):
    """The mean, the spread and the standard error."""
    # hole: three numbers
    mean, spread = np.mean(scores), np.std(scores, ddof=1)
    error = spread / sqrt(len(scores))
    # end of hole
    return mean, spread, error


def seeds_needed(spread, wanted):
    """The least number of seeds whose standard error is at most `wanted`."""
    return max(2, ceil((spread / wanted) ** 2))  # hole: spread / sqrt(n) <= wanted, and n >= 2


def luck_of_images(p, m):
    """The standard deviation of an accuracy p measured on m images."""
    return sqrt(p * (1 - p) / m)  # hole: the formula above


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake, parts

HINTS = [
    "np.std(scores, ddof=1) divides by n - 1.",
    "spread / sqrt(n) <= wanted means n >= (spread / wanted)^2. math.ceil rounds up.",
    "At least 2: max(2, ...).",
]

SCORES = [np.array([0.91, 0.89, 0.93, 0.90]), np.array([0.5, 0.8]), np.array([0.2, 0.6, 0.3])]
CHECKS = [
    *parts(mean_and_errors, SCORES, "mean spread error"),
    Agrees(seeds_needed, [(0.01, 0.003), (0.25, 0.125), (0.02, 0.05), (0.02, 0.013)],
           "how many seeds"),
    Agrees(luck_of_images, [(0.9, 500), (0.5, 10_000)], "the luck of the images"),
]  # fmt: skip


@mistake(mean_and_errors, "a spread that is divided by n")
def by_n(scores):
    """The deviations are taken from the mean of the same few runs, which lies in their middle. So
    they come out too small; n - 1 makes up for it."""
    spread = np.std(scores)
    return np.mean(scores), spread, spread / sqrt(len(scores))


@mistake(mean_and_errors, "an error that is divided by n, not by its root")
def error_by_n(scores):
    """Luck partly cancels, but not that fast: four times the seeds halve the error."""
    mean, spread, _ = mean_and_errors(scores)
    return mean, spread, spread / len(scores)


@mistake(mean_and_errors, "an error that is the spread")
def error_is_spread(scores):
    """The spread is that of a single run, and more seeds do not make it smaller. The mean of n runs
    is more certain than one run."""
    mean, spread, _ = mean_and_errors(scores)
    return mean, spread, spread


@mistake(mean_and_errors, "a variance in the place of the spread")
def variance(scores):
    """The spread is the root of the variance, in the unit of the scores."""
    mean, spread, _ = mean_and_errors(scores)
    return mean, spread**2, spread**2 / sqrt(len(scores))


@mistake(seeds_needed, "a number of seeds that is too small by a square")
def not_squared(spread, wanted):
    """The error falls with the root of n. To make it three times smaller you need nine times the
    seeds."""
    return max(2, ceil(spread / wanted))


@mistake(seeds_needed, "a number of seeds that is rounded down")
def rounded_down(spread, wanted):
    """The error has to be *at most* what is wanted: always round up. With a spread of 0.01 and 11
    seeds it is still above 0.003."""
    return max(2, int((spread / wanted) ** 2))


@mistake(seeds_needed, "a plan with a single seed")
def single(spread, wanted):
    """One run would do by the formula. But from one run nobody knows the spread: at least 2."""
    return ceil((spread / wanted) ** 2)


@mistake(luck_of_images, "a variance, without the root")
def no_root(p, m):
    """p (1 - p) / m is the variance. The standard deviation is its root."""
    return p * (1 - p) / m


@mistake(luck_of_images, "a luck that counts the right answers only")
def right_only(p, m):
    """An accuracy of 1 leaves nothing to luck, and neither does one of 0: the formula has the
    product p (1 - p)."""
    return sqrt(p / m)
