"""Thresholds for sums of bytes

The first layer takes pixels: bytes p from 0 to 255. In training they are
scaled to x = 2 p / 255 - 1, and a neuron with weights w of +1 and -1 computes

    z = sum over i of w_i x_i
    bit = +1 exactly if gamma (z - mean) / std + beta >= 0      with std > 0

In the packed network it adds the bytes as they are,

    a = sum over i of w_i p_i

which is a whole number, and compares a with a whole number. First compute a
by adding and subtracting; it may be negative, and larger than a byte. Then
find the threshold. Return (threshold, falling):

    falling is False:   the bit is +1 exactly if a >= threshold
    falling is True:    the bit is +1 exactly if a <= threshold

gamma is not 0. Every whole number may be a sum here. sign(0) = +1.
"""

from math import ceil, floor

import numpy as np


def sum_of_bytes(p, w):
    """a, an int. Shapes: p (n,) of uint8, w (n,) of +1 and -1."""
    # hole: add the bytes with weight +1, subtract the others
    p = p.astype(np.int64)
    return int(p[w > 0].sum() - p[w < 0].sum())
    # end of hole


def threshold_of_bytes(w, gamma, beta, mean, std):
    """(threshold, falling)."""
    # hole: write z with a, then solve for a
    tau = mean - beta * std / gamma
    limit = (tau + w.sum()) * 255 / 2
    return (floor(limit), True) if gamma < 0 else (ceil(limit), False)
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake

HINTS = [
    "p[w > 0] are the bytes with weight +1. Convert p to a larger, signed type before you "
    "subtract: p.astype(int).",
    "z = sum of w_i (2 p_i / 255 - 1) = (2 / 255) a - (sum of the weights).",
    "For gamma > 0 the condition is z >= tau with tau = mean - beta std / gamma. Put z in, and "
    "solve for a: add the sum of the weights, then multiply by 255 / 2.",
    "A whole number is at least the limit if it is at least ceil(limit). For gamma < 0 the "
    "inequality turns around, and floor(limit) is the end.",
]

_rng = np.random.default_rng(104)
_W = _rng.choice([-1.0, 1.0], size=9, p=[0.3, 0.7])
_V = _rng.choice([-1.0, 1.0], size=12, p=[0.7, 0.3])
_ONES = np.ones(4)
_EVEN = np.array([1.0, 1.0, 1.0, -1.0, 1.0, -1.0])  # the sum is 2
PIXELS = [(np.array([200, 100, 7], np.uint8), np.array([1.0, 1.0, -1.0])),
          (np.array([0, 250, 9, 30], np.uint8), np.array([1.0, -1.0, -1.0, 1.0])),
          (_rng.integers(256, size=40, dtype=np.uint8), _rng.choice([-1.0, 1.0], size=40))
          ]  # fmt: skip
# Limits with fractions below and above .5, and limits below 0: so each way to round shows.
RISING = [(_W, 1.5, 0.3, 0.7, 2.0), (_V, 0.5, -0.4, -1.3, 1.2), (_ONES, 2.0, 0.3, 0.9, 1.6)]
FALLING = [(_W, -1.5, 0.3, 0.7, 2.0), (_V, -0.5, -0.4, 1.3, 1.2), (_ONES, -2.0, 0.3, 0.9, 1.6)]
MET_RISING = [(_EVEN, 1.0, 0.0, 2.0, 3.0), (_EVEN, 2.0, 4.0, 6.0, 3.0)]
MET_FALLING = [(_EVEN, -1.0, 0.0, 2.0, 3.0), (_EVEN, -2.0, 4.0, -4.0, 3.0), FALLING[2]]
CHECKS = [
    Agrees(sum_of_bytes, PIXELS, "the sum of bytes"),
    Agrees(threshold_of_bytes, RISING, "positive gamma"),
    Agrees(threshold_of_bytes, FALLING, "negative gamma"),
    Agrees(threshold_of_bytes, MET_RISING, "positive gamma, limits that a sum meets exactly"),
    Agrees(threshold_of_bytes, MET_FALLING, "negative gamma, limits that a sum meets, and one not"),
]


@mistake(sum_of_bytes, "a sum that wraps around at 256")
def wrapped(p, w):
    """The sum was computed in bytes, and 200 + 100 is 44 there. Convert p to a larger type
    first."""
    plus, minus = (p[w > 0].sum(dtype=np.uint8), p[w < 0].sum(dtype=np.uint8))
    return (int(plus) - int(minus)) % 256


@mistake(sum_of_bytes, "a sum that cannot be negative")
def unsigned(p, w):
    """np.sum of bytes is unsigned, so a negative difference wraps around to a huge number. Use a
    signed type: p.astype(int)."""
    return (int(p[w > 0].sum()) - int(p[w < 0].sum())) % 2**64


@mistake(sum_of_bytes, "a sum of negated bytes")
def negated(p, w):
    """-p of an unsigned byte is 256 - p, so every byte with weight -1 makes the sum 256 too large.
    Convert p to a signed type before you negate it."""
    return int(np.where(w > 0, p, -p).sum())


@mistake(sum_of_bytes, "the sum of the bytes with weight +1 alone")
def plus_only(p, w):
    """The other bytes have the weight -1, not 0: subtract them."""
    return int(p[w > 0].sum())


