"""Exact comparisons of values after a batch norm: rational numbers and square roots."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

# Bits of relative precision of approximations, enough for float32 parameters even if terms cancel.
# Approximations serve speed and rounding only; `sign_of_roots` decides close comparisons.
PRECISION = 512


@dataclass(frozen=True)
class Line:
    """The exact value of one channel, as a function of its accumulator (its integer sum).

    .. equations::

        y(acc) = (slope acc + start) / sqrt(variance) + beta

    The four coefficients are rational numbers, and the variance is positive. Floats are rational
    numbers, so y is the model's value without any rounding.
    """

    slope: Fraction
    start: Fraction
    variance: Fraction
    beta: Fraction

    def numerator(self, acc: int) -> Fraction:
        """``slope acc + start``."""
        return self.slope * acc + self.start

    @property
    def rational(self) -> bool:
        """Whether y has no square root."""
        return self.variance == 1 and self.beta == 0

    def less(self, number: Fraction) -> Line:
        """The line of ``y - number``."""
        if self.variance == 1:  # without a root, all of it is in the start
            return replace(self, start=self.start - number)
        return replace(self, beta=self.beta - number)

    def parallel(self, other: Line) -> bool:
        """Whether both have no square root, and have the same slope."""
        return self.rational and other.rational and self.slope == other.slope

    def sign(self, acc: int) -> int:
        """The sign of y: -1, 0 or 1.

        y sqrt(variance) has the same sign, and is a rational number plus one root.
        """
        return sign_of_roots(self.numerator(acc), self.beta, self.variance)

    def coefficients(self) -> tuple[Fraction, Fraction]:
        """A and B in ``y = A acc + B``, to `PRECISION` bits."""
        root = inverse_root(self.variance)
        return self.slope * root, self.start * root + self.beta


def compare(one: Line, acc: int, other: Line, other_acc: int) -> int:
    """The exact sign of ``one.y(acc) - other.y(other_acc)``.

    Since r / sqrt(v) = (r / v) sqrt(v), the difference is a rational number plus two roots.
    """
    p, q = one.variance, other.variance
    return sign_of_roots(
        one.beta - other.beta, one.numerator(acc) / p, p, -other.numerator(other_acc) / q, q
    )


def sign_of_roots(
    c: Fraction,
    a: Fraction,
    p: Fraction,
    b: Fraction = Fraction(0),
    q: Fraction = Fraction(0),
) -> int:
    """The sign of ``c + a sqrt(p) + b sqrt(q)``, by squaring until no root is left.

    A sum of two terms of equal sign has that sign. If the signs differ, the term with the greater
    square decides; the square of a sqrt(p) + b sqrt(q) has only one root, that of p q.

    >>> sign_of_roots(Fraction(-3), Fraction(1), Fraction(2), Fraction(1), Fraction(3))  # 0.146
    1
    """
    roots = _sign_of_sum(_sign(a) if p else 0, a * a * p, _sign(b) if q else 0, b * b * q)
    if roots == 0 or c == 0 or roots == _sign(c):
        return roots or _sign(c)
    # |a sqrt(p) + b sqrt(q)| against |c|, both squared: a^2 p + b^2 q + 2 a b sqrt(p q) - c^2
    rest, root = a * a * p + b * b * q - c * c, 2 * a * b
    larger = _sign_of_sum(_sign(rest), rest * rest, _sign(root), root * root * p * q)
    return roots * larger


def inverse_root(v: Fraction) -> Fraction:
    """``1 / sqrt(v)`` with a relative error below 2^-PRECISION."""
    inverse = 1 / v
    # Scaled by an even power of two so that its integer root has more than PRECISION bits.
    length = inverse.numerator.bit_length() - inverse.denominator.bit_length()
    shift = PRECISION + 2 - length // 2
    scaled = inverse * Fraction(2) ** (2 * shift)
    return Fraction(math.isqrt(math.floor(scaled))) / Fraction(2) ** shift


def _sign(x: Fraction) -> int:
    return (x > 0) - (x < 0)


def _sign_of_sum(s: int, s_square: Fraction, t: int, t_square: Fraction) -> int:
    """The sign of a sum of two numbers, each given by its sign and its square."""
    if s == t or t == 0:
        return s
    if s == 0:
        return t
    return s * _sign(s_square - t_square)
