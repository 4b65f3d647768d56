"""Integer scores, which compare like the exact logits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_checks import true_order
from packed_models import dense, ink, norms

from minibnn import (
    BatchNorm,
    Flatten,
    PackError,
    Rescale,
    Sequential,
    ShiftBatchNorm,
    TensorNorm,
    disagreements,
    pack,
)
from minibnn.packed.compile.lower import lower
from minibnn.packed.compile.scores import score_stage
from minibnn.packed.stages import ScoreStage


def integer_order(A, B, accs):
    values = [[a * acc + b for acc in accs] for a, b in zip(A, B, strict=True)]
    return np.array([
        [(x > y) - (x < y) for x in one for y in other]
        for one, other in itertools.combinations(values, 2)
    ])  # fmt: skip


@pytest.mark.parametrize(("largest", "fits"), [(2**31 - 1, True), (2**31, False)])
def test_scores_of_32_bits_end_below_2_to_the_31(largest, fits, monkeypatch):
    model = Sequential(Flatten(), Rescale(1), dense(4, 3)).initialize(0)
    monkeypatch.setattr(ScoreStage, "largest", lambda *_: largest)
    assert pack(model, (2, 2)).scores.fits_int32 == fits


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 2**32), st.sampled_from([1, 2, 5, 9]), st.integers(0, 4))
def test_scores_compare_as_exact_logits_do(seed, width, norm):
    rng = np.random.default_rng(seed)
    model = Sequential(*ink(), dense(width, 4), *norms(4)[norm]).initialize(rng)
    for parameter in model.parameters():
        if parameter.name != "weight":  # few values, so that ties are common
            parameter.data[...] = rng.choice([1, -1, 0.5, 2, 0, 0.1, 0.3], parameter.shape)
    for buffer in model.buffers():
        if buffer.name == "running_var":
            buffer.data[...] = rng.choice([1, 4, 0.3], buffer.data.shape)
    packed = pack(model, (width,))
    scores = packed.scores
    fold = lower(model, (width,)).steps[-1][0]
    accs = range(-width, width + 1, 2)
    order = true_order(fold.lines, accs)
    np.testing.assert_array_equal(integer_order(scores.A.tolist(), scores.B.tolist(), accs), order)
    assert scores.fits_int32 == (max(abs(scores.A) * width + abs(scores.B)) < 2**31)


def test_ties_through_roots():
    """1 / sqrt(9/4) = 2 / sqrt(9) and so on: all are equal, and none is a binary fraction."""
    roots = np.array([1.5, 3, 6, 7.5, 10.5, 100.5])
    model = Sequential(*ink(), dense(30, 6, bias=False), BatchNorm(6, epsilon=0.25)).initialize(0)
    model[3].running_var.data[...] = roots**2 - 0.25
    model[3].gamma.data[...] = roots / 1.5
    scores, accs = pack(model, (30,)).scores, range(-30, 31, 2)
    order = true_order(lower(model, (30,)).steps[-1][0].lines, accs)
    assert (order == 0).sum() == 15 * 31
    got = integer_order(scores.A.tolist(), scores.B.tolist(), accs)
    np.testing.assert_array_equal(got, order)
    model[3].gamma.data[0] = 2  # 4/3 and 2/3: rounded, one is never twice the other
    with pytest.raises(PackError, match="ties that rounding breaks"):
        pack(model, (30,))


def test_shift_is_the_smallest():
    """Without batch norm the logits are acc + bias: A = 2^s, B = round(2^s bias)."""
    model = Sequential(*ink(), dense(4, 3)).initialize(0)
    model[2].bias.data[...] = [0.0, 0.5, 0.25]
    scores = pack(model, (4,)).scores
    # s = 0 rounds 0.5 and 0.25 to 0 (to even), s = 1 gives 0, 1, 0 (ties); s = 2 gives 0, 2, 1.
    assert (scores.shift, scores.A.tolist(), scores.B.tolist()) == (2, [4, 4, 4], [0, 2, 1])
    model[2].bias.data[...] = [0.0, 2.0, 0.0]  # ties across accumulators, and they stay ties
    scores = pack(model, (4,)).scores
    accs = range(-4, 5, 2)
    expected = true_order(lower(model, (4,)).steps[-1][0].lines, accs)
    assert (expected == 0).sum() == 4 + 5 + 4
    got = integer_order(scores.A.tolist(), scores.B.tolist(), accs)
    np.testing.assert_array_equal(got, expected)
    model[2].bias.data[...] = 0
    assert pack(model, (4,)).scores.A.tolist() == [1, 1, 1]


FAR = [0, -0.0, 1, -1, 0.5, 2, 1e-20, 1e-40, -1e-40, 1e12, 1e19, -1e19, 1e30, -1e30, 3e38, 0.1]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.sampled_from(FAR) | st.floats(width=32, allow_nan=False, allow_infinity=False),
             min_size=2, max_size=5),
    st.sampled_from(["bits", "pixels", "falling", "nothing"]),
    st.sampled_from([0, 1, -1e30]), st.booleans(),
)  # fmt: skip
def test_a_last_layer_without_batch_norm_packs_with_any_bias(bias, kind, more, norm):
    """Compared with fractions; also with TensorNorm."""
    scale = {"pixels": 2 / 255, "falling": -1, "nothing": 0}
    first = ink() if kind == "bits" else [Rescale(scale[kind], -1)]
    last = dense(3, len(bias)), *([TensorNorm()] if norm else [])
    model = Sequential(*first, *last).initialize(0)
    dense_layer = model[len(first)]
    dense_layer.weight.data[...] = 1
    with np.errstate(over="ignore"):
        dense_layer.bias.data[...] = np.clip(np.float32(bias) + np.float32(more), -3e38, 3e38)
    if norm:
        model[-1].beta.data[...] = 1e20
    scores = pack(model, (3,)).scores
    accs = [*range(-3, 4, 2)] if kind == "bits" else [0, 1, 2, 7, 100, 254, 382, 383, 764, 765]
    lines = lower(model, (3,)).steps[-1][0].lines
    values = [[line.slope * a + line.start for a in accs] for line in lines]
    for i, j in itertools.combinations(range(len(lines)), 2):
        for (a, x), (b, y) in itertools.product(
            *(zip(accs, values[c], strict=True) for c in (i, j))
        ):
            ours = [int(scores.A[c]) * acc + int(scores.B[c]) for c, acc in ((i, a), (j, b))]
            assert (ours[0] > ours[1]) - (ours[0] < ours[1]) == (x > y) - (x < y)


@pytest.mark.parametrize("norm", [False, True])
def test_biases_in_small_integers(norm):
    def scores(bias):
        last = dense(4, len(bias)), *([BatchNorm(len(bias))] if norm else [])
        model = Sequential(*ink(), *last).initialize(0)
        model[2].bias.data[...] = bias
        found = pack(model, (4,)).scores
        return found.A.tolist(), found.B.tolist(), found.shift

    assert scores([1e30] * 3) == ([1] * 3, [0] * 3, 0)
    assert scores([1e9] * 3) == ([1] * 3, [0] * 3, 0)
    assert scores([-1e6, -1e6 - 2]) == ([1] * 2, [0, -2], 0)
    # n different rests: A = n, and B = n times the whole number, plus the rank of the rest.
    assert scores([0, 1e-20, 0]) == ([2] * 3, [0, 1, 0], 0)
    assert scores([1e-30, 1e-40, 3]) == ([3] * 3, [1, 0, 8], 0)  # 3 - 1e-40: 2 and the rest
    # A gap of 10 is wider than all accumulators (-4 to 4), so wider gaps become 10.
    assert scores([0, 1e30, 1]) == ([1] * 3, [0, 11, 1], 0)
    assert scores([1e19, -1e30, 1e19 * 2, 0, 1e-30]) == ([2] * 5, [40, 0, 60, 20, 21], 0)


def test_last_pixels_with_shifts(rng):
    """Powers of two and integers: many ties, and no roots."""
    model = Sequential(Rescale(1), dense(40, 10), ShiftBatchNorm(10)).initialize(rng)
    model[-1].gamma.data[...] = rng.choice([1, 2, 4, -1, 0], 10)
    model[-1].beta.data[...] = rng.integers(-3, 4, 10)
    fold = lower(model, (40,)).steps[-1][0]
    assert all(line.rational for line in fold.lines)
    packed = pack(model, (40,))
    images = rng.integers(0, 256, (200, 40), np.uint8)
    sums = packed.after(images, 1).tolist()
    exact = [[line.numerator(a) for line, a in zip(fold.lines, s, strict=True)] for s in sums]
    ours = packed.predict_scores(images)
    for x, y in zip(exact, ours.tolist(), strict=True):
        assert np.argsort(x, kind="stable").tolist() == np.argsort(y, kind="stable").tolist()
    # Whole numbers are exact in floats too.
    np.testing.assert_array_equal(packed.logits(images), model.forward(images))


def test_labels_are_the_first_maximum():
    model = Sequential(*ink(), dense(2, 3, bias=False)).initialize(0)
    model[2].weight.data[...] = [[-1, 1, 1], [-1, 1, 1]]
    packed = pack(model, (2,))
    images = np.array([[255, 255], [0, 0], [255, 0]], np.uint8)
    assert packed.predict(images).tolist() == [1, 0, 0]
    assert packed.predict(images).tolist() == model.forward(images).argmax(1).tolist()


def test_labels_are_of_integers():
    """A bias of 2^28 leaves float32 no room for an accumulator of 1, 2 or 3."""
    model = Sequential(*ink(), dense(3, 2)).initialize(0)
    model[2].bias.data[...] = 2.0**28
    model[2].weight.data[...] = [[-1, 1]] * 3
    packed = pack(model, (3,))
    images = np.full((1, 3), 255, np.uint8)
    assert packed.logits(images).tolist() == [[2.0**28] * 2]
    assert packed.predict(images).tolist() == [1]
    found = disagreements(model, packed, images)
    assert (found.labels, found.bits, found.unexplained) == (1, 0, 0)
    assert [(layer.values, layer.packed_right, layer.float_right) for layer in found.layers] == [
        (1, 1, 0)
    ]


def test_scores_too_far_apart_are_refused():
    model = Sequential(*ink(), dense(4, 3), BatchNorm(3)).initialize(0)
    model[3].gamma.data[...] = [1e-30, 1e30, 1]
    model[3].beta.data[...] = [1e-35, 0, 0]
    with pytest.raises(PackError, match=r"64 bits.*any finite parameters is a last Dense"):
        pack(model, (4,))


def test_a_last_layer_on_pixels(rng):
    for rescale, bias in (((2 / 255, -1), True), ((1, 0), False), ((1 / 255, 0), True)):
        model = Sequential(Flatten(), Rescale(*rescale), dense(30, 4, bias=bias)).initialize(rng)
        packed = pack(model, (5, 6))
        images = rng.integers(0, 256, (500, 5, 6), np.uint8)
        logits = model.forward(images)
        np.testing.assert_allclose(packed.logits(images), logits, rtol=1e-4, atol=1e-4)
        assert disagreements(model, packed, images).unexplained == 0


@pytest.mark.parametrize("gamma", [2.0, -2.0, 0.0])
@pytest.mark.parametrize("beta", [0.3, -0.0, -5.0, 40.0])
def test_a_single_score_is_at_least_0_where_the_exact_logit_is(gamma, beta):
    model = Sequential(*ink(), dense(9, 1), BatchNorm(1)).initialize(0)
    model[-1].gamma.data[...] = gamma
    model[-1].beta.data[...] = beta
    fold, shape = lower(model, (9,)).steps[-1]
    stage = score_stage(fold, shape)
    assert stage.shift == 0
    assert abs(stage.A).tolist() == [1]
    for acc in range(-9, 10, 2):
        exact = fold.lines[0].sign(acc) >= 0
        assert (int(stage.A[0]) * acc + int(stage.B[0]) >= 0) == exact
