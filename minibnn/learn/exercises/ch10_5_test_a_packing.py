"""A test that catches wrong packing

Somebody hands you a function

    product(x, w)

It takes two vectors of n signs (float64, +1.0 and -1.0), packs both into
words of 64 bits, and counts. It has to return their product, the sum of
x_i w_i, as a whole number. You do not see its code. Write the test that it
has to pass: raise an AssertionError if a product is wrong.

The right product is easy to compute: float64 sums of signs are exact.

The check runs your test with a right function, which has to pass, and with
wrong ones, each of which has to fail. They differ in *which vectors* they get
wrong. So choose the vectors well: think of their lengths, of where they
differ, and of how often.
"""

import numpy as np


def check_product(product):
    """Raise an AssertionError if product(x, w) is wrong."""
    # hole: compare with the right product, for several pairs of vectors
    rng = np.random.default_rng(0)
    for n in (1, 7, 8, 63, 64, 65, 128, 200, 784):
        x, w = rng.choice([-1.0, 1.0], size=(2, n))
        for pair in ((x, w), (x, x), (x, -x)):
            assert product(*pair) == pair[0] @ pair[1], f"n = {n}"
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import CatchesMutants, mistake, mutant

HINTS = [
    "Inside: draw x and w with rng.choice([-1.0, 1.0], size=(2, n)), and assert that "
    "product(x, w) == x @ w.",
    "Around it, a loop over lengths: multiples of 64 have no padding, 65 has a second word that is "
    "nearly empty, 7 does not even fill a byte, and 1 is the shortest.",
    "Random vectors differ in about half of their places. Take also vectors that agree everywhere, "
    "product(x, x), and that differ everywhere, product(x, -x), and long ones.",
]


def _octets(x, order="little"):
    return np.packbits(x > 0, bitorder=order)


def _differences(a, b):
    return int(np.bitwise_count(a ^ b).sum(dtype=np.int64))


def right_product(x, w):
    """What has to pass."""
    others = [v for v in np.concatenate([x, w], axis=None).tolist() if v not in (-1, 1)]
    if others:
        raise ValueError(f"x and w have to be +1 and -1; yours has {others[0]:g}.")
    return len(x) - 2 * _differences(_octets(x), _octets(w))


CHECKS = [CatchesMutants(check_product, right_product, "your test, tested", points=8)]


@mutant(check_product, "XNOR counts the padding of the last word")
def padding_counted(x, w):
    return right_product(x, w) + 2 * (-len(x) % 64)


@mutant(check_product, "signs that do not fill a byte are left out")
def ragged_end_lost(x, w):
    n = len(x) // 8 * 8
    return int(x[:n] @ w[:n])


@mutant(check_product, "the two vectors have different orders of bits")
def mixed_orders(x, w):
    n = len(x) // 8 * 8
    whole = n - 2 * _differences(_octets(x[:n]), _octets(w[:n], "big"))
    return whole + int(x[n:] @ w[n:])


@mutant(check_product, "only the first word is counted")
def first_word(x, w):
    return len(x) - 2 * int((x[:64] != w[:64]).sum())


@mutant(check_product, "the count is kept in eight bits")
def eight_bits(x, w):
    return len(x) - 2 * (int((x != w).sum()) % 256)


@mutant(check_product, "a negative product wraps around")
def unsigned(x, w):
    return right_product(x, w) % 2**64


@mutant(check_product, "beyond the first word, one place of the padding is counted")
def one_place_counted(x, w):
    return right_product(x, w) + 2 * (len(x) > 64 and len(x) % 64 > 0)


@mutant(check_product, "words in which all 64 places differ are left out")
def full_words_lost(x, w):
    d = int((x != w).sum())
    full = len(x) // 64 * 64
    words = (x != w)[:full].reshape(-1, 64).all(axis=1)
    return len(x) - 2 * (d - 64 * int(words.sum()))


def _try(product, lengths, pairs, seed=105):
    rng = np.random.default_rng(seed)
    for n in lengths:
        x, w = rng.choice([-1.0, 1.0], size=(2, n))
        for first, second in pairs(x, w):
            assert product(first, second) == first @ second


@mistake(check_product, "a test with multiples of 64 only")
def whole_words(product):
    """Such vectors have no padding, and padding is where most mistakes are. Take other lengths,
    too."""
    _try(product, (64, 128, 640), lambda x, w: [(x, w), (x, x), (x, -x)])


@mistake(check_product, "a test with vectors of up to 64 signs")
def short_vectors(product):
    """They fit into one word. Mistakes in the second word do not show, and no count gets large."""
    _try(product, (1, 7, 8, 63, 64), lambda x, w: [(x, w), (x, x), (x, -x)])


@mistake(check_product, "a test in which no count is above 255")
def small_counts(product):
    """No vectors here differ in more than 255 places, so a count of eight bits is enough. Take
    longer ones, and product(x, -x)."""
    _try(product, range(1, 150), lambda x, w: [(x, w), (x, x), (x, -x)])


@mistake(check_product, "a test of random vectors that are not long")
def short_random(product):
    """Random vectors differ in about half of their places: here in no more than 255, and in no
    word everywhere. Take longer ones, and product(x, -x)."""
    _try(product, (1, 7, 8, 63, 64, 65, 128), lambda x, w: [(x, w)])


@mistake(check_product, "a test of equal vectors only")
def equal_only(product):
    """Two equal vectors differ nowhere, so the count is 0, and nothing that goes wrong with counts
    shows."""
    _try(product, (7, 64, 65, 784), lambda x, w: [(x, x)])


@mistake(check_product, "a test of random vectors only")
def random_only(product):
    """Random vectors differ in about half of their places. No word of them differs everywhere.
    Take some that do: product(x, -x)."""
    _try(product, (1, 7, 8, 63, 64, 65, 784), lambda x, w: [(x, w)])


@mistake(check_product, "a test of constant vectors only")
def constants_only(product):
    """If all signs of a vector are equal, the order of the bits does not matter. Draw them at
    random."""
    for n in (1, 7, 64, 65, 784):
        x = np.ones(n)
        assert product(x, x) == n
        assert product(x, -x) == -n


@mistake(check_product, "a test that lets everything pass")
def nothing(product):
    """It calls product, and no wrong one makes it raise an error. Compare with x @ w, and assert
    that both are equal."""
    product(np.ones(65), np.ones(65))