@mistake(sum_of_bytes, "the sum of scaled pixels")
def scaled(p, w):
    """This is z. The point of a is that it is a sum of the bytes themselves, a whole number."""
    return float((2 * p.astype(float) / 255 - 1) @ w)


@mistake(threshold_of_bytes, "a threshold that forgets the -1 of the scaling")
def without_offset(w, gamma, beta, mean, std):
    """Each pixel was also shifted by -1, which takes the sum of the weights away from z. It belongs
    to the other side of the inequality."""
    limit = (mean - beta * std / gamma) * 255 / 2
    return (floor(limit), True) if gamma < 0 else (ceil(limit), False)


@mistake(threshold_of_bytes, "a threshold with the weights' sum on the wrong side")
def wrong_side(w, gamma, beta, mean, std):
    """z is (2 / 255) a *minus* the sum of the weights; on the other side of the inequality it is
    added."""
    return threshold_of_bytes(-w, gamma, beta, mean, std)


@mistake(threshold_of_bytes, "a threshold of scaled pixels")
def not_scaled(w, gamma, beta, mean, std):
    """The threshold is still in units of z. A step of a by 1 is a step of z by 2 / 255 only."""
    tau = mean - beta * std / gamma + w.sum()
    return (floor(tau), True) if gamma < 0 else (ceil(tau), False)


@mistake(threshold_of_bytes, "a threshold for pixels from 0 to 1")
def from_zero_to_one(w, gamma, beta, mean, std):
    """It is right for x = p / 255. Here x = 2 p / 255 - 1: the unit is 2 / 255, and there is the
    shift."""
    limit = (mean - beta * std / gamma) * 255
    return (floor(limit), True) if gamma < 0 else (ceil(limit), False)


@mistake(threshold_of_bytes, "a threshold that forgets negative gammas")
def forgets_gamma(w, gamma, beta, mean, std):
    """Dividing by a negative gamma turns the inequality around: the bit is +1 *up to* the
    threshold."""
    return ceil((mean - beta * std / gamma + w.sum()) * 255 / 2), False


def _limit(w, gamma, beta, mean, std):
    return (mean - beta * std / gamma + w.sum()) * 255 / 2


@mistake(threshold_of_bytes, "a threshold of z")
def unscaled(w, gamma, beta, mean, std):
    """This is what z is compared with. Write z with a, then solve the inequality for a."""
    return threshold_of_bytes(np.zeros(1), gamma, beta * 2 / 255, mean * 2 / 255, std)


@mistake(threshold_of_bytes, "a threshold without std")
def without_std(w, gamma, beta, mean, std):
    """It leaves std out: solved for z, the condition is z >= mean - beta std / gamma, for a
    positive gamma."""
    return threshold_of_bytes(w, gamma, beta, mean, 1.0)


@mistake(threshold_of_bytes, "a threshold with rising and falling swapped")
def swapped(w, gamma, beta, mean, std):
    """The number is right. A positive gamma makes a rising comparison, a >= threshold, and there
    falling is False."""
    threshold, falling = threshold_of_bytes(w, gamma, beta, mean, std)
    return threshold, not falling


@mistake(threshold_of_bytes, "a threshold that is rounded down")
def down(w, gamma, beta, mean, std):
    """a >= 3.2 holds from 4 on, not from 3: a rising threshold is rounded up, also below 0."""
    return floor(_limit(w, gamma, beta, mean, std)), gamma < 0


@mistake(threshold_of_bytes, "a threshold that is rounded up")
def up(w, gamma, beta, mean, std):
    """a <= 3.7 holds up to 3, not 4: a falling threshold is rounded down, also below 0."""
    return ceil(_limit(w, gamma, beta, mean, std)), gamma < 0


@mistake(threshold_of_bytes, "a threshold that is rounded to the nearest number")
def nearest(w, gamma, beta, mean, std):
    """a >= 3.2 holds from 4 on, not from 3, and a <= 3.7 holds up to 3, not 4. A rising threshold
    is rounded up, a falling one down."""
    return round(_limit(w, gamma, beta, mean, std)), gamma < 0


@mistake(threshold_of_bytes, "a threshold that is cut towards zero")
def towards_zero(w, gamma, beta, mean, std):
    """Without its fraction a positive number is rounded down, and a negative one up. Round a
    rising threshold up and a falling one down, whatever its sign: ceil and floor."""
    return int(_limit(w, gamma, beta, mean, std)), gamma < 0


@mistake(threshold_of_bytes, "a threshold in which sign(0) is -1")
def strict(w, gamma, beta, mean, std):
    """sign(0) = +1: a sum that meets the limit exactly belongs to +1. So a rising comparison is
    >=, not >, and a falling one is <=, not <."""
    limit = _limit(w, gamma, beta, mean, std)
    return (ceil(limit) - 1, True) if gamma < 0 else (floor(limit) + 1, False)


@mistake(threshold_of_bytes, "a beta with the wrong sign")
def wrong_beta(w, gamma, beta, mean, std):
    """A larger beta makes +1 easier: solve gamma (z - mean) / std + beta >= 0 for z once more."""
    return threshold_of_bytes(w, gamma, -beta, mean, std)
