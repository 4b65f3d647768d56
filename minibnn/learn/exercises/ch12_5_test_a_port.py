"""A test that catches wrong ports

Somebody has written a binary neuron in C and hands you

    bit = port(x, w, K, threshold, falling)

You do not see the code. x and w are lists of whole numbers, the words of the
inputs and of the weights: 32 bits each, the first input is the lowest bit of
word 0. K is how many inputs there are; spare bits of the last word are 0 in
both. Equal bits count +1, different ones -1:

    a = K - 2 (how many of the first K bits of x and w differ)
    bit = 1 if a <= threshold, where falling; else 1 if a >= threshold; else 0

Write the test that a port has to pass: raise an AssertionError if a bit is
wrong. Three functions are given, to make words of bits and to say what is
right. The check runs your test with a right port, which has to pass, and with
wrong ones, each of which has to fail: so think of what goes wrong in C.
"""

import numpy as np


def words_of(bits):
    """Words of 32 bits, the spare ones 0."""
    padded = [*bits, *[0] * (-len(bits) % 32)]
    return [sum(int(bit) << i for i, bit in enumerate(padded[start : start + 32]))
            for start in range(0, len(padded), 32)]  # fmt: skip


def right_sum(x_bits, w_bits):
    """The sum a, from lists of bits."""
    return sum(1 if x == w else -1 for x, w in zip(x_bits, w_bits, strict=True))


def right_bit(a, threshold, falling):
    """The bit for a sum."""
    return int(a <= threshold if falling else a >= threshold)


def check_port(port):
    """Raise an AssertionError if the port gives a wrong bit."""
    rng = np.random.default_rng(0)
    # hole: for several K, inputs and thresholds, compare the port with right_bit
    for K in (1, 31, 32, 33, 64, 72, 100, 400):
        w = rng.integers(0, 2, K)
        for x in (w, 1 - w, rng.integers(0, 2, K), rng.integers(0, 2, K)):
            a, x_words, w_words = right_sum(x, w), words_of(x), words_of(w)
            for threshold in (a - 2, a - 1, a, a + 1, a + 2):
                for falling in (False, True):
                    got = port(x_words, w_words, K, threshold, falling)
                    assert got == right_bit(a, threshold, falling), (K, a, threshold, falling)
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import CatchesMutants, mistake, mutant

HINTS = [
    "Take random weights and inputs: w = rng.integers(0, 2, K). Compare port(words_of(x), "
    "words_of(w), K, threshold, falling) with right_bit(right_sum(x, w), threshold, falling).",
    "A random threshold rarely tells >= from >. Compute the sum a first, then take thresholds at "
    "it and beside it: a - 1, a, a + 1, and both values of falling.",
    "Take several K: below 32, exactly 32, a bit more, and one large enough that the sum does not "
    "fit into 8 bits.",
    "Random inputs have sums near 0. With x = w the sum is K, with x = 1 - w it is -K: large "
    "sums show what is too small to hold them.",
]


def _sum(x, w, K):
    return K - 2 * sum((a ^ b).bit_count() for a, b in zip(x, w, strict=True))


def _compare(a, threshold, falling):
    return int(a <= threshold if falling else a >= threshold)


