"""Weights as integers: exact where they can be, else rounded with what is lost."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from minibnn import (
    Conv2D,
    Dense,
    DoReFaWeights,
    MagnitudeAwareSign,
    PowerOfTwo,
    SignSTE,
    Ternary,
    TernaryWeights,
)
from minibnn.packed.compile.weights import MOST, weights_of

DENORMAL = 5e-324


def found(rows, dtype=np.float32, quantizer=None):
    """`weights_of` a dense layer with these weights, a row for each channel."""
    rows = np.asarray(rows, dtype)
    layer = Dense(rows.shape[1], len(rows), weight_quantizer=quantizer, bias=False)
    layer.initialize(0, dtype)
    layer.weight.data[...] = rows.T
    return weights_of(layer, np.asarray(layer.quantized_weight(False)))


def check(weights):
    """Each weight is its integer times the size, up to exactly the rest."""
    assert weights.rows.dtype == np.int8
    assert abs(weights.rows.astype(int)).max() <= MOST
    rest = np.zeros(weights.rows.shape) if weights.rest is None else weights.rest
    ulp = np.finfo(np.float64).eps
    for c, size in enumerate(weights.size):
        for q, w, r in zip(
            *(a[c].tolist() for a in (weights.rows, weights.model, rest)), strict=True
        ):
            lost = abs(Fraction(w) - q * size)
            assert abs(float(lost) - r) <= ulp * abs(w), (w, q, size)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "quantizer", [SignSTE(), MagnitudeAwareSign(), Ternary(0.5), TernaryWeights(), PowerOfTwo()]
)
def test_quantized_weights_are_exact(rng, quantizer, dtype):
    values = rng.choice([-1, 1], (4, 40)) * rng.uniform(0.05, 1, (4, 40))
    weights = found(values, dtype, quantizer)
    check(weights)
    assert weights.rest is None
    assert weights.binary == isinstance(quantizer, SignSTE | MagnitudeAwareSign)
    np.testing.assert_array_equal(
        weights.rows * np.array([float(s) for s in weights.size])[:, None], weights.model
    )


def test_multiples_of_one_number_are_exact():
    """3 and 7 times the same; the size is their greatest common divisor."""
    third = np.float32(1 / 3)
    weights = found([[3 * third, -6 * third, 0], [127, -1, 5], [0.5, 0.75, -1]])
    check(weights)
    assert weights.rest is None
    assert weights.rows.tolist() == [[1, -2, 0], [127, -1, 5], [2, 3, -4]]
    assert weights.size == (Fraction(float(3 * third)), 1, Fraction(1, 4))


def test_multiples_up_to_127_are_exact():
    check(weights := found([[127.0, 1]]))
    assert weights.rest is None
    check(weights := found([[128.0, 1]]))
    assert weights.rest is not None
    assert weights.rows.tolist() == [[127, 1]]


def test_only_the_channels_that_need_it_are_rounded(rng):
    weights = found(np.stack([rng.normal(size=30), rng.choice([-0.7, 0, 0.7], 30)]))
    check(weights)
    assert abs(weights.rows[0]).max() == 127
    assert weights.rest[0].any()
    assert set(weights.rows[1].tolist()) == {-1, 0, 1}
    assert not weights.rest[1].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_real_weights_are_rounded_to_the_nearest_of_255(rng, dtype):
    weights = found(rng.normal(size=(5, 200)), dtype)
    check(weights)
    size = np.array([float(s) for s in weights.size])
    largest = abs(weights.model.astype(np.float64)).max(axis=1)
    np.testing.assert_allclose(size, largest / MOST, rtol=1e-12)
    assert (weights.rest <= 0.5 * size[:, None] * (1 + 1e-9)).all()
    assert (weights.rest.max(axis=1) > 0.4 * size).all()


def test_channels_of_zeros():
    weights = found(np.zeros((2, 3)))
    assert weights.binary
    assert weights.size == (0, 0)
    weights = found([[0, 0, 0], [1, 0.3, -0.2]])
    check(weights)
    assert weights.rows[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("bits", [1, 2, 4, 7])
def test_dorefa_weights_are_what_the_formula_says(rng, bits):
    weights = found(rng.normal(size=(3, 50)), quantizer=DoReFaWeights(bits))
    n = 2**bits - 1
    assert weights.rest is None
    assert weights.size == (Fraction(1, n),) * 3
    assert (weights.rows % 2 == 1).all()
    np.testing.assert_allclose(weights.rows / n, weights.model, atol=1e-6)


@pytest.mark.parametrize("bits", [8, 12])
def test_finer_dorefa_weights_are_rounded(rng, bits):
    weights = found(rng.normal(size=(3, 50)), quantizer=DoReFaWeights(bits))
    check(weights)
    assert weights.rest is not None


@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e300])
def test_extreme_sizes_of_float64(rng, scale):
    check(found(rng.normal(size=(3, 20)) * scale, np.float64))


def test_the_smallest_numbers_beside_others(rng):
    rows = rng.normal(size=(3, 20))
    rows[0] = 0
    rows[0, :2] = DENORMAL, -3 * DENORMAL
    rows[1, 3] = DENORMAL
    check(weights := found(rows, np.float64))
    assert weights.rows[0, :3].tolist() == [1, -3, 0]
    assert weights.size[0] == Fraction(DENORMAL)


def test_filters_are_rows_in_the_order_of_windows(rng):
    layer = Conv2D(4, 6, (2, 3), groups=2, bias=False).initialize(rng)
    weights = weights_of(layer, np.asarray(layer.quantized_weight(False)))
    check(weights)
    W = np.asarray(layer.weight.data)
    assert weights.rows.shape == (6, 2 * 3 * 2)
    for c in range(6):
        np.testing.assert_array_equal(weights.model[c], W[..., c].reshape(-1))
