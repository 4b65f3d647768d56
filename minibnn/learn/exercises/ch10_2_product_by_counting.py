"""A product by counting

Two vectors of n signs are packed into bytes, as in exercise 1; the rest of
the last byte is 0 in both. Their product, the sum of the products place by
place, is

    n - 2 d            with d the number of places that differ

Use no multiplication of signs, and do not unpack: take the exclusive or of
the bytes, a ^ b, and count its 1s.

Count them with a table of the 1s in each number of so many bits. First make
such tables, as lists or arrays: that of 2 bits is [0, 1, 1, 2], for the
numbers 0, 1, 2 and 3. For the rest, `TABLE` is given, the one of 8 bits.
(np.bitwise_count does the same, and a small processor needs the table.)

The vectors may be long, so d may be more than 255; and the product may be
negative. NumPy's unsigned integers wrap around at both ends: return an int.
"""

import numpy as np


def table_of_counts(bits):
    """How many 1s each number of so many bits has, in the order of the numbers."""
    return [bin(i).count("1") for i in range(2**bits)]  # hole: a count for each number


TABLE = np.array([0, 1], dtype=np.uint8)
while len(TABLE) < 256:  # a further bit in front: the counts so far, and one more
    TABLE = np.concatenate([TABLE, TABLE + np.uint8(1)])


def count_ones(octets):
    """The number of 1s in an array of bytes, all together; a whole number."""
    return int(TABLE[octets].sum(dtype=np.int64))  # hole: with TABLE


def product(a, b, n):
    """The product of two packed vectors of n signs, a whole number.

    Shapes: a and b (bytes,) of uint8.
    """
    return n - 2 * count_ones(a ^ b)  # hole: by the places that differ


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, PackedBits, Probe, mistake

HINTS = [
    "The number of 1s of a whole number i is i.bit_count(), or bin(i).count('1'). There are "
    "2**bits numbers of so many bits, from 0 on.",
    "TABLE[octets] looks up all bytes at once: an array of counts, of the shape of octets.",
    "Add the counts up: TABLE[octets].sum(). Make an int of the sum, since it is unsigned, and the "
    "next step may go below zero.",
    "product: n - 2 * count_ones(a ^ b). The padding is 0 in both, so it never differs.",
]

_rng = np.random.default_rng(102)


def _packed(n, share=0.5):
    """Two packed vectors of n signs; this share of them differs, about."""
    a = _rng.random(n) < 0.5
    b = a ^ (_rng.random(n) < share)
    return *(np.packbits(v, bitorder="little").view(PackedBits) for v in (a, b)), n


def _below_zero(count):
    """What a product does with the count: it may become negative."""
    return {"10 - 2 * count_ones([255, 7, 129])": 10 - 2 * count(np.array([255, 7, 129], np.uint8))}


OCTETS = [np.array([0, 1, 3, 255, 128], np.uint8), _rng.integers(256, size=90, dtype=np.uint8)]
CHECKS = [
    Agrees(table_of_counts, [2, 4, 8, 9], "the table"),
    Agrees(count_ones, OCTETS, "counting"),
    Probe(count_ones, _below_zero, "a count that can be subtracted"),
    Agrees(product, [_packed(16, 0.2), _packed(24, 0.7)], "products of whole bytes"),
    Agrees(product, [_packed(13, 0.3), _packed(21, 0.8), _packed(784)], "with a ragged end"),
]


@mistake(table_of_counts, "a table of the lengths of the numbers")
def lengths(bits):
    """It has the number of bits that are needed to write the number, zeros included. Count the 1s
    alone: 4 is 100, which has one."""
    return [i.bit_length() for i in range(2**bits)]


@mistake(table_of_counts, "a table without its last number")
def too_short(bits):
    """range(255) ends at 254. A byte has 256 values, and so many bits have 2**bits."""
    return [bin(i).count("1") for i in range(2**bits - 1)]


@mistake(table_of_counts, "a table of bytes, however many bits there are")
def always_bytes(bits):
    """It has 256 numbers, which is right for 8 bits. For others there are 2**bits."""
    return TABLE


@mistake(table_of_counts, "a table of zeros")
def zeros_of_numbers(bits):
    """It counts the 0s of each number, the bits minus the 1s."""
    return [bits - bin(i).count("1") for i in range(2**bits)]


@mistake(count_ones, "the number of bytes that are not 0")
def nonzero_bytes(octets):
    """A byte has up to eight 1s. Look each of them up in TABLE, then add up."""
    return int(np.count_nonzero(octets))


@mistake(count_ones, "the sum of the bytes")
def sum_of_bytes(octets):
    """The byte 3 has two 1s, not three. Look the bytes up in TABLE, then add the counts up."""
    return int(octets.sum(dtype=np.int64))


@mistake(count_ones, "a count of eight bits")
def eight_bits(octets):
    """The counts are added up in uint8, which begins again at 0 after 255. Write
    TABLE[octets].sum(), which takes a larger type by itself."""
    return int(TABLE[octets].sum(dtype=np.uint8))


@mistake(count_ones, "an unsigned count")
def unsigned(octets):
    """The count is right, but NumPy's sum of unsigned numbers is unsigned: 10 minus 26 wraps around
    to a huge number. Return an int."""
    return TABLE[octets].sum(dtype=np.uint64)


@mistake(count_ones, "a count for each byte")
def not_added(octets):
    """These are the counts of the single bytes. Add them up."""
    return TABLE[octets]


@mistake(product, "a product with the length of the padded vectors")
def padded_length(a, b, n):
    """8 bits for each byte count the padding as places that are equal. n is the number of signs."""
    return 8 * len(a) - 2 * count_ones(a ^ b)


@mistake(product, "a product that counts the padding as equal")
def counted_padding(a, b, n):
    """It counts the 1s of XNOR. The padding is 0 in both vectors, so XNOR makes 1s of it. Count the
    places that differ instead."""
    return 2 * count_ones(~(a ^ b)) - n


@mistake(product, "the number of equal places")
def equal_places(a, b, n):
    """n - d places are equal, and each contributes +1. The d others contribute -1 each, so d has to
    be taken away twice."""
    return n - count_ones(a ^ b)


@mistake(product, "a product with the wrong sign")
def turned(a, b, n):
    """Equal vectors have the product n, not -n: it is the places that *differ* that make the sum
    smaller."""
    return 2 * count_ones(a ^ b) - n


@mistake(product, "a product by AND")
def by_and(a, b, n):
    """a & b finds the places where both are +1. Places where both are -1 give +1 as well: take the
    exclusive or."""
    return n - 2 * count_ones(a & b)


@mistake(product, "a negative product that has wrapped around")
def wrapped(a, b, n):
    """The count is an unsigned integer of NumPy's, so n - 2 * count cannot be negative. Make an int
    of the count first."""
    return (n - 2 * count_ones(a ^ b)) % 2**64
