"""The bounds, against brute force and against searches for the worst inputs of each kind."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from bound_search import KINDS, Search

from minibnn.packed.compile import bounds
from minibnn.packed.compile.bounds import ANY, FLOAT, SAME
from minibnn.packed.compile.fold import Fold, Integers
from minibnn.packed.compile.scores import precise_scores
from minibnn.packed.compile.weights import Weights
from minibnn.packed.integer_stages import IntegerConv, IntegerDense
from minibnn.packed.ranges import Range

ENOUGH = {
    "real first layer": 0.15,
    "real first layer, sign": 0.1,
    "real last layer": 0.8,
    "real layer on levels": 0.5,
    "residual stream": 0.08,
    "PReLU": 0.25,
    "average pooling": 0.25,
    "global average pooling": 0.4,
    "batch norm on a stream": 0.25,
    "concatenation of streams": 0.3,
}  # what is found with other seeds, too


@pytest.mark.parametrize("kind", KINDS)
def test_no_input_goes_beyond_the_bound(kind):
    """And some come so near that no large part of it could be left out."""
    shares = []
    for seed in range(3):
        search = Search(kind, np.random.default_rng(seed))
        search.by_chance(2000)
        search.by_gradient(500)
        search.by_climbing(2000)
        shares.append(search.share)
    assert ENOUGH[kind] < max(shares) <= 1


def weights_near(rng, channels, width):
    """Weights with a rest."""
    model = rng.normal(size=(channels, width))
    size = [Fraction(float(m) / 127) for m in abs(model).max(axis=1)]
    floats = np.array([float(s) for s in size])[:, None]
    rows = np.rint(model / floats).astype(np.int8)
    return Weights(rows, tuple(size), model, abs(model - rows * floats))


def test_sums_against_the_worst_of_all_corners(rng):
    """``sum w x' - sum s q x`` is greatest at a corner of x and of x' - x."""
    weights = weights_near(rng, 3, 5)
    largest, off = rng.uniform(1, 9, 5), rng.uniform(0, 0.01, 5)
    errors = np.stack([off, 3 * off, 0 * off])
    stage = IntegerDense((5,), (3,), weights.rows, "numbers")
    found = bounds.of_sums(stage, weights, errors, largest, np.dtype(np.float64))
    corners = np.array(list(product([-1, 1], repeat=5)))
    q = weights.rows * np.array([float(s) for s in weights.size])[:, None]
    for row, scale in ((SAME, 1), (ANY, 3)):
        worst = np.zeros(3)
        for d in corners:
            x = corners * largest
            worst = np.maximum(worst, abs((x + scale * d * off) @ weights.model.T - x @ q.T).max(0))
        np.testing.assert_allclose(found[row], worst, rtol=1e-9)
    exact = weights._replace(rest=None)
    found = bounds.of_sums(stage, exact, errors, largest, np.dtype(np.float64))
    np.testing.assert_allclose(found[SAME], abs(weights.model) @ off, rtol=1e-12)


def test_what_floats_round_in_sums(rng):
    """In any order; the bound is a few times what occurs in the worst of many rows."""
    model = rng.normal(size=(4, 300)).astype(np.float32)
    weights = Weights(np.ones((4, 300), np.int8), (Fraction(1),) * 4, model, None)
    stage = IntegerDense((300,), (4,), weights.rows, "numbers")
    found = bounds.of_sums(
        stage, weights, np.zeros((3, 300)), np.full(300, 7.0), np.dtype(np.float32)
    )
    assert not found[:FLOAT].any()
    worst = np.zeros(4)
    for _ in range(20):
        x = (7 * rng.choice([-1, 1], 300)).astype(np.float32)
        exact = model.astype(np.float64) @ x.astype(np.float64)
        order = rng.permutation(300)
        sums = np.add.accumulate(model[:, order] * x[order], axis=1, dtype=np.float32)[:, -1]
        worst = np.maximum(worst, abs(sums - exact))
    assert (worst <= found[FLOAT]).all()
    assert (worst > found[FLOAT] / 3000).all()
    before = np.array([[0.0], [5], [2]]) * np.ones(300)
    more = bounds.of_sums(stage, weights, before, np.full(300, 7.0), np.dtype(np.float32))
    times = 2 * abs(model).sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(more[FLOAT], found[FLOAT] * (7 + 5 + 2) / 7 + times, rtol=1e-6)


def test_each_group_has_the_errors_of_its_own_channels(rng):
    weights = weights_near(rng, 4, 2 * 3 * 2)
    stage = IntegerConv(
        (5, 5, 4), (4, 3, 4), weights.rows, "numbers", (2, 3), (1, 1), (1, 1),
        ((0, 0), (0, 0)), 0, 2,
    )  # fmt: skip
    off = np.array([1.0, 10, 100, 1000])
    found = bounds.of_sums(
        stage, weights, np.stack([off, off, 0 * off]), np.zeros(4), np.dtype(np.float64)
    )
    size = abs(weights.model).reshape(4, 6, 2).sum(axis=1)
    expected = [size[c] @ off[2 * (c // 2) :][:2] for c in range(4)]
    np.testing.assert_allclose(found[SAME], expected)


def test_errors_in_another_shape():
    errors = np.arange(6.0).reshape(3, 2)
    assert bounds.of_shape(errors, (3, 2), (6, 2)) is errors
    flat = bounds.of_shape(errors, (3, 2), (6,))
    assert flat.tolist() == [[0, 1] * 3, [2, 3] * 3, [4, 5] * 3]
    np.testing.assert_array_equal(bounds.of_shape(flat, (6,), (3, 2)), errors)
    # Channels of different positions: the greatest of each.
    assert bounds.of_shape(flat, (6,), (2, 3)).tolist() == [[1] * 3, [3] * 3, [5] * 3]


@pytest.mark.parametrize("levels", [1, 3, 7])
def test_levels_against_brute_force(levels):
    """Every value of a fine grid, and every other one that it may be."""
    changes = (np.arange(1, levels + 1) - 0.5) / levels
    grid = np.arange(-40, 41) / 20

    def level(v):
        return (np.asarray(v)[..., None] >= changes).sum(axis=-1) / levels

    for off in (0.01, 0.3, 0.8, 3):
        for low, high in ((-2, 2), (-2, 0), (0.4, 0.6), (1.2, 2)):
            v = grid[(grid >= low) & (grid <= high)]
            other = v[:, None] + np.linspace(-off, off, 201)
            worst = abs(level(v)[:, None] - level(other)).max()
            found = bounds.of_levels(
                np.array([[0.0], [off], [1]]), np.array([v.min() - changes[-1]]),
                np.array([v.max() - changes[0]]), 1 / levels, 1.0,
            )  # fmt: skip
            assert worst <= found[ANY, 0] + 1e-12
            if (low, high) == (-2, 2):  # all levels
                assert found[ANY, 0] <= worst + 1.2 / levels
            assert not found[[SAME, FLOAT]].any()


@pytest.mark.parametrize(
    ("off", "least", "greatest", "turns"),
    [(0, -1, 1, False), (1, 2, 3, False), (1, 1, 3, True), (1, -3, -2, False), (1, -3, -1, True)],
)
def test_signs_turn_only_near_their_change(off, least, greatest, turns):
    found = bounds.of_levels(
        np.array([[9.0], [off], [9]]), np.array([least]), np.array([greatest]), 2.0, 2.0
    )
    assert found[:, 0].tolist() == [0, 2 if turns else 0, 0]


def test_the_largest_value_of_each_channel():
    taken = Range(np.array([-3, 0]), np.array([2, 255]))
    np.testing.assert_allclose(bounds.largest_of(taken, 0.5), [1.5, 127.5])
    np.testing.assert_allclose(bounds.largest_of(taken, 1 / 255, -1.0), [1 + 3 / 255, 1])
    assert (bounds.largest_of(taken, 0.5) > [1.5, 127.5]).all()


def outputs(scale, errors, most=10**6):
    """A fold of integers times these scales, its scores, and their bounds."""
    n = len(scale)
    sums = Integers(np.full(n, -most), np.full(n, most))
    zero = (Fraction(1, 3),) * n
    fold = Fold("the end", sums, None, tuple(map(Fraction, scale)), zero, rounded=True)
    stage = precise_scores(fold, (n,))
    return fold, stage, bounds.of_outputs(fold, stage, np.asarray(errors, float), True)


@pytest.mark.parametrize("scale", [[0.1, 1e-7], [1e-20, 3e-20], [1e-44, 3e-45], [1e30, 1]])
def test_outputs_in_float32_and_as_scores(rng, scale):
    fold, stage, (same, any_) = outputs(scale, np.zeros((3, 2)))
    assert same == any_
    acc = rng.integers(-(10**6), 10**6, (3000, 2)).astype(np.int32)
    exact = np.array(
        [[float(a * v + b) for v, (a, b) in zip(row, fold.coefficients, strict=True)]
         for row in acc.tolist()]
    )  # fmt: skip
    as_scores = stage.run(acc) / 2.0**stage.shift
    worst = [abs(found - exact).max() for found in (stage.logits(acc), as_scores)]
    assert max(worst) <= same
    assert max(worst) > same / 20


def test_errors_before_the_outputs_are_added():
    errors = [[1.0, 2], [30, 4], [100, 500]]
    _, _, none = outputs([0.1, 0.1], np.zeros((3, 2)))
    _, _, (same, any_) = outputs([0.1, 0.1], errors)
    np.testing.assert_allclose(same, 502 + none[SAME], rtol=1e-9)
    np.testing.assert_allclose(any_, 504 + none[ANY], rtol=1e-9)


def test_outputs_beyond_float32_have_no_bound():
    assert outputs([1e33, 1], np.zeros((3, 2)))[2].tolist() == [np.inf] * 2
