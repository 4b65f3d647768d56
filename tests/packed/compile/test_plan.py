"""Which functions count as a sign."""

from __future__ import annotations

import numpy as np
from packed_models import SIGN

from minibnn import (
    AdaSTE,
    ApproxSign,
    DoReFaActivations,
    DoReFaWeights,
    Heaviside,
    MagnitudeAwareSign,
    ReLU,
    SignSTE,
    StochasticSign,
    StraightThrough,
    SwishSign,
    Ternary,
)
from minibnn.packed.compile.plan import is_sign


class Odd(StraightThrough):
    """A sign that jumps at 1e-20."""

    clip = None

    def forward(self, x):
        return np.where(x >= 1e-20, 1, -1).astype(x.dtype)


class Relative(Odd):
    """A sign that depends on the whole array."""

    def forward(self, x):
        return np.where(x >= x.flat[-1] - abs(x.flat[-1]), 1, -1).astype(x.dtype)


def test_what_counts_as_a_sign():
    for function in (
        SIGN,
        SignSTE(clip=1.0),
        ApproxSign(),
        SwishSign(),
        AdaSTE(),
        StochasticSign(),
        DoReFaWeights(bits=1),
    ):
        for dtype in (np.float32, np.float64):
            assert is_sign(function, np.dtype(dtype)), function
    for function in (
        Heaviside(),
        Ternary(),
        ReLU(),
        MagnitudeAwareSign(),
        DoReFaActivations(bits=1),
        DoReFaWeights(bits=2),
        Odd(),
        Relative(),
    ):
        assert not is_sign(function, np.dtype(np.float32)), function
