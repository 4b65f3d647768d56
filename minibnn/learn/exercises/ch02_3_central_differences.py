"""The gradient by differences

A backward pass is easily wrong, and a network with a wrong gradient often
learns a little all the same. So compare it with differences, which need the
forward pass alone. To find the slope of f at x, go a small way h to both
sides:

    df/dx  is about  (f(x + h) - f(x - h)) / (2 h)

Here f takes an array and returns a number. Move one element x_i at a time,
and leave all others where they are. This is the gradient, with the shape of
x. Leave x itself as it is: move a copy.

Then write a comparison of two gradients. The error of an element is relative
to the larger of the two magnitudes there:

    error = |a - n| / max(|a|, |n|)

where a is the gradient from backward and n the one by differences; where
both are 0 the error is 0. Return the largest error of all elements.
"""

import numpy as np


def differences(f, x, h):
    """The gradient at x, by central differences, of an f that returns a number."""
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):  # every index of x: (0, 0), (0, 1), ...
        # hole: gradient[place], from f at two copies of x, one element moved
        up, down = x.copy(), x.copy()
        up[place] += h
        down[place] -= h
        gradient[place] = (f(up) - f(down)) / (2 * h)
        # end of hole
    return gradient


def worst_error(a, n):
    """The largest relative error of two gradients of the same shape."""
    # hole: a number; mind the elements where both are 0
    larger = np.maximum(np.abs(a), np.abs(n))
    error = np.abs(a - n) / np.where(larger == 0, 1, larger)
    return error.max()
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Probe, mistake

HINTS = [
    "x.copy() is an array of its own. With place = (0, 1), "
    "`up[place] += h` moves one element of it.",
    "gradient[place] = (f(up) - f(down)) / (2 * h): the two are 2 h apart, not h.",
    "np.maximum(np.abs(a), np.abs(n)) is the larger magnitude, element by element. Where it is 0, "
    "replace it by 1, with np.where(larger == 0, 1, larger): then the error there is 0 / 1.",
]


def cubes(x):
    """A function whose central and one-sided differences differ much, if h is large."""
    return (x**3).sum() + x.flat[0] * x.flat[-1]


POINTS = [
    np.array([1.0, -2.0, 0.5]),
    np.array([[0.5, 2.0], [-1.0, 3.0], [1.5, 0.0]]),
]


def at_points(differences):
    """The gradients at both points, with a large h, so that all ways to do it differ."""
    found = {}
    for point, h in zip(POINTS, (0.25, 0.5), strict=True):  # for 0.5 alone, 2 h would be 1
        x = point.copy()
        gradient = differences(cubes, x, h)
        found[f"x after differences(f, x, {h}): your function leaves x changed"] = x
        found[f"differences(f, x, {h}) for x of shape {x.shape}"] = gradient
    return found


PAIRS = [
    (np.array([1.0, -2.0]), np.array([1.0, -2.5])),
    (np.array([[0.0, 4.0], [-1.0, 0.01]]), np.array([[0.0, 4.1], [-1.0, 0.02]])),
    (np.array([-3.0, 1.0]), np.array([-2.0, 1.0])),
    (np.array([1.0, 2.0]), np.array([1.0, -2.0])),
    (np.array([0.5, 0.0]), np.zeros(2)),
    (np.zeros(2), np.array([0.0, -0.5])),
    (np.zeros(2), np.zeros(2)),
]

CHECKS = [
    Probe(differences, at_points, "the gradient of a sum of cubes", points=2),
    Agrees(worst_error, PAIRS, "the largest relative error", points=2),
]


@mistake(differences, "the difference to one side")
def one_sided(f, x, h):
    """(f(x + h) - f(x)) / h is a slope as well, but its error shrinks only like h. To both sides it
    shrinks like h squared, which is what a strict comparison needs."""
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        up = x.copy()
        up[place] += h
        gradient[place] = (f(up) - f(x)) / h
    return gradient


@mistake(differences, "the difference divided by h in place of 2 h")
def twice(f, x, h):
    """The two points are 2 h apart, so the slope comes out twice as large as it is."""
    return 2 * differences(f, x, h)


@mistake(differences, "the slope with all elements moved at once")
def all_at_once(f, x, h):
    """x + h moves every element. This is the slope in one direction, along the diagonal, and so it
    is the same number for each element. Move one element at a time."""
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        gradient[place] = (f(x + h) - f(x - h)) / (2 * h)
    return gradient


@mistake(differences, "a difference that moves x itself, and not back")
def not_moved_back(f, x, h):
    """What it does to one element is still there when it comes to the next. Move copies, an
    x.copy() for each side: `up = x` would only be another name for x."""
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        x[place] += h
        above = f(x)
        x[place] -= 2 * h
        gradient[place] = (above - f(x)) / (2 * h)
    return gradient


@mistake(differences, "a gradient of zeros")
def zeros(f, x, h):
    """Either gradient[place] is never set, or f gave the same number twice. Are `up` and `down` two
    names of one array? Each has to be a copy of its own, x.copy()."""
    return np.zeros_like(x)


@mistake(worst_error, "the absolute error")
def absolute(a, n):
    """An error of 0.001 is nothing for a gradient of 4, and everything for one of 0.002. Divide by
    the larger of the two magnitudes."""
    return np.abs(a - n).max()


@mistake(worst_error, "an error without magnitudes")
def signed(a, n):
    """Differences and gradients may be negative, and a large negative error is an error. Take
    np.abs of the difference, and of both gradients."""
    larger = np.maximum(a, n)
    return ((a - n) / np.where(larger == 0, 1, larger)).max()


@mistake(worst_error, "the mean error")
def mean_error(a, n):
    """One wrong element among a thousand right ones hardly changes a mean. Take the largest
    error."""
    larger = np.maximum(np.abs(a), np.abs(n))
    return (np.abs(a - n) / np.where(larger == 0, 1, larger)).mean()


@mistake(worst_error, "nan, which is 0 divided by 0")
def nothing_by_nothing(a, n):
    """Where both gradients are 0 you divide 0 by 0, which gives nan, and nan passes or fails
    comparisons in ways that surprise. Such elements agree: their error is 0."""
    return (np.abs(a - n) / np.maximum(np.abs(a), np.abs(n))).max()
