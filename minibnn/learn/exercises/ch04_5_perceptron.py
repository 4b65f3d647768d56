"""The perceptron rule

Rosenblatt's rule trains one neuron that answers with a step, and needs no
derivative. It takes one sample at a time, and nothing happens if the neuron's
answer y is the target t. Otherwise, for answers 0 and 1 as in the chapter,

    w <- w + (t - y) x          b <- b + (t - y)

and the next sample meets the new w and b. Write the rule for a neuron of this
chapter, which answers with the sign of its score, +1 or -1 (+1 for a score of
zero). The targets are +1 and -1, too. The steps should be as long as before:
each step moves b by 1. What becomes of t - y?

Write one pass over the samples in the given order. x is (samples, in), t
(samples,), w (in,), b a number; order is an array of the samples' numbers.
Return the new w and b and the number of wrong answers on the way. Leave the
arrays that were passed as they are.
"""

import numpy as np


def one_pass(w, b, x, t, order):
    """w, b and the number of errors, after each sample of the order was shown once."""
    errors = 0
    for i in order:
        # hole: y for sample i; then w, b and errors, if it is wrong
        y = 1 if x[i] @ w + b >= 0 else -1
        if y != t[i]:
            w = w + t[i] * x[i]
            b = b + t[i]
            errors += 1
        # end of hole
    return w, b, errors


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Probe, mistake

HINTS = [
    "x[i] is one sample, of shape (in,), so x[i] @ w is a number.",
    "t[i] - y is +2 if the neuron should have said +1, -2 if it should have said -1, and 0 if it "
    "was right. A step has half of it: where the answer is wrong, that is t[i] itself.",
    "`w = w + ...` makes a new array. `w += ...` would change the one that was passed.",
]

_rng = np.random.default_rng(41)
_X = _rng.normal(size=(7, 3)).round(1)
_T = np.array([-1, 1, 1, -1, 1, -1, 1])
_ORDER = np.array([4, 0, 6, 2, 5, 1, 3])
CASES = [
    (np.zeros(3), 0.0, _X, _T, _ORDER),
    (np.array([0.5, -1.0, 0.3]), 0.25, _X, -_T, _ORDER[::-1].copy()),
    (np.zeros(2), 0.0, np.array([[1.0, 2.0], [-1.0, 1.0], [2.0, -1.0]]), np.array([-1, 1, -1]),
     np.array([0, 1, 2])),
    (np.array([1.0, 0.5, -2.0, 0.0]), 1.5, _rng.normal(size=(80, 4)), _rng.choice([-1, 1], size=80),
     _rng.permutation(80)),  # so many that different mistakes make different numbers of errors
]  # fmt: skip


