"""Running statistics, and evaluation

In training batch norm uses the statistics of the batch, and mixes them into
running ones:

    running_mean <- m running_mean + (1 - m) mean of x
    running_var  <- m running_var  + (1 - m) n / (n - 1) var of x

m is the momentum, 0.9 or so: how much of the old stays. n is the number of
samples in the batch. Return new arrays; do not change those you are given.

In evaluation it uses the running ones, and the batch does not matter:

    y = gamma (x - running_mean) / sqrt(running_var + epsilon) + beta

x is (batch, channels); the statistics, gamma and beta are (channels,). A
channel is a neuron of the chapter.
"""

import numpy as np


def update(running_mean, running_var, x, m):
    """The new running mean and running variance after one batch."""
    # hole: two new arrays
    new_mean = m * running_mean + (1 - m) * x.mean(axis=0)
    new_var = m * running_var + (1 - m) * x.var(axis=0, ddof=1)
    # end of hole
    return new_mean, new_var


def evaluate(x, gamma, beta, running_mean, running_var, epsilon):
    """y, by the running statistics."""
    # hole: the formula above
    return gamma * (x - running_mean) / np.sqrt(running_var + epsilon) + beta
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake, parts

HINTS = [
    "x.mean(axis=0) and x.var(axis=0) are the batch's. n is len(x).",
    "The batch's part has the weight 1 - m, and the variance the factor n / (n - 1). "
    "x.var(axis=0, ddof=1) has this factor built in.",
    "In evaluation nothing is computed from x but y: no mean of x, no variance of x.",
]

_rng = np.random.default_rng(73)
_X = _rng.normal(2, 3, (5, 3)).round(1)
_MEAN, _VAR = np.array([0.5, 1.0, -1.0]), np.array([1.0, 4.0, 2.5])
_GAMMA, _BETA = np.array([1.0, -2.0, 0.5]), np.array([0.25, 0.0, 1.0])
CHECKS = [
    *parts(update, [(_MEAN, _VAR, _X, 0.9), (_MEAN, _VAR, _X[:2], 0.75)], "new_mean new_var"),
    Agrees(evaluate, [(_X, _GAMMA, _BETA, _MEAN, _VAR, 1e-5),
                      (_X[:1], _GAMMA, _BETA, _MEAN, _VAR, 0.1)], "evaluation", points=2),
]  # fmt: skip


@mistake(update, "a momentum upside down")
def upside_down(running_mean, running_var, x, m):
    """m is how much of the *old* stays. Here it is the weight of the new batch, so the running
    statistics jump with every batch."""
    return update(running_mean, running_var, x, 1 - m)


@mistake(update, "a running variance without n / (n - 1)")
def biased(running_mean, running_var, x, m):
    """A batch's own variance is too small on average, because it is taken around the batch's own
    mean. n / (n - 1) makes up for that."""
    new_mean, _ = update(running_mean, running_var, x, m)
    return new_mean, m * running_var + (1 - m) * x.var(axis=0)


@mistake(update, "a running variance that is corrected twice")
def corrected_twice(running_mean, running_var, x, m):
    """ddof=1 divides by n - 1 already, and you multiply by n / (n - 1) besides. Do one of the
    two."""
    new_mean, _ = update(running_mean, running_var, x, m)
    var = x.var(axis=0, ddof=1) * len(x) / (len(x) - 1)
    return new_mean, m * running_var + (1 - m) * var


@mistake(update, "the statistics of the last batch alone")
def last_batch(running_mean, running_var, x, m):
    """The old statistics are gone. Keep the part m of them."""
    return x.mean(axis=0), x.var(axis=0, ddof=1)


@mistake(update, "a batch with its full weight")
def full_weight(running_mean, running_var, x, m):
    """The batch's part needs the weight 1 - m: otherwise the statistics grow with every batch."""
    return m * running_mean + x.mean(axis=0), m * running_var + x.var(axis=0, ddof=1)


@mistake(evaluate, "an evaluation that looks at the batch")
def by_batch(x, gamma, beta, running_mean, running_var, epsilon):
    """This uses the mean and the variance of x, as training does. In evaluation the answer for
    a sample must not depend on which others are in the batch."""
    return gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + epsilon) + beta


@mistake(evaluate, "a division by the variance")
def by_variance(x, gamma, beta, running_mean, running_var, epsilon):
    """running_var is a variance. Divide by its root."""
    return gamma * (x - running_mean) / (running_var + epsilon) + beta


@mistake(evaluate, "an evaluation without epsilon")
def no_epsilon(x, gamma, beta, running_mean, running_var, epsilon):
    """Training had epsilon under the root, so evaluation needs it, too: or the same scores get
    other values."""
    return gamma * (x - running_mean) / np.sqrt(running_var) + beta
