"""Exact arithmetic, compared with decimals of many digits."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from packed_checks import decimal_of, positive, rationals, true_order

from minibnn.packed.compile.exact import Line, compare, inverse_root, sign_of_roots


@given(rationals, rationals, positive, rationals, positive)
def test_sign_of_roots(c, a, p, b, q):
    with localcontext(prec=120):
        value = sum(
            decimal_of(x) * decimal_of(y).sqrt() for x, y in ((c, 1 + 0 * c), (a, p), (b, q))
        )
        expected = 0 if abs(value) < Decimal("1e-90") else 1 if value > 0 else -1
    assert sign_of_roots(c, a, p, b, q) == expected


@given(rationals, rationals, positive, positive)
def test_sign_of_roots_at_zero(a, b, p, q):
    """Squares have rational roots, so the value can be 0."""
    assert sign_of_roots(-a * p - b * q, a, p * p, b, q * q) == 0
    assert sign_of_roots(Fraction(0), a, p, -2 * a, p / 4) == 0
    tiny = Fraction(1, 10**60)
    assert sign_of_roots(-a * p - b * q + tiny, a, p * p, b, q * q) == 1


@given(st.fractions(Fraction(1, 10**30), 10**30))
def test_inverse_root(v):
    error = inverse_root(v) ** 2 * v - 1
    assert -Fraction(1, 2**510) < error <= 0


@given(rationals, rationals, positive, rationals, rationals, positive, st.integers(-9, 9))
def test_compare(p, q, v, r, s, w, acc):
    one, other = Line(p, q, v, r), Line(q, r, w, s)
    (order,) = true_order([one, other], [acc]).ravel()
    assert compare(one, acc, other, acc) == order == -compare(other, acc, one, acc)
