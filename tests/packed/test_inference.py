"""Products of rows of bits and of pixels with rows of signs."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn.packed.bits import pack_rows, xnor_products
from minibnn.packed.inference import BitMatrix, bit_products, pixel_products

WIDTHS = [1, 7, 8, 9, 31, 63, 64, 65, 127, 128, 129, 784, 4097]


def same(got, expected):
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_products(backend, rows, width, rng):
    bits, pixels = (rng.integers(0, most, (rows, width), np.uint8) for most in (2, 256))
    weights = rng.integers(0, 2, (3, width), np.uint8)
    pixels[:1] = 255
    signs = [2 * b.astype(np.int64) - 1 for b in (bits, weights)]
    W = BitMatrix(backend.asarray(pack_rows(weights)), width)
    same(backend.to_host(W.bits()), weights)
    for operation, x, values in ((bit_products, bits, signs[0]), (pixel_products, pixels, pixels)):
        got = backend.to_host(backend.run(operation, backend.asarray(x), W))
        same(got, (values @ signs[1].T).astype(np.int32))


def test_rows_that_do_not_agree_are_refused(rng):
    a, b = (pack_rows(rng.integers(0, 2, (2, width), np.uint8)) for width in (64, 65))
    for pair in ((a, b), (b, a)):
        with pytest.raises(ValueError, match=r"xnor_products: expected as many words in a row"):
            xnor_products(*pair, 64)
    for x in (np.ones((2, 63), np.uint8), np.ones((2, 65), np.uint8), np.ones(64, np.uint8)):
        for operation in (bit_products, pixel_products):
            with pytest.raises(ValueError, match=f"{operation.__name__}: expected rows of 64"):
                operation(x, BitMatrix(a, 64))