def right_port(x, w, K, threshold, falling):
    """What has to pass."""
    wanted = -(-K // 32)
    if not len(x) == len(w) == wanted:
        raise ValueError(
            f"for K = {K}, x and w have {wanted} word{'s' * (wanted > 1)} each; the port was given "
            f"{len(x)} and {len(w)}. words_of makes words of bits"
        )
    return _compare(_sum(x, w, K), threshold, falling)


CHECKS = [CatchesMutants(check_port, right_port, "your test, tested", points=10)]


@mutant(check_port, "a sum that meets the threshold exactly gives 0")
def strict(x, w, K, threshold, falling):
    a = _sum(x, w, K)
    return int(a < threshold if falling else a > threshold)


@mutant(check_port, "falling is ignored")
def never_falling(x, w, K, threshold, falling):
    return _compare(_sum(x, w, K), threshold, False)


@mutant(check_port, "falling turns the bit around, in the place of the comparison")
def inverted(x, w, K, threshold, falling):
    bit = _compare(_sum(x, w, K), threshold, False)
    return 1 - bit if falling else bit


@mutant(check_port, "the spare bits are counted as equal")
def padding_counted(x, w, K, threshold, falling):
    return _compare(_sum(x, w, 32 * len(x)), threshold, falling)


@mutant(check_port, "only whole words are counted")
def whole_words(x, w, K, threshold, falling):
    n = K // 32
    return _compare(_sum(x[:n], w[:n], K), threshold, falling)


@mutant(check_port, "the sum is kept in 8 bits, and wraps around")
def eight_bits(x, w, K, threshold, falling):
    return _compare((_sum(x, w, K) + 128) % 256 - 128, threshold, falling)


@mutant(check_port, "the popcount is kept in an unsigned byte")
def byte_count(x, w, K, threshold, falling):
    count = sum((a ^ b).bit_count() for a, b in zip(x, w, strict=True)) % 256
    return _compare(K - 2 * count, threshold, falling)


@mutant(check_port, "the words of the weights are read in the reverse order")
def reversed_words(x, w, K, threshold, falling):
    return _compare(_sum(x, w[::-1], K), threshold, falling)


@mutant(check_port, "the bytes of each word of the weights are swapped")
def swapped_bytes(x, w, K, threshold, falling):
    swapped = [int.from_bytes(word.to_bytes(4, "little"), "big") for word in w]
    return _compare(_sum(x, swapped, K), threshold, falling)


@mutant(check_port, "the factor 2 is missing")
def no_factor(x, w, K, threshold, falling):
    return _compare((_sum(x, w, K) + K) // 2, threshold, falling)


_KINDS = "equal", "opposite", "random"


def _try(port, widths, kinds, offsets=(-2, -1, 0, 1, 2), fallings=(False, True)):
    """A test with these inputs and thresholds only."""
    rng = np.random.default_rng(0)
    for K in widths:
        w, other = rng.integers(0, 2, (2, K))
        inputs = {"equal": w, "opposite": 1 - w, "random": other}
        for x in (inputs[kind] for kind in kinds):
            a = right_sum(x, w)
            for threshold in (a + offset for offset in offsets):
                for falling in fallings:
                    got = port(words_of(x), words_of(w), K, threshold, falling)
                    assert got == right_bit(a, threshold, falling)


@mistake(check_port, "a test with whole words only")
def whole_only(port):
    """All its K are multiples of 32, so there are no spare bits. Ports fail at the last word: take
    33, 40, 100."""
    _try(port, (32, 64, 128, 512), _KINDS)


@mistake(check_port, "a test in which no sum meets its threshold")
def no_ties(port):
    """Its thresholds lie beside the sums and never on one. So it cannot tell >= from >. Compute
    the sum first, and take it as the threshold."""
    _try(port, (31, 33, 72, 100, 400), _KINDS, (-3, -1, 1, 3))


@mistake(check_port, "a test that sums and counts of 8 bits pass")
def narrow(port):
    """In a wider layer a sum or a count of 8 bits wraps around. Random inputs have sums near 0,
    even of a wide neuron. Take K = 400, with x = w and with x = 1 - w. If you do, does your test
    let some wrong bits pass? Assert every bit, not a share of them."""
    _try(port, (1, 31, 33, 72, 100), _KINDS)


@mistake(check_port, "a test without ties and without large numbers")
def by_chance(port):
    """No sum meets its threshold: compute the sum first, and take thresholds at it and beside it.
    And nothing here needs more than 8 bits: with x = w and x = 1 - w, K = 400 does."""
    _try(port, (1, 31, 33, 72, 100, 400), ("random",), (-3, -1, 1, 3))


@mistake(check_port, "a test in which no more than 255 bits differ")
def few_differ(port):
    """So a count of them fits into a byte. With x = w no bit differs at all, and of random ones
    about half. Take K = 400, with x = 1 - w."""
    _try(port, (1, 31, 33, 72, 100, 400), ("equal", "random"))


@mistake(check_port, "a test without falling thresholds")
def rising_only(port):
    """falling is always False. Half of what the port has to do was never asked."""
    _try(port, (31, 33, 72, 100, 400), _KINDS, fallings=(False,))


@mistake(check_port, "a test with falling only at the sums")
def only_sums(port):
    """Wherever falling is True, the threshold is the sum itself, and then the bit is 1 whether
    falling or not. Take a - 1 and a + 1, too."""
    _try(port, (31, 33, 72, 100, 400), _KINDS, (0,))


@mistake(check_port, "a test that never raises")
def silent(port):
    """No port makes it raise. check_port has to raise an AssertionError; what it returns or prints
    is ignored."""


@mistake(check_port, "a test with a single word")
def one_word(port):
    """No K is above 32, so all inputs fit into one word. Whether the words come in the right order
    does not show. Take K of 33 and more, and 400."""
    _try(port, (1, 5, 20, 31), _KINDS)
