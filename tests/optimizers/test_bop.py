"""Bop: when a weight flips, and what it needs of its quantizer."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from optimizer_cases import parameter, path

from minibnn import (
    AdaSTE,
    ApproxSign,
    Bop,
    Exponential,
    SignSTE,
    SwishSign,
)


def test_bop_three_steps(backend):
    """gamma 1/2, threshold 1/4; the starts 0.3, -0.0 and -2 become +1, +1 and -1.

    =====  ====  ==================  =====  ==========
    w      g     m                   w m    new w
    =====  ====  ==================  =====  ==========
    +1     1     0 + 1/2             1/2    -1
    -1     -1    1/4 - 1/2 = -1/4    1/4    -1: not above the threshold
    -1     -1    -1/8 - 1/2          5/8    +1
    +1     -1    0 - 1/2             -1/2   +1
    +1     1     -1/4 + 1/2 = 1/4    1/4    +1
    +1     1/2   1/8 + 1/4 = 3/8     3/8    -1
    -1     -1/2  0 - 1/4             1/4    -1
    -1     -1/4  -1/8 - 1/8          1/4    -1
    -1     -1    -1/8 - 1/2          5/8    +1
    =====  ====  ==================  =====  ==========
    """
    for dtype in (np.float32, np.float64):
        # Neither scale nor bound changes anything.
        p = parameter([0.3, -0.0, -2.0], backend, dtype, lr_scale=7.0, bound=0.5)
        p.quantizer = SignSTE()
        optimizer = Bop([p], threshold=1 / 4, gamma=1 / 2)
        assert backend.to_host(p.data).tolist() == [1, 1, -1]
        (values,) = path(optimizer, [[1, -1, -0.5], [-1, 1, -0.25], [-1, 0.5, -1]], p)
        assert [v.tolist() for v in values] == [[-1, 1, -1], [-1, 1, -1], [1, -1, 1]]
        assert {v.dtype for v in values} == {np.dtype(dtype)}


def test_bop_flips_exactly_as_the_paper_says(backend, rng):
    size, gamma, threshold = 50, Fraction(1, 8), Fraction(1, 16)
    start = rng.standard_normal(size)
    p = parameter(start, backend, np.float64)
    p.quantizer = SignSTE()
    optimizer = Bop([p], threshold=float(threshold), gamma=float(gamma))
    w = [1 if value >= 0 else -1 for value in start]
    m = [Fraction(0)] * size
    flips = 0
    for _ in range(14):  # each adds three bits to m, and float64 holds them all
        g = rng.integers(-8, 9, size) / 8
        ((got,),) = path(optimizer, [g], p)
        for i in range(size):
            m[i] = (1 - gamma) * m[i] + gamma * Fraction(g[i])
            if abs(m[i]) > threshold and (m[i] > 0) == (w[i] > 0):
                w[i] = -w[i]
                flips += 1
        np.testing.assert_array_equal(got, w)
    assert flips > size


@pytest.mark.parametrize(
    ("quantizer", "slopes"),  # for gradients that ask for a flip, and for those that do not
    [
        (SignSTE(), [1, 1]),
        (SignSTE(clip=1.0), [1, 1]),
        (SignSTE(clip=0.9), [0, 0]),
        (ApproxSign(), [0, 0]),
        (SwishSign(), [-0.195, -0.195]),
        (AdaSTE(), [1, 0]),
    ],
    ids=repr,
)
def test_what_bop_gets_from_a_quantizer(quantizer, slopes):
    """Bop's weights are always -1 or +1, so only the slopes there matter; see its docstring."""
    w = np.array([1.0, -1.0])
    got = [quantizer.backward(dy, w) / dy for dy in (w, -w)]
    np.testing.assert_allclose(got, np.repeat(slopes, 2).reshape(2, 2), atol=1e-4)


def test_gamma_is_a_number_or_a_schedule(backend):
    p = parameter([1.0], backend, np.float64)
    optimizer = Bop([p], gamma=Exponential(0.5, 0.125, 2))
    assert optimizer.gamma == 0.5
    # m: 1/2 (flip to -1); then gamma 1/4: 3/8 - 1/4 = 1/8; then 1/8: 7/64 - 1/8 < 0 (flip to +1)
    assert path(optimizer, [1, -1, -1], p) == [[[-1], [-1], [1]]]
    optimizer.gamma = 0.5
    assert repr(optimizer) == "Bop(1 parameters, 1 values, next gamma 0.5, after 3 steps)"
    assert not hasattr(optimizer, "learning_rate")
    with pytest.raises(ValueError, match=r"Bop: expected gamma in \(0, 1\], got 2"):
        optimizer.gamma = 2
