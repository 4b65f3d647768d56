"""The angle between two gradients

Two gradients of the same shape are two directions. Their cosine is

    sum of a * b / (|a| |b|)        |a| = root of the sum of a^2

whatever their shape: all elements count as one vector. Return the angle in
degrees. Rounding may make the cosine of a direction with itself a little
larger than 1, or that with its opposite a little smaller than -1: limit it to
[-1, 1], or arccos gives nan.

A step of size eta against b changes the loss by about -eta times the sum of
a * b, if a is the true gradient. Does a step against b go downhill? (If the
sum is 0 it does not.)
"""

import numpy as np


def angle(a, b):
    """The angle between two arrays of the same shape, in degrees."""
    # hole: a number
    cosine = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    # end of hole


def goes_downhill(true, used):
    """True if a small step against `used` makes the loss smaller."""
    return bool((true * used).sum() > 0)  # hole: from the sum of the products


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake

HINTS = [
    "(a * b).sum() sums over all elements, whatever the shape.",
    "np.degrees(np.arccos(np.clip(cosine, -1, 1))).",
    "Downhill means that the loss changes by less than 0: the sum of products is positive, the "
    "angle below 90 degrees.",
]

_rng = np.random.default_rng(93)
A, B, C = (_rng.normal(size=(3, 4)) for _ in range(3))
V = np.array([0.1, 0.6, 0.3])  # its cosine with 3 V is rounded to more than 1


S, T, U = (array[:2].round(1) for array in (A, B, C))  # small enough to be shown
X, Y = np.array([1.0, 0.0]), np.array([0.0, 1.0])
DOWNHILL = [(S, S), (S, -S), (S, T), (S, U), (X, Y), (X, np.array([-0.01, 1.0])),
            (X, np.array([0.01, 1.0])), (np.array([1.0, 2.0]), np.array([3.0, 0.5]))]  # fmt: skip

CHECKS = [
    Agrees(angle, [(A, B), (A, -C), (X, np.array([2.0, 2.0])), (X, Y), (V, 3 * V), (V, -3 * V)],
           "the angle", points=2, tolerance=1e-3),
    Agrees(goes_downhill, DOWNHILL, "downhill or not"),
]  # fmt: skip


@mistake(angle, "an angle in radians")
def radians(a, b):
    """A right angle is 90 degrees, or 1.57 radians. np.degrees converts."""
    return np.radians(angle(a, b))


@mistake(angle, "the cosine, not the angle")
def cosine(a, b):
    """The cosine is 1 for the same direction and 0 for a right angle. np.arccos makes the angle of
    it."""
    return np.cos(np.radians(angle(a, b)))


@mistake(angle, "an angle that depends on the lengths")
def not_normed(a, b):
    """The sum of products grows with the lengths of both. Divide by |a| |b|."""
    return np.degrees(np.arccos(np.clip((a * b).sum(), -1, 1)))


@mistake(angle, "a length without the root")
def without_root(a, b):
    """|a| is the root of the sum of squares."""
    cosine = (a * b).sum() / ((a * a).sum() * (b * b).sum())
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


@mistake(goes_downhill, "a step uphill")
def uphill(true, used):
    """The step goes *against* `used`, so the loss changes by minus the sum of products."""
    return bool((true * used).sum() < 0)


@mistake(goes_downhill, "a rule that asks for the same signs everywhere")
def all_signs(true, used):
    """Some elements may push the wrong way, if the others outweigh them. The sum decides."""
    return bool((true * used > 0).all())


@mistake(goes_downhill, "an answer that is always yes")
def always(true, used):
    """Beyond 90 degrees the step leads uphill."""
    return True
