"""Rows of bits: the references against counting by hand, NumPy's own and a device's against them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from devices import STRICT

from minibnn.backend import CPU
from minibnn.backend.implementations import NUMPY
from minibnn.bit_words import words_of
from minibnn.packed.bits import narrowest, pack_rows, unpack_rows, xnor_products
from minibnn.packed.inference import BitMatrix, bit_products, pixel_products

WIDTHS = [0, 1, 7, 8, 9, 31, 63, 64, 65, 127, 128, 129, 784, 4097]


def same(got, expected):
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("width", WIDTHS)
def test_packed_by_the_reference_and_by_numpy(rows, width, rng):
    bits = rng.integers(0, 2, (rows, width), np.uint8)
    by_hand = [
        [sum(int(bit) << i for i, bit in enumerate(row[64 * word :][:64])) for word in range(words_of(width))]
        for row in bits
    ]  # fmt: skip
    words = pack_rows(bits)
    same(words, np.array(by_hand, np.uint64).reshape(rows, words_of(width)))
    every_second = np.repeat(bits, 2, axis=1)[:, ::2]
    for given in (bits, bits.astype(bool), bits * 255, np.asfortranarray(bits), every_second):
        same(NUMPY["pack_rows"](CPU, given), words)
        same(pack_rows(given), words)
    for less in {0, width - 65, width - 1, width, width + 1} & set(range(64 * words.shape[1] + 1)):
        expected = np.zeros((rows, less), np.uint8)
        expected[:, :width] = bits[:, :less]
        same(unpack_rows(words, less), expected)
        same(NUMPY["unpack_rows"](CPU, words, less), expected)
    same(NUMPY["unpack_rows"](CPU, words, width + 200), unpack_rows(words, width + 200))
    device = STRICT.asarray(bits)
    same(STRICT.to_host(STRICT.run(pack_rows, device)), words)


def test_numpy_declines_other_arrays(rng):
    """They are the reference's, which computes or raises."""
    words = rng.integers(0, 2**64, (3, 2), np.uint64)
    assert NUMPY["pack_rows"](CPU, np.ones(3, np.uint8)) is NotImplemented
    assert NUMPY["pack_rows"](CPU, np.ones((3, 2), np.int64)) is NotImplemented
    assert NUMPY["unpack_rows"](CPU, words[0], 64) is NotImplemented
    assert NUMPY["unpack_rows"](CPU, words.astype(np.uint32), 64) is NotImplemented


def test_rows_of_one_bit_take_no_bytes_by_numpy():
    bits = np.ones((2**16, 1), np.uint8)
    for operation, given in ((pack_rows, (bits,)), (unpack_rows, (pack_rows(bits), 1))):
        tracemalloc.start()
        CPU.run(operation, *given)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20 * len(bits)  # the reference takes 64 bytes more for each


@pytest.mark.parametrize("width", WIDTHS[1:])
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


def test_the_narrowest_integers():
    for most, dtype in ((2**15 - 1, np.int16), (2**15, np.int32), (2**31, np.int64)):
        for values in ([most], [-most - 1]):
            got = narrowest(np.array(values, np.int64))
            assert (got.dtype, got.tolist()) == (dtype, values)
    assert narrowest(np.zeros(0, np.int64)).dtype == np.int16
