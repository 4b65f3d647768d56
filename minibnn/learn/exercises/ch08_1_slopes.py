"""Slopes of surrogates

A surrogate lends the sign its slope. Compute three of them, for an array x of
any shape:

    clipped    1 where |x| <= c, else 0                    c is given
    triangle   2 - 2 |x| where |x| <= 1, else 0
    wave       the derivative of tanh(b x)                 b is given

And a question that can be asked of each: how much does the surrogate rise
from `low` to `high`? That is the area under its slope between the two. Add up
the slope at the middles of n equal pieces, times the width of a piece.
"""

import numpy as np


def clipped(x, c):
    """The slope of clip(x, -c, c)."""
    return (np.abs(x) <= c).astype(float)  # hole: 1.0 or 0.0


def triangle(x):
    """The slope of ApproxSign."""
    return 2 * np.maximum(1 - np.abs(x), 0)  # hole: 2 at zero, 0 from 1 on


def wave(x, b):
    """The slope of tanh(b x)."""
    return b * (1 - np.tanh(b * x) ** 2)  # hole: mind the inner derivative


def rise(slope, low, high, n):
    """The area under slope(x) from low to high, by n middles."""
    # hole: a number
    width = (high - low) / n
    middles = low + (np.arange(n) + 0.5) * width
    return slope(middles).sum() * width
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Probe, mistake

HINTS = [
    "np.abs(x) <= c is an array of True and False; .astype(float) makes numbers of it.",
    "The triangle: np.maximum(1 - np.abs(x), 0) is 0 outside, without any condition.",
    "The derivative of tanh(u) is 1 - tanh(u)^2, and u = b x has the derivative b.",
    "The middles: low + (np.arange(n) + 0.5) * width, with width = (high - low) / n.",
]

X = np.array([-2.0, -1.0, -0.4, 0.0, 0.3, 0.9, 1.0, 1.5])


def _areas(rise_of):
    return {
        "the rise of the triangle from -1 to 1": rise_of(triangle, -1.0, 1.0, 40),
        "the rise of x^2 from 1 to 3": rise_of(lambda x: 2 * x, 1.0, 3.0, 7),
        "the rise of x^3 from 0 to 1": rise_of(lambda x: 3 * x**2, 0.0, 1.0, 5),
    }


CHECKS = [
    Agrees(clipped, [(X, 1.0), (X.reshape(2, 4), 0.5)], "the clip"),
    Agrees(triangle, [X, X.reshape(4, 2)], "the triangle"),
    Agrees(wave, [(X, 1.0), (X, 3.0)], "the derivative of tanh(b x)"),
    Probe(rise, _areas, "the rise"),
]


@mistake(clipped, "a clip without its ends")
def open_ends(x, c):
    """At |x| = c the slope still counts: the condition is <=."""
    return (np.abs(x) < c).astype(float)


@mistake(clipped, "the clipped value, not its slope")
def value(x, c):
    """clip(x, -c, c) is the surrogate itself. Its slope is 1 inside and 0 outside."""
    return np.clip(x, -c, c)


@mistake(triangle, "a triangle that goes on below zero")
def below_zero(x):
    """Outside [-1, 1] the slope is 0. Here it becomes negative, and pushes the scores that are far
    away in the wrong direction."""
    return 2 - 2 * np.abs(x)


@mistake(triangle, "a triangle of height 1")
def half_height(x):
    """Its tip is at 2: only then the surrogate rises by 2, from -1 to +1."""
    return np.maximum(1 - np.abs(x), 0)


@mistake(wave, "a derivative without the inner one")
def no_inner(x, b):
    """tanh(b x) is a function of a function. Multiply by the derivative of b x, which is b."""
    return 1 - np.tanh(b * x) ** 2


@mistake(wave, "a tanh that is not squared")
def not_squared(x, b):
    """The derivative of tanh(u) is 1 - tanh(u)^2. It is the same on both sides of zero."""
    return b * (1 - np.tanh(b * x))


@mistake(rise, "a sum without the width")
def no_width(slope, low, high, n):
    """The sum of the slopes grows with n. Each piece has the area slope times width."""
    return rise(slope, low, high, n) * n / (high - low)


@mistake(rise, "the left ends, not the middles")
def left_ends(slope, low, high, n):
    """The slope is taken at the left end of each piece. Take it at the middle: half a width
    further."""
    width = (high - low) / n
    return slope(low + np.arange(n) * width).sum() * width
