"""How many networks there are

A binary network of dense layers without biases has `sizes` such as
(784, 128, 64, 10): 784 inputs, two hidden layers, 10 outputs. Each weight is
one bit, so there are 2^n networks, if n is the number of weights.

How long is this number? Its decimal digits are those of 10^(n log10(2)). Do
not compute 2^n itself: n may be millions. A number N has
floor(log10 N) + 1 digits, so 1000 has 4.

Trying one flip of each weight takes n passes over the data. How many days is
that, if a pass takes so many seconds?

And how often does a sum of n random signs hit zero exactly? If n is even, half
of them have to be +1, which C(n, n/2) of the 2^n choices fulfil; if n is odd,
never. math.comb(n, k) is C(n, k).
"""

from itertools import pairwise
from math import comb, floor, log10


def number_of_weights(sizes):
    """How many weights the network has."""
    return sum(a * b for a, b in pairwise(sizes))  # hole: the sum over its layers


def digits_of_power(n):
    """How many decimal digits 2^n has, for n up to millions."""
    return floor(n * log10(2)) + 1  # hole: from n and log10(2)


def days_for_all_flips(sizes, seconds):
    """How many days one pass for each weight takes."""
    return number_of_weights(sizes) * seconds / 86400  # hole: a day has 86400 seconds


def share_of_zeros(n):
    """The probability that n random signs have the sum 0."""
    return 0.0 if n % 2 else comb(n, n // 2) / 2**n  # hole: for even and for odd n


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake

HINTS = [
    "A layer from a inputs to b outputs has a * b weights. Neighbours in sizes are a layer: "
    "pairwise(sizes) gives (784, 128), (128, 64), (64, 10).",
    "log10(2^n) is n * log10(2). math.floor rounds down; then add 1.",
    "Days: number_of_weights(sizes) * seconds / 86400.",
    "share_of_zeros: 0.0 if n % 2 else comb(n, n // 2) / 2**n. Python's whole numbers may be that "
    "large, and their quotient is a float.",
]

NETS = [((784, 128, 64, 10),), ((3, 5),), ((20, 7, 7, 2),)]  # one argument each
CHECKS = [
    Agrees(number_of_weights, NETS, "the number of weights"),
    Agrees(digits_of_power, [10, 64, 109_184, 2_000_000, 0], "the length of 2^n"),
    Agrees(days_for_all_flips, [((784, 128, 64, 10), 0.5), ((784, 10), 3.0)], "days of trying"),
    Agrees(share_of_zeros, [128, 2, 7, 1000, 11], "how often signs add up to zero"),
]


@mistake(number_of_weights, "the number of neurons")
def neurons(sizes):
    """The sizes count neurons. There is a weight from each neuron of a layer to each of the next:
    multiply neighbours, then add."""
    return sum(sizes)


@mistake(number_of_weights, "the product of all sizes")
def product(sizes):
    """Only neighbouring layers are connected. Multiply two neighbours at a time, and add up the
    layers."""
    total = 1
    for size in sizes:
        total *= size
    return total


@mistake(number_of_weights, "a count with biases")
def with_biases(sizes):
    """These layers have no bias: a layer from a to b has a * b weights, not (a + 1) * b."""
    return sum((a + 1) * b for a, b in pairwise(sizes))


@mistake(digits_of_power, "a length that lacks one digit")
def one_too_few(n):
    """floor(log10 N) is the number of zeros in 1000. A number has one digit more."""
    return floor(n * log10(2))


@mistake(digits_of_power, "the number of bits")
def bits(n):
    """2^n has n + 1 digits in the binary system. In the decimal one each digit is worth more: the
    logarithm to the base of 10."""
    return n + 1


@mistake(days_for_all_flips, "seconds, not days")
def in_seconds(sizes, seconds):
    """This is right in seconds. A day has 24 * 60 * 60 of them."""
    return number_of_weights(sizes) * seconds


@mistake(days_for_all_flips, "the days for one pass")
def one_pass(sizes, seconds):
    """One pass tells about one flip. There are as many passes as weights."""
    return seconds / 86400


@mistake(share_of_zeros, "a share that is not zero for an odd number of signs")
def odd_too(n):
    """Three signs cannot add up to zero: one of them is always left over. For odd n the answer
    is 0."""
    return comb(n, n // 2) / 2**n


@mistake(share_of_zeros, "the share of one arrangement")
def one_arrangement(n):
    """1 / 2^n is the probability of each single choice of signs. Many of them have the sum 0: count
    the ways to choose which half is +1."""
    return 0.0 if n % 2 else 1 / 2**n


@mistake(share_of_zeros, "one in n + 1, as if all sums were alike")
def one_in_sums(n):
    """The sum has n + 1 possible values, but they are not equally likely: those near 0 have many
    more arrangements."""
    return 0.0 if n % 2 else 1 / (n + 1)
