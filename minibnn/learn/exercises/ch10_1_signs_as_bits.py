"""Signs as bits, and back

Store signs in bits, eight in a byte: the bit 1 for +1, and 0 for -1. Each row
of x becomes a row of bytes. Place i of a row is in byte i // 8 of this row,
and worth 2^(i mod 8) there: this is the little order of bits. If the number
of signs is no multiple of 8, fill up the last byte of each row with zeros.

    [+1, -1, +1, -1, -1, -1, -1, -1,   +1, +1]      is      [5, 3]

Then the way back. It has to be told how many signs a row has, since the
bytes do not know.

x is (rows, n), of +1.0 and -1.0. The bytes (or octets) are (rows, bytes) of
uint8, with as few bytes as hold n bits.
"""

import numpy as np


def pack_signs(x):
    """The signs of each row as bytes, uint8."""
    return np.packbits(x > 0, axis=1, bitorder="little")  # hole: a row of bytes for each row


def unpack_signs(octets, n):
    """The first n signs of each row, +1.0 and -1.0."""
    # hole: bits, cut to n of them, then signs
    bits = np.unpackbits(octets, axis=1, count=n, bitorder="little")
    return 2.0 * bits - 1
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Probe, mistake

HINTS = [
    "np.packbits takes an array of bits, such as x > 0, and has the arguments axis and bitorder. "
    "np.unpackbits is its inverse and has them, too.",
    'Rows are packed along axis=1, and the order is bitorder="little".',
    "np.unpackbits gives 8 bits for each byte. Its argument count=n keeps the first n of each row; "
    "a slice [:, :n] does it as well.",
    "From bits to signs: 0 becomes -1 and 1 becomes +1, which is 2 * bit - 1. Use 2.0, since the "
    "bits are unsigned and cannot be negative.",
]

_rng = np.random.default_rng(101)
WHOLE, RAGGED = (_rng.choice([-1.0, 1.0], size=size) for size in ((2, 16), (3, 11)))
LONG = _rng.choice([-1.0, 1.0], size=(2, 21))
BYTES = [(_rng.integers(256, size=(2, 1), dtype=np.uint8), 8),
         (_rng.integers(256, size=(2, 3), dtype=np.uint8), 19)]  # fmt: skip


def _type(pack):
    return {"the type of the bytes": str(np.asarray(pack(WHOLE)).dtype)}


CHECKS = [
    Agrees(pack_signs, [WHOLE], "whole bytes"),
    Probe(pack_signs, _type, "bytes, and no larger numbers"),
    Agrees(pack_signs, [RAGGED, LONG], "rows that end in the middle of a byte"),
    Agrees(unpack_signs, BYTES, "the way back"),
]


@mistake(pack_signs, "the big order of bits")
def big_order(x):
    """The first sign is worth 128 here, not 1. That is np.packbits' default: tell it the other
    order."""
    return np.packbits(x > 0, axis=1)


@mistake(pack_signs, "bytes with +1 and -1 swapped")
def swapped(x):
    """The bit is 1 for +1. Here it is 1 for -1. Products do not notice if both sides do it, but
    whoever reads the bytes does."""
    return np.packbits(x < 0, axis=1, bitorder="little")


@mistake(pack_signs, "a packing of columns")
def columns(x):
    """It puts signs of different rows into one byte. Each row has to become a row of bytes: pack
    along axis 1."""
    return np.packbits(x > 0, axis=0, bitorder="little")


@mistake(pack_signs, "a packing of all rows as one")
def flat(x):
    """Without an axis, np.packbits takes all rows as one long row. Then the next row begins in the
    middle of a byte."""
    return np.packbits(x > 0, bitorder="little")


@mistake(pack_signs, "a packing in which all signs are 1")
def nonzero(x):
    """np.packbits takes everything that is not 0 as a 1, also -1. Give it bits: x > 0."""
    return np.packbits(x.astype(np.int64), axis=1, bitorder="little")


@mistake(pack_signs, "a packing into words")
def words(x):
    """These are words of 64 bits, as in the chapter. The exercise wants bytes, and no more of them
    than hold the signs of a row."""
    octets = np.packbits(x > 0, axis=1, bitorder="little")
    return np.pad(octets, ((0, 0), (0, -octets.shape[1] % 8))).view("<u8")


@mistake(unpack_signs, "the bits, not the signs")
def only_bits(octets, n):
    """It gives 0 and 1. The signs are -1 and +1."""
    return np.unpackbits(octets, axis=1, count=n, bitorder="little")


@mistake(unpack_signs, "an answer with the padding")
def with_padding(octets, n):
    """The last byte has bits that belong to no sign. Keep the first n of each row."""
    return 2.0 * np.unpackbits(octets, axis=1, bitorder="little") - 1


@mistake(unpack_signs, "an answer in the big order")
def unpack_big(octets, n):
    """It reads each byte from its bit worth 128. The first sign is worth 1."""
    return 2.0 * np.unpackbits(octets, axis=1, count=n) - 1


@mistake(unpack_signs, "an answer with 255 for -1")
def wrapped(octets, n):
    """2 * bit - 1 of unsigned bytes cannot be negative: it wraps around to 255. Make numbers of the
    bits that can, such as floats."""
    bits = np.unpackbits(octets, axis=1, count=n, bitorder="little")
    return np.where(bits == 0, 255, 1)
