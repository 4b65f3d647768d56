"""A packed dense layer

A dense layer computes z = x W. Here x (batch, n) and W (n, out) consist of
+1 and -1. Compute z from bits.

Each z is a product of a row of x with a *column* of W. So `packed_weights`
packs the columns, once and for all: row j of its result has the bits of
column j. Then `packed_dense` packs the rows of x, and for every pair of a row
of x and a column of W counts the places that differ:

    z = n - 2 d

`pack` is given: rows of bits become rows of bytes, filled up with zeros. For
counting take np.bitwise_count, which gives the number of 1s of each byte.

packed_weights(W) is (out, bytes) of uint8. z is (batch, out), of a signed
integer type.
"""

import numpy as np


def pack(bits):
    """Rows of bits as rows of bytes, in the little order."""
    return np.packbits(bits, axis=1, bitorder="little")


def packed_weights(W):
    """The columns of W, each as a row of bytes."""
    return pack(W.T > 0)  # hole: of the columns


def packed_dense(x, weights, n):
    """z, of shape (batch, out), for the packed weights of a layer with n inputs."""
    # hole: all pairs of rows of x and rows of weights
    a = pack(x > 0)
    different = np.bitwise_count(a[:, None, :] ^ weights).sum(axis=-1, dtype=np.int64)
    return n - 2 * different
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, PackedBits, Probe, mistake

HINTS = [
    "W.T has the columns of W as its rows. Bits are W.T > 0.",
    "With a = pack(x > 0), of shape (batch, bytes), all pairs at once are a[:, None, :] ^ weights, "
    "of shape (batch, out, bytes). A loop over the rows of x does it as well.",
    "Count with np.bitwise_count and add up along the last axis, with dtype=np.int64: a negative z "
    "needs a signed type.",
    "Then n - 2 * different. n is the number of signs, not of bits in the bytes.",
]

_rng = np.random.default_rng(103)


def _packed(W):
    return pack(W.T > 0).view(PackedBits)


def _layer(batch, n, out):
    x, W = (_rng.choice([-1.0, 1.0], size=size) for size in ((batch, n), (n, out)))
    return x, W


def _of_integers(function):
    z = function(_X2, _packed(_W2), 13)
    types = {"i": "signed integers", "u": "unsigned integers", "f": "floats"}
    return {"z consists of": types.get(np.asarray(z).dtype.kind, "something else"), "z": z}


_X, _W = _layer(2, 8, 3)
_X2, _W2 = _layer(3, 13, 5)
_X3, _W3 = _layer(2, 300, 4)
_X3[0] = -_W3[:, 1]  # all 300 places differ
CHECKS = [
    Agrees(packed_weights, [_W, _W2], "the weights, packed by columns"),
    Agrees(packed_dense, [(_X, _packed(_W), 8)], "a layer of whole bytes"),
    Agrees(
        packed_dense,
        [(_X2, _packed(_W2), 13), (_X3, _packed(_W3), 300)],
        "a layer with a ragged end",
        points=2,
    ),
    Probe(packed_dense, _of_integers, "sums of a signed integer type"),
]


@mistake(packed_weights, "the rows of W, packed")
def rows(W):
    """An output is a product with a column of W: pack along the inputs. Transpose first."""
    return pack(W > 0)


@mistake(packed_weights, "the rows of W, packed and then transposed")
def rows_transposed(W):
    """It transposes too late: each byte already holds signs of one row of W. Transpose first, then
    pack."""
    return pack(W > 0).T


@mistake(packed_weights, "the packed weights, transposed")
def transposed(W):
    """It has the right bits, but a column for each output. packed_dense needs a row for each."""
    return pack(W.T > 0).T


@mistake(packed_weights, "weights with +1 and -1 swapped")
def swapped(W):
    """The bit is 1 for +1. With x packed in this way and W in the other, every product changes its
    sign."""
    return pack(W.T < 0)


@mistake(packed_weights, "weights that are all 1")
def all_ones(W):
    """np.packbits takes -1 for a 1, since it is not 0. Make bits first: > 0."""
    return pack(np.ones(W.T.shape, bool))


@mistake(packed_dense, "a layer that counts the padding")
def with_padding(x, weights, n):
    """It takes 8 times the number of bytes for n. The padding is equal on both sides, and makes
    every sum too large."""
    a = pack(x > 0)
    d = np.bitwise_count(a[:, None, :] ^ weights).sum(axis=-1, dtype=np.int64)
    return 8 * weights.shape[1] - 2 * d


@mistake(packed_dense, "a layer by XNOR that counts the padding")
def xnor(x, weights, n):
    """XNOR of the padding is 1, so each of its places counts as equal. Use XOR, or take the padding
    away again."""
    a = pack(x > 0)
    e = np.bitwise_count(~(a[:, None, :] ^ weights)).sum(axis=-1, dtype=np.int64)
    return 2 * e - n


@mistake(packed_dense, "a layer whose output is transposed")
def output_transposed(x, weights, n):
    """z has a row for each sample and a column for each output: (batch, out)."""
    return packed_dense(x, weights, n).T


@mistake(packed_dense, "the number of places that differ")
def differences(x, weights, n):
    """These are the counts d. The sums are n - 2 d."""
    a = pack(x > 0)
    return np.bitwise_count(a[:, None, :] ^ weights).sum(axis=-1, dtype=np.int64)


@mistake(packed_dense, "a layer by AND")
def by_and(x, weights, n):
    """AND finds the places where both are +1. Two times -1 is +1, too: XOR finds the places that
    differ."""
    a = pack(x > 0)
    both = np.bitwise_count(a[:, None, :] & weights).sum(axis=-1, dtype=np.int64)
    return n - 2 * both


@mistake(packed_dense, "a layer in which all signs of x are +1")
def all_plus(x, weights, n):
    """np.packbits and bool take -1 for a 1, since it is not 0. Make bits first: x > 0."""
    return packed_dense(np.ones(x.shape), weights, n)


@mistake(packed_dense, "a layer with sums of eight bits")
def sums_of_eight_bits(x, weights, n):
    """In uint8 no sum can be negative, so -2 becomes 254, and n may not be more than 255. Add the
    counts up in a signed type: dtype=np.int64."""
    a = pack(x > 0)
    return n - 2 * np.bitwise_count(a[:, None, :] ^ weights).sum(axis=-1, dtype=np.uint8)


@mistake(packed_dense, "a layer with counts of eight bits")
def eight_bits(x, weights, n):
    """The counts were added up in uint8, and 300 places that differ are 44 there. Give sum
    dtype=np.int64."""
    a = pack(x > 0)
    d = np.bitwise_count(a[:, None, :] ^ weights).sum(axis=-1, dtype=np.uint8)
    return n - 2 * d.astype(np.int64)


@mistake(packed_dense, "a layer with negative sums that have wrapped around")
def wrapped(x, weights, n):
    """The counts are unsigned, so n - 2 * d cannot be negative and wraps around to a huge number.
    Add them up in a signed type: dtype=np.int64."""
    return packed_dense(x, weights, n).astype(np.uint64)


@mistake(packed_dense, "a layer with sums that are floats")
def floats(x, weights, n):
    """The numbers are right, but a sum of signs is a whole number. Leave it one: 2 * different, not
    2.0 * different."""
    return packed_dense(x, weights, n).astype(float)
