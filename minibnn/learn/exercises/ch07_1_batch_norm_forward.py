"""Batch norm, forward

Bring each channel of a batch to mean 0 and variance 1, then scale and shift (a
channel is what the chapter calls a neuron):

    mean    = mean of x over the batch
    var     = mean of (x - mean)^2 over the batch
    inv_std = 1 / sqrt(var + epsilon)
    x_hat   = (x - mean) inv_std
    y       = gamma x_hat + beta

x, x_hat and y are (batch, channels); all others (channels,).
"""

import numpy as np


def batch_norm(x, gamma, beta, epsilon):
    """y, x_hat and inv_std."""
    # hole: the five lines above
    centred = x - x.mean(axis=0)
    inv_std = 1 / np.sqrt((centred**2).mean(axis=0) + epsilon)
    x_hat = centred * inv_std
    y = gamma * x_hat + beta
    # end of hole
    return y, x_hat, inv_std


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import mistake, parts

HINTS = [
    "x.mean(axis=0) is the mean over the batch: one number for each channel.",
    "The variance is the mean of the squares of x - mean. It is not divided by n - 1 here.",
    "y = gamma * x_hat + beta, with arrays of shape (channels,), which NumPy repeats for each "
    "sample.",
]

_rng = np.random.default_rng(71)
CASES = [
    (_rng.normal(3, 2, (4, 3)).round(1), np.array([1.5, -2.0, 0.5]), np.array([0.0, 1.0, -3.0]),
     1e-5),
    (np.array([[1.0, 0.1], [3.0, 0.2], [8.0, 0.6]]), np.array([2.0, 3.0]), np.array([1.0, -1.0]),
     0.1),
]  # fmt: skip
CHECKS = parts(batch_norm, CASES, "y x_hat inv_std")


@mistake(batch_norm, "batch norm over the channels of each sample")
def over_channels(x, gamma, beta, epsilon):
    """The mean is taken along the wrong axis: over the channels of one sample. It should be over
    the batch, so that each channel has a mean of its own."""
    centred = x - x.mean(axis=1, keepdims=True)
    inv_std = 1 / np.sqrt((centred**2).mean(axis=1, keepdims=True) + epsilon)
    x_hat = centred * inv_std
    return gamma * x_hat + beta, x_hat, inv_std


@mistake(batch_norm, "batch norm with one mean for the whole batch")
def one_mean(x, gamma, beta, epsilon):
    """One mean and one variance for all channels together. Then neurons keep zeros of their own,
    which is just what batch norm is to remove. Give mean an axis."""
    inv_std = 1 / np.sqrt(x.var() + epsilon)
    x_hat = (x - x.mean()) * inv_std
    return gamma * x_hat + beta, x_hat, inv_std


@mistake(batch_norm, "batch norm with the unbiased variance")
def unbiased(x, gamma, beta, epsilon):
    """This variance is divided by n - 1. In training batch norm uses the mean of the squares,
    divided by n; the n - 1 belongs to the running variance."""
    inv_std = 1 / np.sqrt(x.var(axis=0, ddof=1) + epsilon)
    x_hat = (x - x.mean(axis=0)) * inv_std
    return gamma * x_hat + beta, x_hat, inv_std


@mistake(batch_norm, "epsilon beside the root, not under it")
def epsilon_outside(x, gamma, beta, epsilon):
    """Here epsilon is added to the standard deviation. It belongs under the root, added to the
    variance."""
    inv_std = 1 / (x.std(axis=0) + epsilon)
    x_hat = (x - x.mean(axis=0)) * inv_std
    return gamma * x_hat + beta, x_hat, inv_std


@mistake(batch_norm, "a division by the variance")
def by_variance(x, gamma, beta, epsilon):
    """The root is missing: a spread of 28 has a variance of 784, and dividing by that makes the
    scores far too small."""
    inv_std = 1 / (x.var(axis=0) + epsilon)
    x_hat = (x - x.mean(axis=0)) * inv_std
    return gamma * x_hat + beta, x_hat, inv_std
