"""Counting flips

A weight flips when its sign changes: +1 becomes -1, or -1 becomes +1. The
sign of 0 is +1. How far the latent weight moves does not matter.

1. `flips`: the share of a layer's weights that flipped between two moments,
   given its latent weights at both. A number from 0 to 1.
2. `share_never_flipped`: given the latent weights of a layer at many moments,
   as an array (moments, weights), the share of the weights whose sign was the
   same all the time. A weight that flipped and flipped back does not count.
3. `total_share`: the share over several layers together, given a list of
   pairs (before, after), one for each layer. Each *weight* counts as much as
   any other, so a large layer counts more than a small one.
"""

import numpy as np


def flips(before, after):
    """The share of the weights whose sign changed."""
    return ((before >= 0) != (after >= 0)).mean()  # hole: from the signs of both


def share_never_flipped(path):
    """The share of the weights that kept their sign at all moments."""
    # hole: path is (moments, weights)
    positive = path >= 0
    return (positive == positive[0]).all(axis=0).mean()
    # end of hole


def total_share(pairs):
    """The share of all weights of all layers that flipped."""
    # hole: count flips and weights, and divide once
    flipped = sum(flips(before, after) * before.size for before, after in pairs)
    return flipped / sum(before.size for before, _ in pairs)
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake

HINTS = [
    "before >= 0 is True where the sign is +1. Two such arrays can be compared with !=, and the "
    "mean of True and False is a share.",
    "positive = path >= 0. positive == positive[0] compares each moment with the first; "
    ".all(axis=0) asks whether all moments agree, for each weight.",
    "flips(before, after) * before.size is a number of flips. Add them up over the layers, and "
    "divide by the number of weights in all layers.",
]

_A = np.array([[0.5, -0.2, 0.0], [0.3, -0.7, 0.1]])
_B = np.array([[0.5, 0.1, -0.1], [0.2, -0.9, 0.4]])
_C = np.array([0.0, -0.3, 0.2, -0.1, 0.8])
_D = np.array([0.4, -0.0, 0.1, -0.2, -0.8])
_PATH = np.array([
    [0.2, -0.1, 0.0, 0.5, -0.3, 0.1, 0.7],
    [0.1, 0.1, 0.3, -0.2, -0.2, 0.0, 0.6],
    [-0.1, 0.2, 0.1, 0.3, -0.1, 0.2, 0.7],
    [0.3, 0.3, 0.2, 0.4, -0.3, 0.1, 0.7],
])  # fmt: skip
CHECKS = [
    Agrees(flips, [(_A, _B), (_C, _D)], "flips between two moments"),
    Agrees(share_never_flipped, [_PATH, _PATH[:2], _PATH[:, :3]], "weights that never flip",
           points=2),
    Agrees(total_share, [([(_A, _B), (_C, _D)],), ([(_B, _A), (_C[:2], _D[:2]), (_D, _C)],)],
           "all layers together", points=2),
]  # fmt: skip


@mistake(flips, "a count in which 0 is a third sign")
def three_signs(before, after):
    """np.sign(0) is 0, so a weight that goes from 0 to 0.4 seems to flip. The sign of 0 is +1."""
    return (np.sign(before) != np.sign(after)).mean()


@mistake(flips, "a count in which 0 is negative")
def zero_is_negative(before, after):
    """The comparison is > 0 in place of >= 0. The sign of 0 is +1."""
    return ((before > 0) != (after > 0)).mean()


@mistake(flips, "the share of the weights that moved")
def moved(before, after):
    """Nearly all latent weights move in each step, and few of them flip. Compare signs."""
    return (before != after).mean()


@mistake(flips, "the number of flips")
def number(before, after):
    """Divide by the number of weights, or take the mean: a share can be compared between layers."""
    return ((before >= 0) != (after >= 0)).sum()


@mistake(flips, "how far the weights moved")
def distance(before, after):
    """The scale of latent weights means nothing. Count the signs that changed."""
    return np.abs(before - after).mean()


@mistake(share_never_flipped, "a comparison of the first moment with the last")
def ends(path):
    """A weight that flipped and flipped back has the same sign at both ends. Look at every
    moment."""
    return ((path[0] >= 0) == (path[-1] >= 0)).mean()


@mistake(share_never_flipped, "the share that did flip")
def complement(path):
    """This is the share of the weights that flipped at some moment. Take those that never did."""
    return 1 - share_never_flipped(path)


@mistake(share_never_flipped, "the mean over moments and weights")
def mean_of_all(path):
    """It counts moments, not weights. A weight has to agree with its beginning at *all* moments:
    use .all(axis=0) before the mean."""
    return ((path >= 0) == (path[0] >= 0)).mean()


@mistake(total_share, "the mean of the layers' shares")
def mean_of_shares(pairs):
    """So a weight in a small layer counts more than one in a large layer. Add up flips and weights
    first, and divide once."""
    return np.mean([flips(before, after) for before, after in pairs])


@mistake(total_share, "the sum of the layers' shares")
def sum_of_shares(pairs):
    """Shares of different layers cannot be added. Add up flips and weights first, and divide
    once."""
    return sum(flips(before, after) for before, after in pairs)
