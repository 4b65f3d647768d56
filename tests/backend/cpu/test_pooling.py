"""Max pooling in C, on each instruction set."""

from __future__ import annotations

import numpy as np
from devices import built
from hypothesis import given, settings
from hypothesis import strategies as st
from instruction_sets import SETS, each_set

from minibnn.backend.cpu import pooling
from minibnn.layers.pooling import max_pool, max_pool_gradient
from minibnn.windows import Windows

pytestmark = built
pairs = st.tuples


@settings(deadline=None, max_examples=100)
@given(
    batch=st.integers(1, 5),
    extra=pairs(st.integers(0, 9), st.integers(0, 9)),
    channels=st.sampled_from([1, 3, 4, 15, 16, 17, 33, 64]),
    size=pairs(st.integers(1, 4), st.integers(1, 4)),
    stride=pairs(st.integers(1, 5), st.integers(1, 5)),
    dilation=pairs(st.integers(1, 2), st.integers(1, 3)),
    seed=st.integers(0, 99),
)
def test_pooling_of_any_shape(batch, extra, channels, size, stride, dilation, seed):
    """With many equal maxima, some nan and both infinities; dy is added in the reference's order."""
    windows, rng = Windows(size, stride, dilation), np.random.default_rng(seed)
    rows, columns = ((n - 1) * d + 1 + e for n, d, e in zip(size, dilation, extra, strict=True))
    x = rng.integers(-3, 4, (batch, rows, columns, channels)).astype(np.float32)
    for value in (np.nan, np.inf, -np.inf):
        x[rng.random(x.shape) < 0.03] = value
    y, position = max_pool(x, windows, True)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    dx = max_pool_gradient(dy, position, windows, x.shape)
    for backend in SETS:
        for wanted in (True, False):
            got = pooling.max_pool(backend, x, windows, wanted)
            np.testing.assert_array_equal(got[0], y, strict=True)
            if wanted:
                np.testing.assert_array_equal(got[1], position, strict=True)
            else:
                assert got[1] is None
        got = pooling.max_pool_gradient(backend, dy, position, windows, x.shape)
        np.testing.assert_array_equal(got, dx, strict=True)


@each_set
def test_what_c_cannot_take_is_declined(backend, rng):
    x, windows = rng.standard_normal((2, 6, 6, 4)).astype(np.float32), Windows((2, 2), (2, 2))
    y, position = pooling.max_pool(backend, x, windows, True)
    wide = np.repeat(x, 2, axis=3)[..., ::2]
    for other in (x.astype(np.float64), x[:, ::2], wide, x[0], x[:0], x[:, :1]):
        assert pooling.max_pool(backend, other, windows, True) is NotImplemented
    large = np.zeros((1, 17, 17, 1), np.float32)
    assert pooling.max_pool(backend, large, Windows((17, 17)), True) is NotImplemented
    for dy, at, shape in (
        (y.astype(np.float64), position, x.shape),
        (y, position.astype(np.uint16), x.shape),
        (y, position[:, 1:], x.shape),
        (y, np.asfortranarray(position), x.shape),
        (y, position, (2, 8, 6, 4)),
        (y[:0], position[:0], (0, 6, 6, 4)),
    ):
        assert pooling.max_pool_gradient(backend, dy, at, windows, shape) is NotImplemented
    assert pooling.max_pool_gradient(backend, y, position, windows, x.shape).shape == x.shape


@each_set
def test_a_nan_stays_in_its_window(backend):
    x = np.zeros((1, 4, 4, 20), np.float32)
    x[0, 1, 1, 19] = np.nan
    y, _ = pooling.max_pool(backend, x, Windows((2, 2), (2, 2)), True)
    assert np.isnan(y).sum() == 1
    assert np.isnan(y[0, 0, 0, 19])


@each_set
def test_zeros_where_no_window_reaches(backend):
    """A dx that is not cleared holds what was in memory before."""
    dy, position = np.ones((3, 2, 2, 5), np.float32), np.zeros((3, 2, 2, 5), np.uint8)
    for windows, shape in (
        (Windows((2, 2), (2, 2)), (3, 5, 4, 5)),
        (Windows((2, 2), (2, 2)), (3, 4, 5, 5)),
        (Windows((1, 1), (2, 2)), (3, 3, 3, 5)),
    ):
        np.full(shape, np.nan, np.float32)  # freed at once: the memory of dx
        dx = pooling.max_pool_gradient(backend, dy, position, windows, shape)
        assert dx.sum() == dy.sum()
