"""Rows of bits: references against plain counting, and NumPy's and a device's against references."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import strictdev
from devices import STRICT

from minibnn.backend import CPU
from minibnn.backend.implementations import NUMPY
from minibnn.bit_words import words_of
from minibnn.packed import bits as packed_bits
from minibnn.packed.bits import (
    flat_bits,
    narrowest,
    pack_rows,
    popcount,
    rows_of_flat,
    unpack_rows,
    xnor_products,
)

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
    """The reference takes them, and computes or raises."""
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


@pytest.mark.parametrize("width", [1, 7, 8, 31, 63, 64, 65, 127, 128, 784])
def test_xnor_products(backend, rng, width):
    a, b = rng.integers(0, 2, (5, width), np.uint8), rng.integers(0, 2, (3, width), np.uint8)
    rows = [backend.run(pack_rows, backend.asarray(m)) for m in (a, b)]
    assert rows[0].shape == (5, -(-width // 64))
    assert rows[0].dtype == np.uint64
    got = backend.to_host(backend.run(xnor_products, *rows, width))
    signs = [m.astype(int) * 2 - 1 for m in (a, b)]
    np.testing.assert_array_equal(got, signs[0] @ signs[1].T)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(backend.to_host(backend.run(unpack_rows, rows[0], width)), a)


def test_a_bit_has_its_position():
    bits = np.zeros((2, 70), np.uint8)
    bits[0, 3] = bits[1, 64] = 1
    assert pack_rows(bits).tolist() == [[8, 0], [0, 1]]


@pytest.mark.parametrize("width", [1, 7, 8, 31, 63, 64, 65, 127, 784])
def test_flat_bits(rng, width):
    bits = rng.integers(0, 2, (3, width), np.uint8)
    flat = flat_bits(pack_rows(bits), width)
    assert len(flat) == -(-3 * width // 8)
    assert [int(flat[k // 8]) >> k % 8 & 1 for k in range(3 * width)] == bits.ravel().tolist()
    np.testing.assert_array_equal(rows_of_flat(flat, 3, width), pack_rows(bits))
    with pytest.raises(ValueError, match="bytes of bits"):
        rows_of_flat(flat[:-1], 3, width)
    if 3 * width % 8:
        with pytest.raises(ValueError, match="beyond the last bit"):
            rows_of_flat(flat | np.uint8(128), 3, width)


def test_popcount_without_bitwise_count(monkeypatch, rng):
    words = rng.integers(0, 2**64, (3, 4), np.uint64)
    device = STRICT.asarray(words)
    expected = [[int(w).bit_count() for w in row] for row in words]
    for _ in range(2):
        assert STRICT.to_host(popcount(device)).tolist() == expected
        monkeypatch.delitem(strictdev._names, "bitwise_count", raising=False)


def test_products_in_blocks(monkeypatch, rng):
    a, b = (rng.integers(0, 2, (n, 100), np.uint8) for n in (9, 4))
    whole = xnor_products(pack_rows(a), pack_rows(b), 100)
    monkeypatch.setattr(packed_bits, "BLOCK", 20)
    np.testing.assert_array_equal(xnor_products(pack_rows(a), pack_rows(b), 100), whole)


def test_the_narrowest_integers():
    for most, dtype in ((2**15 - 1, np.int16), (2**15, np.int32), (2**31, np.int64)):
        for values in ([most], [-most - 1]):
            got = narrowest(np.array(values, np.int64))
            assert (got.dtype, got.tolist()) == (dtype, values)
    assert narrowest(np.zeros(0, np.int64)).dtype == np.int16
