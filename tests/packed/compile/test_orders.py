"""Checks of whole orders, against comparisons of each value with each other one."""

from __future__ import annotations

import itertools
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_models import dense, ink

from minibnn import Activation, BatchNorm, Flatten, Rescale, Sequential, SignSTE, pack
from minibnn.packed.compile.exact import Line, compare
from minibnn.packed.compile.orders import order, parallel_order

ONE, ZERO = Fraction(1), Fraction(0)
SLOPES = [Fraction(n, d) for n in (-2, -1, 0, 1, 3) for d in (1, 3)] + [Fraction(0.1)]
STARTS = [Fraction(n, 6) for n in range(-7, 8)] + [
    Fraction(0.1),
    Fraction(1, 2**70),
    Fraction(10**9),
]


def agree(lines, low, high, step, A, B):
    """Whether scores compare as exact values do: by all pairs."""
    accs = [range(a, b + 1, step) for a, b in zip(low, high, strict=True)]
    for i, j in itertools.combinations(range(len(lines)), 2):
        for a, b in itertools.product(accs[i], accs[j]):
            x, y = A[i] * a + B[i], A[j] * b + B[j]
            if (x > y) - (x < y) != compare(lines[i], a, lines[j], b):
                return False
    return True


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_it_is_the_comparison_of_all_pairs(data):
    draw = data.draw
    n, step = draw(st.integers(2, 4)), draw(st.sampled_from([1, 2]))
    kind = draw(st.sampled_from(["parallel", "rational", "roots"]))
    slope = draw(st.sampled_from(SLOPES))
    lines, low, high = [], [], []
    for _ in range(n):
        roots = kind == "roots"
        lines.append(Line(
            slope if kind == "parallel" else draw(st.sampled_from(SLOPES)),
            draw(st.sampled_from(STARTS)),
            Fraction(draw(st.sampled_from([1, 2, 9, 25]))) if roots else ONE,
            draw(st.sampled_from(STARTS)) if roots else ZERO,
        ))  # fmt: skip
        low.append(-step * draw(st.integers(0, 3)))
        high.append(low[-1] + step * draw(st.integers(1, 6)))
    checks = [order(lines, low, high, step)]
    if (check := parallel_order(lines, low, high, step)) is not None:
        checks.append(check)
    for s in range(-2, 8):
        pairs = [line.coefficients() for line in lines]
        nudge = draw(st.sampled_from([0, 0, 1, -1]))
        A, B = ([round(pair[k] * Fraction(2) ** s) for pair in pairs] for k in (0, 1))
        B[0] += nudge
        expected = agree(lines, low, high, step, A, B)
        assert [holds(A, B) for holds in checks] == [expected] * len(checks)


@pytest.mark.parametrize("variance", [9, 25, 36, 49, 121])
@pytest.mark.parametrize("sign", [1, -1])
def test_ties_that_fixed_point_numbers_miss(variance, sign):
    """1 / sqrt(9) is 1/3, which is no binary fraction, but three of them still tie with 1."""
    root = Fraction(round(variance**0.5))
    lines = [Line(sign * ONE, ZERO, Fraction(variance), ZERO), Line(ONE, ZERO, ONE, ZERO)]
    holds = order(lines, [-12, -12], [12, 12], 1)
    assert holds([sign, int(root)], [0, 0])
    assert not holds([sign, int(root)], [0, 1])
    assert not holds([sign * 2**40, round(2**40 * root) + 1], [0, 0])


@pytest.mark.parametrize("slopes", [(1, 1), (1, -1), (-1, 1), (1, 0)])
def test_values_that_fixed_point_numbers_do_not_tell_apart(slopes):
    """All are within 2^-60 of the shift: each class is sorted by its accumulators."""
    lines = [
        Line(Fraction(slope, 2**70), ZERO, variance, ONE)
        for slope, variance in zip(slopes, (Fraction(2), Fraction(3)), strict=True)
    ]
    low, high = [-9, -5], [7, 12]
    holds = order(lines, low, high, 1)
    A = [round(line.coefficients()[0] * Fraction(2) ** 90) for line in lines]
    assert holds(A, [0, 0])
    for wrong in ([-A[0], A[1]], [A[1], A[0]], [0, 0]):
        assert not agree(lines, low, high, 1, wrong, [0, 0])
        assert not holds(wrong, [0, 0])


def test_lines_that_do_not_cross_everywhere_are_not_taken_for_parallel_ones():
    far = [Line(ONE, Fraction(100), ONE, ZERO), Line(ONE, ZERO, ONE, ZERO)]
    assert parallel_order(far, [0, 0], [50, 50], 1) is None
    assert parallel_order(far, [0, 0], [101, 101], 1) is not None
    assert (
        parallel_order([Line(ZERO, n, ONE, ZERO) for n in (ONE, ZERO)], [0, 0], [9, 9], 1) is None
    )


def test_integers_beyond_64_bits():
    big = Fraction(2**200 + 1)
    lines = [Line(big, ZERO, ONE, ZERO), Line(big - 1, ZERO, ONE, ZERO)]
    holds = order(lines, [0, 0], [9, 9], 1)
    assert holds([100, 99], [0, 0])
    assert not holds([1, 1], [0, 0])


@pytest.mark.parametrize(("classes", "hidden"), [(62, False), (1000, False), (1000, True)])
def test_many_classes_are_packed_in_seconds(classes, hidden, rng):
    layers = [dense(784, classes)]
    if hidden:
        layers = [dense(784, 128), BatchNorm(128), Activation(SignSTE())]
        layers += [dense(128, classes), BatchNorm(classes)]
    model = Sequential(Flatten(), Rescale(1 / 255), *layers).initialize(rng)
    for parameter in model.parameters():
        if parameter.name in ("bias", "beta"):
            parameter.data[...] = rng.normal(0, 1, parameter.shape)
    for buffer in model.buffers():
        buffer.data[...] = rng.uniform(1, 300, buffer.data.shape)
    begun = time.process_time()
    packed = pack(model, (28, 28))
    assert time.process_time() - begun < 10
    images = rng.integers(0, 256, (20, 28, 28), np.uint8)
    sums = packed.after(images, len(packed.stages) - 1)
    logits = packed.logits(images)
    assert (packed.predict(images) == logits.argmax(axis=1)).mean() > 0.9
    assert sums.shape == (20, classes)


def test_one_bit_of_a_bias_decides():
    model = Sequential(*ink(), dense(4, 2)).initialize(0)
    model[2].bias.data[...] = [1.0, np.nextafter(np.float32(1), np.float32(2))]
    scores = pack(model, (4,)).scores
    assert scores.B[1] > scores.B[0]
