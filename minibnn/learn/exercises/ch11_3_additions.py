"""A product by additions alone

x is real, of shape (n, k). W is -1 and +1, of shape (k, m). Compute x @ W
without a multiplication:

    z[i, j]  =  the sum of the x[i, l] with W[l, j] = +1
              - the sum of the x[i, l] with W[l, j] = -1

A loop over the columns of W is fine; x[:, mask] chooses columns of x. The
checks give your functions arrays of numbers that notice if they are
multiplied.

The same sums, a little cheaper: let s be the sum of a whole row of x, and p
the sum where W is +1. Then nobody has to add the elements where W is -1. And
s is the same for all columns of W, so it is computed once. `from_half(p, s)`
makes z, of shape (n, m), from p of shape (n, m) and s of shape (n,), again
without a multiplication.
"""

import numpy as np


def signed_sums(x, W):
    """x @ W for W of -1 and +1, by additions and subtractions."""
    # hole: column by column
    columns = [x[:, positive].sum(axis=1) - x[:, ~positive].sum(axis=1) for positive in W.T > 0]
    return np.stack(columns, axis=1)
    # end of hole


def from_half(p, s):
    """z from the sums where W is +1 and the sums of whole rows."""
    return p + p - s[:, np.newaxis]  # hole: z, of shape (n, m)


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Probe, Shapes, mistake

HINTS = [
    "For one column: positive = W[:, j] > 0 is a mask of k values. x[:, positive].sum(axis=1) is "
    "the first sum, and ~positive is where W is -1.",
    "np.stack(columns, axis=1) puts the columns side by side.",
    "from_half: the sum where W is -1 is s - p. And s belongs to the rows, so it needs the shape "
    "(n, 1): s[:, np.newaxis].",
]

_rng = np.random.default_rng(11)


def _signs(*shape):
    return np.where(_rng.random(shape) < 0.5, -1.0, 1.0)


_ALIKE = np.array([[1.0, -1.0], [1.0, -1.0], [1.0, -1.0]])  # columns of one sign
CASES = [
    (_rng.integers(-9, 10, (2, 5)) / 4, _signs(5, 3)),
    (_rng.integers(-9, 10, (4, 3)) / 4, _ALIKE),
    (_rng.normal(size=(6, 30)).round(2), _signs(30, 7)),
]
HALVES = [(x @ np.maximum(W, 0), x.sum(axis=1)) for x, W in CASES]


class Counted:
    """A number; all of them together count their multiplications and divisions."""

    multiplications = 0

    def __init__(self, value):
        self.value = float(value)

    def __float__(self):
        return self.value

    def __add__(self, other):
        return Counted(self.value + float(other))

    def __sub__(self, other):
        return Counted(self.value - float(other))

    def __rsub__(self, other):
        return Counted(float(other) - self.value)

    def __neg__(self):
        return Counted(-self.value)

    def __mul__(self, other):
        Counted.multiplications += 1
        return Counted(self.value * float(other))

    __radd__, __rmul__, __truediv__ = __add__, __mul__, __mul__


def _counted(a):
    found = np.empty(a.shape, object)
    for at, value in np.ndenumerate(a):
        found[at] = Counted(value)
    return found


def without(*arguments):
    """A probe: whether numbers are multiplied; arguments of reals are counted."""

    def probe(function):
        Counted.multiplications = 0
        given = [_counted(a) if (abs(a) != 1).any() else a for a in arguments]
        z = function(*given)
        z = z if z is None else np.asarray(z, dtype=float)
        return {"multiplications": "some" if Counted.multiplications else "none", "z": z}

    return probe


CHECKS = [
    Shapes(signed_sums, CASES, "the shape of the product"),
    Agrees(signed_sums, CASES, "the product", points=2),
    Probe(signed_sums, without(*CASES[0]), "without multiplications"),
    Agrees(from_half, HALVES, "from half of the sums"),
    Probe(from_half, without(*HALVES[0]), "from half, without multiplications"),
]


@mistake(signed_sums, "a product in disguise")
def in_disguise(x, W):
    """It is right, but it multiplies: `@` and `*` do, by a mask of 0 and 1 as well. Choose
    elements, as in x[:, mask], and add."""
    return x @ W


@mistake(signed_sums, "a sum of the positive ones only")
def positive_only(x, W):
    """Where W is -1, the element does not drop out: it is subtracted. (With weights of 0 and 1 this
    would be the product.)"""
    return np.stack([x[:, column > 0].sum(axis=1) for column in W.T], axis=1)


@mistake(signed_sums, "a product with all signs turned")
def turned(x, W):
    """Plus and minus are exchanged: elements count as they are where W is +1."""
    return -signed_sums(x, W)


@mistake(signed_sums, "a result that is transposed")
def transposed(x, W):
    """A list of columns makes an array whose *rows* are these columns. np.stack(columns, axis=1)
    puts them side by side."""
    return signed_sums(x, W).T


@mistake(signed_sums, "a mean in the place of the sum")
def mean(x, W):
    """A product adds up, and divides by nothing."""
    return signed_sums(x, W) / len(W)


@mistake(from_half, "a difference that counts the positive ones once")
def once(p, s):
    """p - s is minus the sum where W is -1. z is p minus that sum: p - (s - p)."""
    return p - s[:, np.newaxis]


@mistake(from_half, "a sum with the sign turned")
def sign_turned(p, s):
    """What is subtracted is the sum where W is -1, that is s - p; not the one where it is +1."""
    return s[:, np.newaxis] - p - p


@mistake(from_half, "a multiplication in disguise")
def by_two(p, s):
    """It is right, but it multiplies. If it is by 2: p + p is the same without."""
    return 2 * p - s[:, np.newaxis]


@mistake(from_half, "all sums added")
def added(p, s):
    """p and s - p are the two sums. Added they give s, whatever W is; they have to be
    subtracted."""
    return p + s[:, np.newaxis]
