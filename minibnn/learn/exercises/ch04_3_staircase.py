"""Where the steps of the staircase are

A neuron answers sign(z) with z = x w, for a batch x of shape (batch, in) and
real weights w of shape (in,). All its weights stay as they are but one, w_i,
which we turn like a knob. The answer for a sample changes where its score
passes zero, and nowhere else. These are the steps of the staircase.

If the knob is turned from w_i to v, the score of sample s becomes

    z_s + (v - w_i) x_si

Solve for the v at which this is zero. A sample with x_si = 0 has no step: the
knob does not act on it.

Then count: how many of the samples get another answer if w_i becomes v?
"""

import numpy as np


def sign(x):
    """+1 where x >= 0, else -1."""
    return np.where(x >= 0, 1.0, -1.0)


def steps(x, w, i):
    """The values of w_i at which the score of a sample is zero, sorted."""
    # hole: an array with one value for each sample with x_si != 0
    x = x[x[:, i] != 0]
    return np.sort(w[i] - (x @ w) / x[:, i])
    # end of hole


def changed_answers(x, w, i, v):
    """How many samples change their answer if w_i becomes v; leave w as it is."""
    # hole: a whole number
    moved = w.copy()
    moved[i] = v
    return int((sign(x @ moved) != sign(x @ w)).sum())
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake

HINTS = [
    "Which term of the new score contains v? Set the score to zero, and bring everything else to "
    "the other side.",
    "x = x[x[:, i] != 0] keeps the samples that have a step. Then z = x @ w, and one division of "
    "arrays gives all steps, w_i - z_s / x_si; np.sort sorts them.",
    "For the count: moved = w.copy(), moved[i] = v, then compare sign(x @ moved) with sign(x @ w) "
    "and sum the True.",
]

_rng = np.random.default_rng(43)
_X = _rng.normal(size=(6, 3)).round(1)
_X[2, 1] = 0.0
_X[4, 0] = 0.0
_W = np.array([0.7, -0.4, 1.1])
_FEW = np.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-2.0, 2.0]])  # three at a step
_V = np.array([0.5, 0.25])
CHECKS = [
    Agrees(steps, [(_X, _W, 0), (_X, _W, 1), (_FEW, _V, 1)], "where the steps are", points=2),
    Agrees(changed_answers, [(_X, _W, 0, 0.2), (_X, _W, 1, 1.0), (_X, _W, 2, -0.5)],
           "how many answers change"),
    Agrees(changed_answers, [(_FEW, _V, 1, 0.5), (_FEW, np.array([0.5, 0.5]), 1, 0.25)],
           "how many, if scores are exactly 0"),
]  # fmt: skip


@mistake(steps, "the changes of the weight, not its values")
def changes(x, w, i):
    """-z / x_i is how far the knob has to be turned. The step is at w_i plus this."""
    return steps(x, w, i) - w[i]


@mistake(steps, "steps on the wrong side")
def wrong_side(x, w, i):
    """Here v is w_i + z / x_i. A sample with a positive score and a positive input needs a
    *smaller* weight for its score to become zero."""
    return np.sort(2 * w[i] - steps(x, w, i))


@mistake(steps, "steps that are not sorted")
def unsorted(x, w, i):
    """The values are right, but in the order of the samples. np.sort sorts them."""
    x = x[x[:, i] != 0]
    return w[i] - (x @ w) / x[:, i]


@mistake(steps, "steps at infinity")
def infinite(x, w, i):
    """A sample whose input i is 0 divides by 0. Its score does not depend on this weight, so there
    is no step: leave the sample out."""
    with np.errstate(all="ignore"):
        return np.sort(w[i] - (x @ w) / x[:, i])


@mistake(steps, "a score that lacks the input of the weight itself")
def without_itself(x, w, i):
    """The score z is of all weights as they are, that of input i among them."""
    x = x[x[:, i] != 0]
    return np.sort(w[i] - (x @ w - w[i] * x[:, i]) / x[:, i])


@mistake(changed_answers, "the number of positive answers")
def positive(x, w, i, v):
    """It counts the samples whose new answer is +1, whatever the old one was. Compare the new signs
    with the old ones."""
    moved = w.copy()
    moved[i] = v
    return int((x @ moved >= 0).sum())


@mistake(changed_answers, "the samples whose score changed")
def scores(x, w, i, v):
    """Nearly every score changes a little, and most answers do not. Compare the signs of the
    scores."""
    moved = w.copy()
    moved[i] = v
    return int((x @ moved != x @ w).sum())


@mistake(changed_answers, "a comparison of w with itself")
def alias(x, w, i, v):
    """`moved = w` is no copy: both names mean one array, and moved[i] = v changes it for both. Take
    w.copy()."""
    w[i] = v
    return 0


@mistake(changed_answers, "a count in which every score of 0 changes its answer")
def zero_apart(x, w, i, v):
    """A score of exactly 0 answers +1, so touching zero may or may not change the answer. Compare
    what `sign` gives."""
    moved = w.copy()
    moved[i] = v
    return int((np.sign(x @ moved) != np.sign(x @ w)).sum())


@mistake(changed_answers, "a count in which no score of 0 changes its answer")
def zero_never(x, w, i, v):
    """A score of exactly 0 answers +1, so touching zero may or may not change the answer. Compare
    what `sign` gives."""
    moved = w.copy()
    moved[i] = v
    return int(((x @ moved) * (x @ w) < 0).sum())


@mistake(changed_answers, "a count in which a score of 0 answers -1")
def zero_is_no(x, w, i, v):
    """A score of exactly 0 answers +1. Compare what `sign` gives."""
    moved = w.copy()
    moved[i] = v
    return int(((x @ moved > 0) != (x @ w > 0)).sum())


@mistake(changed_answers, "the weight moved by v, not to v")
def moved_by(x, w, i, v):
    """v is the new value of the weight: moved[i] = v, without the old one."""
    return changed_answers(x, w, i, w[i] + v)
