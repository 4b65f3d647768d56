"""A small task that takes no time, and a binary network that learns it."""

from __future__ import annotations

import numpy as np

from minibnn import Activation, BatchNorm, Dense, Sequential, SignSTE, Uniform

CENTRES = np.random.default_rng(42).standard_normal((3, 8)).astype(np.float32)


def clusters(n, seed):
    """Three noisy clusters in 8 dimensions."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    x = CENTRES[labels] + 0.5 * rng.standard_normal((n, 8)).astype(np.float32)
    return x.astype(np.float32), labels


def binary_model(backend="cpu", seed=0):
    def dense(n, m):
        return Dense(n, m, weight_quantizer=SignSTE(), weight_init=Uniform(), weight_bound=1.0)

    model = Sequential(
        dense(8, 32), BatchNorm(32), Activation(SignSTE(clip=1.0)), dense(32, 3), BatchNorm(3)
    )
    return model.initialize(seed).to(backend)
