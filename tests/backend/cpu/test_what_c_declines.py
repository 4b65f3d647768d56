"""Arguments that the C kernels cannot take go to NumPy or to the reference."""

from __future__ import annotations

import numpy as np
import pytest
from devices import built

from minibnn.backend import CPU, NumpyBackend
from minibnn.functions.signs import binary_sign, straight_through_gradient
from minibnn.layers.norm import batch_norm, batch_norm_gradient, normalize
from minibnn.losses.cross_entropy import log_softmax
from minibnn.optimizers.adam import adam

NUMPY = NumpyBackend()


# Each takes float32 in a body of its own: C, NumPy, and the reference as it is written.
WAYS = [CPU.run, NUMPY.run, lambda reference, *args: reference(*args)]


@built
def test_what_c_cannot_take_goes_to_numpy(rng, monkeypatch):
    """Gaps, column order, float64, read-only arrays; and shapes that do not fit raise as ever."""

    def refuse(*args):
        raise AssertionError("the C body was called")

    x = rng.standard_normal((8, 6)).astype(np.float32)
    frozen = x.copy()
    frozen.flags.writeable = False
    strange = [x[::2], x[:, ::2], np.asfortranarray(x), x.astype(np.float64), frozen]
    for name in (
        "binary_sign",
        "straight_through_gradient",
        "adam",
        "batch_norm",
        "batch_norm_gradient",
    ):
        monkeypatch.setattr(CPU.c, name, refuse)
    for a in strange:
        v = np.ones(a.shape[1], a.dtype)
        np.testing.assert_array_equal(CPU.run(binary_sign, a), NUMPY.run(binary_sign, a))
        np.testing.assert_array_equal(
            CPU.run(straight_through_gradient, a, a, 1.0),
            NUMPY.run(straight_through_gradient, a, a, 1.0),
        )
        for x3 in (a, a[:, None], a[..., None]):
            one = np.ones(x3.shape[-1], a.dtype)
            for got, expected in zip(
                CPU.run(batch_norm, x3, one, one, 1e-5), batch_norm(x3, one, one, 1e-5), strict=True
            ):
                assert got.dtype == a.dtype
                np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
            sums = np.empty((2, 2, *one.shape), a.dtype)
            got = CPU.run(batch_norm_gradient, x3, x3, one, one, *sums[0], True)
            expected = batch_norm_gradient(x3, x3, one, one, *sums[1], True)
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(*sums, rtol=1e-5, atol=1e-6)
    short, v = np.ones(5, np.float32), np.ones(6, np.float32)
    for call in (
        lambda: CPU.run(straight_through_gradient, x, x[:7].copy(), 1.0),
        lambda: CPU.run(batch_norm, x, short, x[0], 1e-5),
        lambda: CPU.run(batch_norm, x, x[0], short, 1e-5),
        lambda: CPU.run(batch_norm_gradient, x, x[:, :5].copy(), v, v, v.copy(), v.copy(), True),
        lambda: CPU.run(batch_norm_gradient, x, x, short, v, v.copy(), v.copy(), True),
        lambda: CPU.run(batch_norm_gradient, x, x, v, short, v.copy(), v.copy(), True),
        lambda: CPU.run(batch_norm_gradient, x, x, v, v, short, v.copy(), True),
        lambda: CPU.run(batch_norm_gradient, x, x, v, v, v.copy(), short, True),
        lambda: CPU.run(normalize, x, short, v, v),
        lambda: CPU.run(adam, x[0], short, x[1], x[2], 0.01, 1e-8, 0.9, 0.999, None),
    ):
        with pytest.raises(ValueError, match=r"broadcast|mismatch"):
            call()
    deep = rng.standard_normal((3, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(
        CPU.run(straight_through_gradient, x, x, x), NUMPY.run(straight_through_gradient, x, x, x)
    )
    # What NumPy repeats, C would read beyond: each array alone in another shape.
    one = np.ones(1, np.float32)
    for gamma, beta in ((one, v), (v, one), (one, one), (x, v), (v, x)):
        for got, expected in zip(
            CPU.run(batch_norm, x, gamma, beta, 1e-5), batch_norm(x, gamma, beta, 1e-5), strict=True
        ):
            np.testing.assert_array_equal(got, expected)
    wide = x.astype(np.float64), v.astype(np.float64)
    for x_hat, inv_std, gamma in (
        (x[:1].copy(), v, v),
        (wide[0], v, v),
        (x, wide[1], v),
        (x, v, wide[1]),
        (x, one, v),
        (x, v, one),
        (x, v, x),
    ):
        got, expected = (
            run(batch_norm_gradient, x, x_hat, inv_std, gamma, v.copy(), v.copy(), True)
            for run in WAYS[::2]
        )
        np.testing.assert_array_equal(got, expected)
    for small in ((one, v, v), (v, one, v), (v, v, one), (x, v, v)):
        np.testing.assert_array_equal(CPU.run(normalize, x, *small), normalize(x, *small))
    empty = np.zeros((0, 4, 6), np.float32)
    assert CPU.run(normalize, empty, v, v, v).shape == (0, 4, 6)
    assert CPU.run(batch_norm_gradient, empty, empty, v, v, v * 7, v * 7, False) is None
    for call in (
        lambda: CPU.run(log_softmax, deep[0, 0]),
        lambda: CPU.run(log_softmax, deep[:, :0, 0]),
    ):
        with pytest.raises((ValueError, IndexError)):
            call()
