"""The bounds, against brute force and against searches for the worst inputs of each kind."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from bound_search import KINDS, Search

from minibnn import BatchNorm, Dense, DoReFaWeights, PackError, Rescale, Sequential, pack
from minibnn.packed.compile import bounds
from minibnn.packed.compile.bounds import ANY, FLOAT, SAME
from minibnn.packed.compile.fold import Fold, Integers, rounding
from minibnn.packed.compile.scores import precise_scores
from minibnn.packed.compile.weights import Weights, weights_of
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


@pytest.mark.parametrize("bits", range(2, 8))
def test_weights_that_floats_round_are_in_the_bound(bits):
    """DoReFa's small weights are differences of large ones."""
    layer = Dense(1, 4, bias=False, weight_quantizer=DoReFaWeights(bits)).initialize(0)
    layer.weight.data[...] = [[1, 0.01, -0.01, 0.2]]
    weights = weights_of(layer, layer.quantized_weight(False))
    stage = IntegerDense((1,), (4,), weights.rows, "bits")
    args = np.zeros((3, 1)), np.ones(1), np.dtype(np.float32)
    found = bounds.of_sums(stage, weights, *args)
    exact = weights.rows[:, 0] / (2.0**bits - 1)
    off = abs(layer.forward(np.ones((1, 1), np.float32))[0] - exact)
    assert (off <= found[FLOAT]).all()
    assert not found[:FLOAT].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_subnormal_and_infinite_values_of_the_model(dtype):
    """The smallest have few bits, whatever becomes of them; the largest may be infinite."""
    tiny, huge = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    sizes = np.array([0, 0.3 * float(tiny), float(huge) / 4, float(huge)])
    found = rounding(sizes, 1, np.dtype(dtype))
    assert (found[:2] >= float(tiny) / 2).all()
    assert np.isfinite(found[2])
    assert np.isinf(found[3])


def test_subnormal_weights_are_in_the_bound():
    """Weights of 7 times the smallest number, times pixels from 0 to 1: one digit."""
    layers = [Dense(2, 2, bias=False) for _ in range(3)]
    model = Sequential(Rescale(1 / 255), *layers).initialize(0)
    for layer, size in zip(layers, (1e-44, 1e30, 1e14), strict=True):
        layer.weight.data[...] = np.array([[1, 0], [1e-5 * (size > 1), 1]]) * size
    x = np.arange(510).astype(np.uint8).reshape(255, 2)
    packed = pack(model, (2,))
    off = abs(packed.logits(x) - model.forward(x)).max()
    assert packed.bound / 200 < off <= packed.bound


@pytest.mark.parametrize("where", ["sums", "slope"])
def test_models_whose_own_floats_overflow_have_no_bound(where):
    """Though what comes after is finite in exact arithmetic."""
    layers = Dense(2, 2), BatchNorm(2), Dense(2, 2), Dense(2, 2)
    model = Sequential(Rescale(1 / 255), *layers).initialize(0)
    if where == "sums":
        model[1].weight.data *= 1e20
        model[3].weight.data *= 1e20
        model[4].weight.data *= 1e-38
    else:
        model[1].weight.data *= 1e-30
        model[2].gamma.data[...], model[2].running_var.data[...] = 1e38, 0
        model[4].weight.data *= 1e-10
    with np.errstate(all="ignore"):
        assert not np.isfinite(model.forward(np.full((1, 2), 255, np.uint8))).all()
    with pytest.raises(PackError, match="expected a finite bound"):
        pack(model, (2,))


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
