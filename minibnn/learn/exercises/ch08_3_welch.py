"""Welch's test

Two methods a and b, each run with a few seeds. Their numbers of seeds may
differ, and so may their spreads. With s^2 the variance (with n - 1) and
q = s^2 / n for each:

    t = (mean of a - mean of b) / sqrt(q_a + q_b)

    f = (q_a + q_b)^2 / (q_a^2 / (n_a - 1) + q_b^2 / (n_b - 1))

f are the degrees of freedom. Whether the two are told apart depends on a
limit, which you are given as a function of f: they are if |t| > limit(f).
"""

import numpy as np


def welch(a, b):
    """t and f, for two arrays of scores."""
    # hole: two numbers
    q_a, q_b = np.var(a, ddof=1) / len(a), np.var(b, ddof=1) / len(b)
    t = (np.mean(a) - np.mean(b)) / np.sqrt(q_a + q_b)
    f = (q_a + q_b) ** 2 / (q_a**2 / (len(a) - 1) + q_b**2 / (len(b) - 1))
    # end of hole
    return t, f


def told_apart(a, b, limit):
    """True if the difference of a and b is beyond the limit, in either direction."""
    # hole: True or False
    t, f = welch(a, b)
    return bool(abs(t) > limit(f))
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake, parts

HINTS = [
    "q is np.var(a, ddof=1) / len(a): the square of the standard error.",
    "t is the difference of the means over the root of q_a + q_b. Type f as it stands.",
    "told_apart: either may be the better one, so compare abs(t).",
]

A, B = np.array([0.90, 0.92, 0.91, 0.94]), np.array([0.85, 0.93, 0.88])
C, D = np.array([0.70, 0.71]), np.array([0.80, 0.82, 0.81, 0.83, 0.79])


def always_3(f):
    return 3.0


def always_half(f):
    return 0.5


def five_minus_f(f):
    return 5.0 - f


def half_of_f(f):
    return f / 2


def always_1(f):
    return 1.0


E, F = np.array([0.0, 2.0]), np.array([0.0, 3.0, 6.0])  # t is -1
VERDICTS = [(C, D, always_3), (D, C, always_3), (A, B, always_3), (A, B, five_minus_f),
            (A, B, half_of_f), (A, B, always_half), (E, F, always_1)]  # fmt: skip
CHECKS = [
    *parts(welch, [(A, B), (C, D), (D, A)], "t f", points=2),
    Agrees(told_apart, VERDICTS, "told apart"),
]


@mistake(welch, "a test that does not divide each variance by its own number of runs")
def spreads(a, b):
    """The spread of single runs does not shrink with more seeds, but means are compared: divide a's
    variance by the number of a's runs, and b's by that of b's."""
    q_a, q_b = np.var(a, ddof=1), np.var(b, ddof=1)
    f = (q_a + q_b) ** 2 / (q_a**2 / (len(a) - 1) + q_b**2 / (len(b) - 1))
    return (np.mean(a) - np.mean(b)) / np.sqrt(q_a + q_b), f


@mistake(welch, "a t without the root")
def no_root(a, b):
    """q_a + q_b is the square of the error of a difference. Divide by its root."""
    q_a, q_b = np.var(a, ddof=1) / len(a), np.var(b, ddof=1) / len(b)
    return (np.mean(a) - np.mean(b)) / (q_a + q_b), welch(a, b)[1]


@mistake(welch, "a test in which the errors are added as they are")
def added(a, b):
    """Independent errors add up like the sides of a right angle: add their squares, then take the
    root."""
    q_a, q_b = np.var(a, ddof=1) / len(a), np.var(b, ddof=1) / len(b)
    _, f = welch(a, b)
    return (np.mean(a) - np.mean(b)) / (np.sqrt(q_a) + np.sqrt(q_b)), f


@mistake(welch, "a test with Student's degrees of freedom")
def student(a, b):
    """n_a + n_b - 2 assumes that both methods have the same spread. Welch's f does not: if one of
    them has most of the spread, hardly more than its own runs count."""
    return welch(a, b)[0], float(len(a) + len(b) - 2)


@mistake(welch, "a test with variances that are divided by n")
def biased(a, b):
    """np.var divides by n unless you say ddof=1. With few seeds that makes the luck look
    smaller than it is."""
    q_a, q_b = np.var(a) / len(a), np.var(b) / len(b)
    f = (q_a + q_b) ** 2 / (q_a**2 / (len(a) - 1) + q_b**2 / (len(b) - 1))
    return (np.mean(a) - np.mean(b)) / np.sqrt(q_a + q_b), f


@mistake(welch, "a t of the wrong sign")
def wrong_sign(a, b):
    """t is positive where a is the better one: mean of a minus mean of b."""
    t, f = welch(a, b)
    return -t, f


@mistake(told_apart, "a test that sees one direction only")
def one_sided(a, b, limit):
    """If b is the better one, t is negative. Nobody knew beforehand which would win: compare
    abs(t)."""
    t, f = welch(a, b)
    return bool(t > limit(f))


@mistake(told_apart, "a verdict upside down")
def inverted(a, b, limit):
    """A large t tells the two apart; a small one does not."""
    t, f = welch(a, b)
    return bool(abs(t) < limit(f))


@mistake(told_apart, "a fixed limit of 1.96")
def fixed(a, b, limit):
    """1.96 is the limit for known spreads. With a few runs it is larger; ask limit(f)."""
    t, _ = welch(a, b)
    return bool(abs(t) > 1.96)
