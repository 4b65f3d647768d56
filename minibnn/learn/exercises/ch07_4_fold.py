"""Batch norm and sign as an integer threshold

In evaluation, batch norm and the sign behind it ask one thing of a sum a of
K signs:

    gamma (a - mean) / std + beta >= 0          with std > 0

(std is the chapter's sigma.) Turn this into a comparison with a whole number.
For one channel, a neuron of the chapter, return (threshold, falling):

    falling is False:   the bit is +1 exactly if a >= threshold
    falling is True:    the bit is +1 exactly if a <= threshold

Sums of K signs are -K, -K + 2, ..., K. The threshold has to be one of these:
the smallest sum that gives +1, or the largest if falling. If all sums give +1,
return (-K - 1, False); if none does, (K + 1, False). If gamma is 0 it is one
of these two. Mind these ends if you start from the chapter's `fold`: there
falling is gamma < 0 in every case, and where all sums give +1 the threshold
may be the last of them.

sign(0) = +1.
"""

from math import ceil, floor


def fold(gamma, beta, mean, std, K):
    """(threshold, falling), for numbers gamma, beta, mean and std."""
    # hole: solve for a; mind the sign of gamma, the parity of K, and the ends
    if gamma == 0:
        return (-K - 1, False) if beta >= 0 else (K + 1, False)
    tau = mean - beta * std / gamma
    if gamma > 0:
        first = max(ceil(tau), -K)
        first += (first - K) % 2  # the next number of the same parity as K
        everything, nothing = first == -K, first > K
    else:
        first = min(floor(tau), K)
        first -= (first - K) % 2
        everything, nothing = first == K, first < -K
    if everything:
        return -K - 1, False
    return (K + 1, False) if nothing else (first, gamma < 0)
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake

HINTS = [
    "For gamma > 0: a >= tau, with tau = mean - beta * std / gamma. Dividing by a negative gamma "
    "turns the inequality around.",
    "You need no rounding rules. sums = range(-K, K + 1, 2) are all that can occur: keep those "
    "that give +1. For gamma > 0 the threshold is the least of them, for gamma < 0 the greatest.",
    "If you kept none of them, return (K + 1, False); if you kept all, (-K - 1, False). That "
    "covers gamma = 0 as well.",
]

RISING = [(1.0, 0.0, 0.5, 1.0, 8), (2.0, -3.0, 1.0, 3.0, 10), (0.5, 1.5, -1.0, 2.0, 9)]
FALLING = [(-1.0, 0.0, 0.5, 1.0, 8), (-2.0, 3.0, 1.0, 3.0, 10), (-0.5, -1.5, 1.5, 2.0, 9)]
EXACT = [(1.0, 0.0, 4.0, 1.0, 8), (-1.0, 0.0, 4.0, 1.0, 8), (2.0, 2.0, 2.0, 9.0, 11)]
EDGES = [(g, b + g / 2, 1.0, 2.0, K) for g in (2.0, -2.0) for K in (7, 8)
         for b in (K, K - 0.5, 0.5 - K, -K, -K - 0.5)]  # fmt: skip
ENDS = [(1.0, 20.0, 0.0, 1.0, 8), (1.0, -20.0, 0.0, 1.0, 8), (-1.0, 20.0, 0.0, 1.0, 7),
        (-1.0, -20.0, 0.0, 1.0, 7)]  # fmt: skip
FLAT = [(0.0, 0.5, 3.0, 1.0, 8), (0.0, -0.5, 3.0, 1.0, 8), (0.0, 0.0, 3.0, 1.0, 8)]
CHECKS = [
    Agrees(fold, RISING, "positive gamma"),
    Agrees(fold, FALLING, "negative gamma"),
    Agrees(fold, EXACT, "sums that meet the threshold exactly"),
    Agrees(fold, ENDS + EDGES, "always, never, and nearly so"),
    Agrees(fold, FLAT, "a gamma of 0"),
]


def _kept(positive, K, falling):
    """What the sums for which `positive` holds give."""
    kept = [a for a in range(-K, K + 1, 2) if positive(a)]
    if not kept:
        return K + 1, False
    if len(kept) == K + 1:
        return -K - 1, False
    return (kept[-1], True) if falling else (kept[0], False)


@mistake(fold, "a fold that forgets negative gammas")
def forgets_gamma(gamma, beta, mean, std, K):
    """Dividing by gamma keeps the direction of the inequality only if gamma is positive. For a
    negative one the bit is +1 up to the threshold, not from it on."""
    if gamma == 0:
        return (-K - 1, False) if beta >= 0 else (K + 1, False)
    tau = mean - beta * std / gamma
    return _kept(lambda a: a >= tau, K, False)


@mistake(fold, "a fold with the ends of the chapter's")
def chapter_ends(gamma, beta, mean, std, K):
    """Its bits are right, but two cases are asked for in another form here: if all sums give +1,
    (-K - 1, False), and if none does, (K + 1, False), whatever the sign of gamma."""
    if gamma == 0:
        return (-K - 1 if beta >= 0 else K + 1), False
    tau = mean - beta * std / gamma
    sums = range(-K, K + 1, 2)
    if gamma > 0:
        return min((a for a in sums if a >= tau), default=K + 1), False
    return max((a for a in sums if a <= tau), default=-K - 1), True


@mistake(fold, "a fold in which sign(0) is -1")
def strict(gamma, beta, mean, std, K):
    """A sum for which batch norm gives exactly 0 belongs to +1, on both sides: a rising threshold
    takes >=, a falling one <=."""
    return _kept(lambda a: gamma * (a - mean) / std + beta > 0, K, gamma < 0)


@mistake(fold, "a falling threshold without its end")
def falling_strict(gamma, beta, mean, std, K):
    """For a negative gamma >= turns into <=, not into <: a sum for which batch norm gives exactly 0
    belongs to +1."""
    if gamma >= 0:
        return fold(gamma, beta, mean, std, K)
    return strict(gamma, beta, mean, std, K)


@mistake(fold, "a beta with the wrong sign")
def wrong_beta(gamma, beta, mean, std, K):
    """A larger beta makes +1 easier, so it has to lower the threshold of a positive gamma: solve
    for a once more."""
    return fold(gamma, -beta, mean, std, K)


@mistake(fold, "a fold without the standard deviation")
def without_std(gamma, beta, mean, std, K):
    """beta is in units of the normalised score. In units of the sum it is beta * std / gamma."""
    return fold(gamma, beta, mean, 1.0, K)


@mistake(fold, "a threshold of the wrong parity")
def wrong_parity(gamma, beta, mean, std, K):
    """The next whole number is not always a sum that can occur: with K = 8 all sums are even. 5
    and 6 compare alike, but the threshold that was asked for is one that occurs."""
    threshold, falling = fold(gamma, beta, mean, std, K)
    if gamma == 0 or abs(threshold) > K:
        return threshold, falling
    tau = mean - beta * std / gamma
    return (floor(tau) if falling else ceil(tau)), falling


@mistake(fold, "a fold that rounds the wrong way")
def wrong_way(gamma, beta, mean, std, K):
    """a >= 3.2 holds from 4 on, not from 3: a rising threshold is rounded up, a falling one
    down."""
    threshold, falling = fold(gamma, beta, mean, std, K)
    if gamma == 0 or abs(threshold) > K or threshold == mean - beta * std / gamma:
        return threshold, falling
    return threshold + (2 if falling else -2), falling
