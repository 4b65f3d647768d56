"""How many steps until a flip

A latent weight W gets the same gradient dW in every step, so after k steps of
gradient descent it is

    W - k * learning_rate * dW

(there is no bound here). After how many steps does its sign change
for the first time? Mind that the sign of 0 is +1: a weight that comes down
from above has to get *below* 0, and one that comes from below flips when it
reaches 0. If it never flips the answer is math.inf.

Write it for a single weight: W, dW and the learning rate are numbers, the
learning rate is positive, the answer is a whole number, or math.inf.

And the other way round: learning rates have no meaning without the scale of
the latent weights. A network trains with latent weights in [-1, 1] and some
learning rate. Which learning rate makes exactly the same flips if all latent
weights, and the bound, are multiplied by c?
"""

from math import ceil, floor, inf


def steps_to_flip(W, dW, learning_rate):
    """The number of steps until the sign of the weight changes, or inf."""
    # hole: away from zero or no gradient: inf; else for W >= 0 and for W < 0
    move = learning_rate * dW
    if W >= 0:
        return floor(W / move) + 1 if move > 0 else inf
    return ceil(W / move) if move < 0 else inf
    # end of hole


def same_flips(learning_rate, c):
    """The learning rate for latent weights that are c times as large."""
    return c * learning_rate  # hole: from the learning rate and c


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake

HINTS = [
    "A step moves the weight by -learning_rate * dW. A positive weight moves towards zero if dW is "
    "positive, a negative one if dW is negative. Otherwise the answer is inf, and for dW = 0, too.",
    "Let move = learning_rate * dW. For W >= 0 look for the first whole k with W - k move < 0, "
    "that is k > W / move: floor(W / move) + 1.",
    "For W < 0 it is the first k with W - k move >= 0: ceil(W / move), in which both are negative.",
    "If a weight is 4 times as far from zero, and the gradients are the same, the steps have to be "
    "4 times as long.",
]

CASES = [
    (0.5, 1.0, 0.125), (0.5, 1.0, 0.1875), (-0.5, -1.0, 0.125), (-0.5, -1.0, 0.1875),
    (0.0, 0.25, 0.5), (0.0, -0.25, 0.5), (0.75, -0.5, 0.25), (-0.75, 0.5, 0.25),
    (0.3, 0.0, 1.0), (-0.3, 0.0, 1.0), (-1.0, -0.125, 0.5),
]  # fmt: skip
CHECKS = [
    Agrees(steps_to_flip, CASES, "steps until a flip", points=3),
    Agrees(same_flips, [(30.0, 4.0), (0.01, 0.5)], "the same flips at another scale"),
]


def _steps(W, dW, learning_rate, up=floor, plus=1, down=ceil):
    """The reference with other roundings."""
    move = learning_rate * dW
    if W >= 0:
        return up(W / move) + plus if move > 0 else inf
    return down(W / move) if move < 0 else inf


@mistake(steps_to_flip, "a flip of a positive weight at 0")
def at_zero(*given):
    """A positive weight that reaches exactly 0 is still +1, since the sign of 0 is +1. It needs one
    more step."""
    return _steps(*given, up=ceil, plus=0)


@mistake(steps_to_flip, "a flip of a negative weight below 0")
def beyond_zero(*given):
    """A negative weight that reaches exactly 0 has flipped already: the sign of 0 is +1."""
    return _steps(*given, down=lambda k: floor(k) + 1)


@mistake(steps_to_flip, "one step too few")
def too_few(*given):
    """Rounded down, this is how often the weight can move and *not* flip."""
    return _steps(*given, plus=0, down=floor)


@mistake(steps_to_flip, "a number that is not whole")
def fraction(*given):
    """The quotient says when the weight would be at zero, between two steps. The flip is at the
    next whole step."""
    return _steps(*given, up=lambda k: k, plus=0, down=lambda k: k)


@mistake(steps_to_flip, "a weight that flips although it moves away from zero")
def whatever_direction(W, dW, learning_rate):
    """If gradient and weight have different signs, each step leads further away from zero: the
    answer is inf. The step is minus the gradient."""
    return inf if dW == 0 else _steps(W, abs(dW) if W >= 0 else -abs(dW), learning_rate)


@mistake(steps_to_flip, "a step uphill")
def uphill(W, dW, learning_rate):
    """It lets the weight move with the gradient. Gradient descent subtracts it: a positive dW
    brings a positive weight towards zero."""
    return _steps(W, -dW, learning_rate)


@mistake(steps_to_flip, "a step without the learning rate")
def no_rate(W, dW, learning_rate):
    """One step moves the weight by learning_rate * dW."""
    return _steps(W, dW, 1.0)


@mistake(same_flips, "the same learning rate")
def unchanged(learning_rate, c):
    """The gradients depend on signs only, so they stay as they were. Steps of the same length
    between weights that are c times as far from zero make fewer flips."""
    return learning_rate


@mistake(same_flips, "a learning rate divided by the scale")
def divided(learning_rate, c):
    """Larger weights have further to go, so they need longer steps, not shorter ones."""
    return learning_rate / c


@mistake(same_flips, "a learning rate times the square of the scale")
def squared(learning_rate, c):
    """For weights of floats the gradient would shrink as they grow. Here it depends on the signs
    alone, and does not change at all: one factor is enough."""
    return learning_rate * c**2