def until_right(one_pass):
    """How many passes until there is no error, for samples that a straight cut divides."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5))
    t = np.where(x @ np.array([1.0, -2.0, 0.5, 0.0, 1.0]) + 0.3 >= 0, 1, -1)
    w, b, errors, passes = np.zeros(5), 3.0, 1, 0
    while errors and passes < 200:
        w, b, errors = one_pass(w, b, x, t, rng.permutation(60))
        passes += 1
    return {"passes until no error": passes, "w in the end": w, "b in the end": b}


CHECKS = [
    Agrees(one_pass, CASES, "w after a pass", points=2, returns="w b errors", part="w"),
    Agrees(one_pass, CASES, "b after a pass", returns="w b errors", part="b"),
    Agrees(one_pass, CASES, "the number of errors", returns="w b errors", part="errors"),
    Probe(one_pass, until_right, "trained until a cut is found"),
]


def _other(answer=None, step=1.0, bias=1.0):
    """A pass with another answer or step."""

    def one_pass(w, b, x, t, order):
        errors = 0
        for i in order:
            y = 1 if x[i] @ w + b >= 0 else -1
            errors += int(y != t[i])
            by = step * (t[i] - (y if answer is None else answer(x[i] @ w + b))) / 2
            w, b = w + by * x[i], b + bias * by
        return w, b, errors

    return one_pass


@mistake(one_pass, "a pass in the wrong direction")
def wrong_direction(*given):
    """It moves the weights away from the samples that should be +1, so each error makes the next
    more likely. The step has the sign of t - y."""
    return _other(step=-1.0)(*given)


@mistake(one_pass, "a pass that does not train the bias")
def no_bias(*given):
    """The bias is like a weight whose input is always 1: it moves whenever w does."""
    return _other(bias=0.0)(*given)


@mistake(one_pass, "a pass whose answers leave out the bias")
def answers_without_bias(w, b, x, t, order):
    """b has no part in the answers here. The score is x w + b."""
    errors = 0
    for i in order:
        y = 1 if x[i] @ w >= 0 else -1
        if y != t[i]:
            w, b, errors = w + t[i] * x[i], b + t[i], errors + 1
    return w, b, errors


@mistake(one_pass, "a pass with the score in the place of the answer")
def with_score(*given):
    """t - z is another rule (of Widrow and Hoff, 1960), which moves the weights for right answers,
    too. Here the neuron's answer is +1 or -1."""
    return _other(answer=lambda z: z, step=2.0)(*given)


@mistake(one_pass, "a pass with the tangent in the place of the sign")
def tangent(*given):
    """tanh is a soft sign, and moves the weights for right answers, too. The perceptron's answer is
    hard, +1 or -1."""
    return _other(answer=np.tanh, step=2.0)(*given)


@mistake(one_pass, "a pass with steps that are twice as long")
def twice(*given):
    """t - y is +2 or -2 where the answer is wrong. The steps should be as long as those with
    answers of 0 and 1, where it is +1 or -1."""
    return _other(step=2.0)(*given)


@mistake(one_pass, "a pass with answers of 0 and 1")
def zero_or_one(*given):
    """The targets here are +1 and -1. An answer of 0 equals none of them, and counts as wrong each
    time."""
    w, b, x, t, order = given
    errors = 0
    for i in order:
        y = 1 if x[i] @ w + b >= 0 else 0
        errors += int(y != t[i])
        w, b = w + (t[i] - y) * x[i], b + (t[i] - y)
    return w, b, errors


@mistake(one_pass, "a pass in which a score of zero says no")
def zero_says_no(*given):
    """At a score of exactly 0, as with weights of 0, the answer is +1: the condition is >= 0."""
    w, b, x, t, order = given
    errors = 0
    for i in order:
        y = 1 if x[i] @ w + b > 0 else -1
        errors += int(y != t[i])
        w, b = w + (t[i] - y) / 2 * x[i], b + (t[i] - y) / 2
    return w, b, errors


@mistake(one_pass, "a pass in which a score of zero is always wrong")
def zero_is_wrong(w, b, x, t, order):
    """At a score of exactly 0, as with weights of 0, the answer is +1, which is right if the target
    is +1. np.sign gives 0 there, and t z <= 0 holds for both targets."""
    errors = 0
    for i in order:
        if t[i] * (x[i] @ w + b) <= 0:
            w, b, errors = w + t[i] * x[i], b + t[i], errors + 1
    return w, b, errors


@mistake(one_pass, "a pass with all answers by the first weights")
def by_the_first(w, b, x, t, order):
    """All samples were answered before anything moved. Each sample has to meet the weights that the
    samples before it left behind: compute y inside of the loop, from the new w and b."""
    y = np.where(x @ w + b >= 0, 1, -1)
    by = (t - y) / 2
    return w + by @ x, b + by.sum(), int((by != 0).sum())


@mistake(one_pass, "a pass in the order of the data")
def in_order(w, b, x, t, order):
    """Take the samples in the given order: `for i in order`, and sample i is x[i]."""
    return _other()(w, b, x, t, np.sort(order))
