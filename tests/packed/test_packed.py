"""Packed models: the bits of the float model, or of exact arithmetic where floats have no order."""

from __future__ import annotations

import copy
import itertools
import pickle
import tracemalloc
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
import strictdev
from devices import STRICT
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_models import SIGN, dense, images_models, ink, norms, shake

from minibnn import (
    Activation,
    AdaSTE,
    ApproxSign,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    DirectFeedback,
    DoReFaActivations,
    DoReFaWeights,
    Dropout,
    Flatten,
    Heaviside,
    MagnitudeAwareSign,
    MaxPool2D,
    PackError,
    Radial,
    ReLU,
    Rescale,
    Reshape,
    Sequential,
    ShiftBatchNorm,
    SignSTE,
    StochasticSign,
    StraightThrough,
    SwishSign,
    TensorNorm,
    Ternary,
    disagreements,
    load_sample,
    pack,
)
from minibnn.packed import bits as packed_bits
from minibnn.packed import costs
from minibnn.packed import model as packed_model
from minibnn.packed.agreement import Disagreements, LayerDisagreement
from minibnn.packed.agreement import _exact_label as exact_label
from minibnn.packed.bits import (
    flat_bits,
    pack_rows,
    popcount,
    rows_of_flat,
    unpack_rows,
    xnor_products,
)
from minibnn.packed.compile import fold
from minibnn.packed.compile.exact import Line, compare, inverse_root, sign_of_roots
from minibnn.packed.compile.fold import digest
from minibnn.packed.compile.lower import lower
from minibnn.packed.compile.plan import is_sign, layers_of
from minibnn.packed.compile.scores import _order, _values
from minibnn.packed.stages import DenseStage, ScoreStage, ThresholdStage
from minibnn.recipes import RECIPES

WIDTHS = [1, 7, 8, 31, 63, 64, 65, 127, 784]


def run(model, images):
    """The model on images, behind each of its layers."""
    x, outputs = images, []
    with np.errstate(all="ignore"):
        for _, layer in layers_of(model):
            x = layer.forward(x)
            outputs.append(x)
    return outputs


def sign_bits(model, packed, images):
    """At each sign behind a product: the packed bits and the model's."""
    outputs = run(model, images)
    for sign in lower(model, packed.input_shape).signs:
        theirs = outputs[sign.layers - 1] > 0
        yield packed.after(images, sign.steps).reshape(theirs.shape) > 0, theirs


def moved(packed, i, name, index, change):
    """The model with one number of one array moved, or turned over."""
    array = packed.stages[i].arrays()[name].copy()
    array.flat[index] = (
        array.flat[index] ^ change if array.dtype == bool else array.flat[index] + change
    )
    stages = list(packed.stages)
    stages[i] = replace(stages[i], **{name: array})
    return replace(packed, stages=tuple(stages))


# --- bits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [*WIDTHS, 128])
def test_xnor_products(backend, rng, width):
    a, b = rng.integers(0, 2, (5, width), np.uint8), rng.integers(0, 2, (3, width), np.uint8)
    rows = [backend.run(pack_rows, backend.asarray(m)) for m in (a, b)]
    assert rows[0].shape == (5, -(-width // 64))
    assert rows[0].dtype == np.uint64
    got = backend.to_host(backend.run(xnor_products, *rows, width))
    signs = [m.astype(int) * 2 - 1 for m in (a, b)]
    np.testing.assert_array_equal(got, signs[0] @ signs[1].T)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(backend.to_host(backend.run(unpack_rows, rows[0], width)), a)


def test_a_bit_has_its_place():
    bits = np.zeros((2, 70), np.uint8)
    bits[0, 3] = bits[1, 64] = 1
    assert pack_rows(bits).tolist() == [[8, 0], [0, 1]]


@pytest.mark.parametrize("width", WIDTHS)
def test_flat_bits(rng, width):
    bits = rng.integers(0, 2, (3, width), np.uint8)
    flat = flat_bits(pack_rows(bits), width)
    assert len(flat) == -(-3 * width // 8)
    assert [int(flat[k // 8]) >> k % 8 & 1 for k in range(3 * width)] == bits.ravel().tolist()
    np.testing.assert_array_equal(rows_of_flat(flat, 3, width), pack_rows(bits))
    with pytest.raises(ValueError, match="bytes of bits"):
        rows_of_flat(flat[:-1], 3, width)
    if 3 * width % 8:
        with pytest.raises(ValueError, match="beyond the last bit"):
            rows_of_flat(flat | np.uint8(128), 3, width)


def test_popcount_without_bitwise_count(monkeypatch, rng):
    words = rng.integers(0, 2**64, (3, 4), np.uint64)
    device = STRICT.asarray(words)
    expected = [[int(w).bit_count() for w in row] for row in words]
    for _ in range(2):
        assert STRICT.to_host(popcount(device)).tolist() == expected
        monkeypatch.delitem(strictdev._names, "bitwise_count", raising=False)


def test_products_in_blocks(monkeypatch, rng):
    a, b = (rng.integers(0, 2, (n, 100), np.uint8) for n in (9, 4))
    whole = xnor_products(pack_rows(a), pack_rows(b), 100)
    monkeypatch.setattr(packed_bits, "BLOCK", 20)
    np.testing.assert_array_equal(xnor_products(pack_rows(a), pack_rows(b), 100), whole)


# --- exact arithmetic ----------------------------------------------------------------------------


def decimal_of(x):
    return Decimal(x.numerator) / Decimal(x.denominator)


rationals = st.fractions(-50, 50, max_denominator=40)
positive = st.fractions(Fraction(1, 40), 50, max_denominator=40)


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
    """Squares have rational roots, so zero is met."""
    assert sign_of_roots(-a * p - b * q, a, p * p, b, q * q) == 0
    assert sign_of_roots(Fraction(0), a, p, -2 * a, p / 4) == 0
    tiny = Fraction(1, 10**60)
    assert sign_of_roots(-a * p - b * q + tiny, a, p * p, b, q * q) == 1


@given(st.fractions(Fraction(1, 10**30), 10**30))
def test_inverse_root(v):
    error = inverse_root(v) ** 2 * v - 1
    assert -Fraction(1, 2**510) < error <= 0


# --- hidden layers: the float model's bits, always -----------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("norm", range(5))
def test_hidden_bits_are_the_models(width, norm, rng):
    for bias in (True, False):
        hidden = dense(width, 12, bias=bias), *norms(12)[norm], Activation(SIGN)
        model = shake(Sequential(*ink(), *hidden, dense(12, 4)).initialize(rng), rng)
        packed = pack(model, (width,))
        images = rng.integers(0, 256, (300, width), np.uint8)
        for ours, theirs in sign_bits(model, packed, images):
            np.testing.assert_array_equal(ours, theirs)
        (entry,) = packed.certificate["thresholds"]
        assert (entry["by"], entry["channels"]) == ("enumeration", 12)
        assert entry["values"] == 12 * (width + 1)
        assert entry["sha256"] == digest(packed.stages[entry["stage"]])
        assert packed.verify(model) == packed.certificate


@pytest.mark.parametrize("norm", range(5))
@pytest.mark.parametrize("rows", [1, 4, 7, 21])
def test_thresholds_do_not_depend_on_blocks(norm, rows, rng, monkeypatch):
    """Channels that rise, fall, or never change, through the float layers a few rows at a time."""
    hidden = dense(20, 12), *norms(12)[norm], Activation(SIGN)
    model = shake(Sequential(*ink(), *hidden, dense(12, 4)).initialize(rng), rng)
    whole = pack(model, (20,))
    monkeypatch.setattr(fold, "BLOCK", 12 * rows)
    parts = pack(model, (20,))
    assert parts.sha256 == whole.sha256
    assert parts.certificate == whole.certificate


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([1, 2, 7, 16]))
def test_every_accumulator_through_the_float_layers(seed, width):
    """All of them, not those that images happen to have: identity weights would not reach many."""
    rng = np.random.default_rng(seed)
    norm = norms(5)[seed % 5]
    model = Sequential(*ink(), dense(width, 5), *norm, Activation(SIGN), dense(5, 2))
    shake(model.initialize(rng), rng)
    model[2].weight.data[...] = 1  # the accumulator counts the bits
    packed = pack(model, (width,))
    images = np.where(np.arange(width) < np.arange(width + 1)[:, None], 255, 0).astype(np.uint8)
    ((ours, theirs),) = sign_bits(model, packed, images)
    np.testing.assert_array_equal(ours, theirs)


def test_constant_channels_are_out_of_reach():
    model = Sequential(*ink(), dense(3, 4), BatchNorm(4), Activation(SIGN), dense(4, 2))
    model.initialize(0)
    model[3].gamma.data[...] = [0, 0, 1, -1]
    model[3].beta.data[...] = [1, -1, 100, -100]
    stage = pack(model, (3,)).stages[2]
    assert stage.thresholds.tolist() == [-4, 4, -4, 4]
    assert not stage.falling.any()


def test_directions_and_ties_at_zero():
    """acc in {-2, 0, 2}; y = acc, -acc, acc - 1, 1 - acc."""
    model = Sequential(*ink(), dense(2, 4), BatchNorm(4), Activation(SIGN), dense(4, 2))
    model.initialize(0)
    model[3].gamma.data[...] = [1, -1, 1, -1]
    model[3].running_mean.data[...] = [0, 0, 1, 1]
    stage = pack(model, (2,)).stages[2]
    assert stage.thresholds.tolist() == [0, 0, 2, 0]
    assert stage.falling.tolist() == [False, True, False, True]


@pytest.mark.parametrize("name", ["running_var", "running_mean", "gamma", "beta", "bias"])
@pytest.mark.parametrize("pixels", [True, False])
def test_nan_is_refused(name, pixels):
    first = [Rescale(1 / 255)] if pixels else ink()
    model = Sequential(*first, dense(3, 4), BatchNorm(4), Activation(SIGN), dense(4, 2))
    model.initialize(0)
    owner = model[len(first) + (name != "bias")]
    getattr(owner, name).data[1] = np.nan
    with pytest.raises(PackError, match=r"Dense\(3 -> 4\).*nan"):
        pack(model, (3,))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_and_infinite_biases(dtype, rng):
    """Constant channels, and sums in which the accumulator drowns or just does not."""
    biases = [np.inf, -np.inf, 1e38, -1e38, 2.0**24, -(2.0**24), 2.0**24 + 2, 1e-45, -1e-45, 3]
    model = Sequential(*ink(), dense(33, 10), BatchNorm(10), Activation(SIGN), dense(10, 2))
    model.initialize(rng, dtype)
    model[2].bias.data[...] = biases
    model[3].running_mean.data[...] = [0, 0, 1e38, -1e38, 2.0**24, -(2.0**24), 2.0**24, 0, 0, 3]
    model[2].weight.data[...] = 1
    packed = pack(model, (33,))
    images = np.where(np.arange(33) < np.arange(34)[:, None], 255, 0).astype(np.uint8)
    ((ours, theirs),) = sign_bits(model, packed, images)
    np.testing.assert_array_equal(ours, theirs)
    assert (ours.all(axis=0) | ~ours.any(axis=0)).tolist()[:2] == [True, True]
    model[3].running_var.data[4] = -1
    with pytest.raises(PackError, match="nan"):
        pack(model, (33,))


# --- the first layer: exact arithmetic ------------------------------------------------------------


def exact_bits(model, images):
    """By decimals of 100 digits, from the latent weights; an oracle of its own."""
    rescale, first, *norm = list(model)[:3]
    with localcontext(prec=100):
        W = [
            [Decimal(float(w)) for w in row]
            for row in first.weight_quantizer.forward(first.weight.data)
        ]
        rows = []
        for image in images.tolist():
            x = [Decimal(rescale.scale) * p + Decimal(rescale.offset) for p in image]
            row = []
            for c in range(first.out_features):
                z = sum(v * W[i][c] for i, v in enumerate(x))
                z += Decimal(float(first.bias.data[c])) if first.bias is not None else 0
                if isinstance(norm[0], BatchNorm):
                    g, b, m, v = (
                        Decimal(float(a.data[c if a.data.size > 1 else 0]))
                        for a in (
                            norm[0].gamma,
                            norm[0].beta,
                            norm[0].running_mean,
                            norm[0].running_var,
                        )
                    )
                    z = g * (z - m) / (v + Decimal(norm[0].epsilon)).sqrt() + b
                row.append(z >= 0)
            rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("width", [1, 7, 31, 64, 65])
@pytest.mark.parametrize("rescale", [(1 / 255, 0), (2 / 255, -1), (1, -100), (-0.5, 3)])
@pytest.mark.parametrize("norm", [0, 1, 3])
def test_first_layer_is_exact(width, rescale, norm, rng):
    model = Sequential(
        Rescale(*rescale), dense(width, 8), *norms(8)[norm], Activation(SIGN), dense(8, 3)
    )
    shake(model.initialize(rng), rng)
    packed = pack(model, (width,))
    images = rng.integers(0, 256, (40, width), np.uint8)
    images[:3] = np.array([0, 255, 100])[:, None]
    ((ours, _),) = sign_bits(model, packed, images)
    np.testing.assert_array_equal(ours, exact_bits(model, images))
    (entry,) = packed.certificate["thresholds"]
    assert entry["by"] == "exact"
    found = disagreements(model, packed, images)
    assert found.unexplained == 0
    assert found.layers[0].float_right == 0
    assert found.layers[0].packed_right == found.layers[0].values


def test_accumulators_of_pixels_are_sums(rng):
    model = Sequential(Rescale(1 / 255), dense(784, 6)).initialize(rng)
    images = rng.integers(0, 256, (20, 784), np.uint8)
    images[0] = 255
    signs = np.where(model[1].weight.data >= 0, 1, -1)
    acc = pack(model, (784,)).after(images, 1)
    np.testing.assert_array_equal(acc, images.astype(int) @ signs)
    assert acc.dtype == np.int32


def test_accumulators_beyond_float32(rng):
    """Sums of more than 2^24, odd ones among them."""
    width = 70_001
    images = np.full((4, width), 255, np.uint8)
    images[1:, 0] = [254, 253, 0]
    stage = DenseStage((width,), (1,), pack_rows(np.ones((1, width), np.uint8)), width, True)
    expected = images.sum(axis=1, dtype=np.int64)
    assert expected.max() > 2**24
    assert stage.run(images)[:, 0].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("rescale", "border"),
    [((1 / 255, 0), 0), ((2 / 255, -1), -1), ((-2 / 255, 1), 1), ((1, -100), 0), ((-1, 255), 0)],
)
def test_borders_that_are_pixels(rescale, border, rng):
    """The sums are those of an image that has a border of the pixel."""
    conv = Conv2D(1, 4, 3, padding=1, padding_value=border, weight_quantizer=SIGN)
    inside = Sequential(
        Reshape((4, 4, 1)), Rescale(*rescale), conv, Activation(SIGN), Flatten(), dense(64, 2)
    ).initialize(rng)
    inside[2].bias.data[...] = [0, border, 1, 0.1]
    plain = Conv2D(1, 4, 3, weight_quantizer=SIGN).initialize(0)
    plain.weight.data[...], plain.bias.data[...] = conv.weight.data, conv.bias.data
    outside = Sequential(Reshape((6, 6, 1)), Rescale(*rescale), plain, *list(inside)[3:])
    images = rng.integers(0, 256, (40, 4, 4), np.uint8)
    pixel = {-100: 100, 255: 255}.get(rescale[1], 0)
    framed = np.pad(images, [(0, 0), (1, 1), (1, 1)], constant_values=pixel)
    ours, exact = pack(inside, (4, 4)), pack(outside, (6, 6))
    np.testing.assert_array_equal(ours.after(images, 2), exact.after(framed, 2))


def test_two_rescales_are_one(rng):
    """2 (x / 2 - 3) + 1 = x - 5: the sums are whole numbers, and exact in floats as well."""
    both = Rescale(0.5, -3), Rescale(2.0, 1)
    model = Sequential(*both, dense(9, 8), Activation(SIGN), dense(8, 3)).initialize(rng)
    model[2].bias.data[...] = rng.integers(-300, 300, 8)
    packed = pack(model, (9,))
    images = rng.integers(0, 256, (500, 9), np.uint8)
    ((ours, theirs),) = sign_bits(model, packed, images)
    np.testing.assert_array_equal(ours, theirs)
    one = Sequential(Rescale(1, -5), *list(model)[2:])
    assert pack(one, (9,)).sha256 == packed.sha256


def test_shifts_of_pixels(rng):
    """Powers of two, whole numbers and a shift: nothing is rounded, in floats neither."""
    model = Sequential(
        Rescale(1, -100), dense(9, 40), ShiftBatchNorm(40), Activation(SIGN), dense(40, 3)
    )
    model.initialize(rng)
    model[2].running_mean.data[...] = rng.integers(-300, 300, 40)
    model[2].running_var.data[...] = rng.choice([0.06, 3.9, 70, 4000], 40)
    model[2].beta.data[...] = rng.integers(-9, 9, 40)
    model[2].gamma.data[...] = rng.choice([-2, -0.5, 0.25, 1], 40)
    packed = pack(model, (9,))
    images = rng.integers(0, 256, (2000, 9), np.uint8)
    ((ours, theirs),) = sign_bits(model, packed, images)
    np.testing.assert_array_equal(ours, theirs)
    assert packed.certificate["thresholds"][0]["by"] == "exact"


def test_negative_variances_are_refused():
    model = Sequential(Rescale(1), dense(3, 4), BatchNorm(4), Activation(SIGN), dense(4, 2))
    model.initialize(0)
    model[2].running_var.data[1] = -1
    with pytest.raises(PackError, match=r"Dense\(3 -> 4\).*expected positive variances"):
        pack(model, (3,))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_weights_without_a_size_are_refused(wrong):
    last = Dense(3, 4, weight_quantizer=MagnitudeAwareSign())
    model = Sequential(Rescale(1), last).initialize(0)
    last.weight.data[1, 2] = wrong
    with pytest.raises(PackError, match=r"Dense\(3 -> 4\): expected finite weights"):
        pack(model, (3,))
    model = Sequential(Rescale(1), dense(3, 4)).initialize(0)
    model[1].weight.data[1, 2] = np.nan
    with pytest.raises(PackError, match=r"Dense\(3 -> 4\): expected finite weights"):
        pack(model, (3,))


def test_magnitude_aware_weights_fold_into_the_threshold(rng):
    """-a, +a: the sums are rounded in floats, so their layers are exact too."""
    weights = {"weight_quantizer": MagnitudeAwareSign()}
    model = Sequential(
        Rescale(2 / 255, -1), Dense(20, 8, **weights), BatchNorm(8), Activation(SIGN),
        Dense(8, 6, **weights), BatchNorm(6), Activation(SIGN), Dense(6, 3, **weights),
    ).initialize(rng)  # fmt: skip
    model[1].weight.data[:, 2] = 0  # a = 0: constant
    shake(model, rng)
    packed = pack(model, (20,))
    images = rng.integers(0, 256, (100, 20), np.uint8)
    first = packed.after(images, 2)
    np.testing.assert_array_equal(first > 0, exact_bits(model, images))
    assert [e["by"] for e in packed.certificate["thresholds"]] == ["exact", "exact"]
    hidden = Sequential(Rescale(1), *list(model)[4:])  # its bits as pixels 0 and 1 would be wrong
    hidden[0].scale, hidden[0].offset = 2.0, -1.0
    np.testing.assert_array_equal(packed.after(images, 4) > 0, exact_bits(hidden, first))
    assert disagreements(model, packed, images).unexplained == 0


def test_one_bit_inputs_by_all_256_pixels():
    images = np.arange(256, dtype=np.uint8)[:, None]
    for rescale, expected in {
        (1, -64): images >= 64,
        (1 / 255, -0.5): images >= 128,
        (-1, 64): images <= 64,
        (1, 0): images >= 0,
        (1, -300): images > 255,
        (0.1, -0.7): images >= 7,
    }.items():
        model = Sequential(Rescale(*rescale), Activation(SIGN), dense(1, 2)).initialize(0)
        packed = pack(model, (1,))
        np.testing.assert_array_equal(packed.after(images, 1) > 0, expected)
        np.testing.assert_array_equal(model[1].forward(model[0].forward(images)) > 0, expected)
        assert packed.stages[0].kind == "binarize"


@pytest.mark.parametrize(
    ("unexplained", "rights", "right"),
    [(0, [0, 0], False), (0, [5, 2], True), (1, [5, 2], False), (0, [5, 1], False)],
)
def test_the_packed_model_is_right_if_it_is_so_everywhere(unexplained, rights, right):
    layers = [
        LayerDisagreement("", values=values, packed_right=packed_right)
        for values, packed_right in zip([5, 2], rights, strict=True)
    ]
    assert Disagreements(10, unexplained=unexplained, layers=layers).packed_is_right == right
    assert Disagreements(10).packed_is_right


def test_disagreements_say_who_is_right(rng):
    """Biases that put images on the threshold, as far as floats can say."""
    model = Sequential(Rescale(1 / 255), dense(300, 40), Activation(SIGN), dense(40, 5)).initialize(
        rng
    )
    images = rng.integers(0, 256, (40, 300), np.uint8)
    z = model[1].forward(model[0].forward(images))
    model[1].bias.data[...] = -np.diagonal(z)  # image k, channel k: 0 in floats, or nearly
    packed = pack(model, (300,))
    found = disagreements(model, packed, images)
    layer = found.layers[0]
    assert layer.values > 5
    assert layer.packed_right == layer.values
    assert layer.float_right == found.unexplained == found.layers[-1].values == 0
    assert found.bits == layer.images <= layer.values
    assert found.labels == (packed.predict(images) != model.forward(images).argmax(1)).sum()
    assert f"40 images: {found.labels} with another label, {found.bits}" in str(found)


def test_disagreements_are_about_the_model_that_was_packed(rng):
    def net(hidden=8, classes=3, first=4):
        layers = dense(first, hidden), Activation(SIGN), dense(hidden, classes)
        return Sequential(Rescale(1), *layers).initialize(rng)  # whole numbers: nothing is rounded

    model = net()
    packed = pack(model, (4,))
    images = rng.integers(0, 256, (200, 4), np.uint8)
    short = Sequential(Rescale(1 / 255), dense(4, 3)).initialize(rng)
    for other in (short, net(hidden=9), net(classes=5), net(first=5), net()):
        with pytest.raises(
            PackError, match=r"disagreements: expected .* packed, got another|expected samples"
        ):
            disagreements(other, packed, images)
    longer = Sequential(*model, Activation(SIGN), dense(3, 3).initialize(rng))
    for other in (longer, Sequential(model[0], model[1])):
        with pytest.raises(PackError, match="disagreements: expected the model"):
            disagreements(other, packed, images)
    for i in (0, 2):  # whose sums tell exact arithmetic what is right
        with pytest.raises(PackError, match=r"disagreements: expected .* packed, got another"):
            disagreements(model, moved(packed, i, "weights", 2, 3), images)
    for i, name, change in ((1, "thresholds", 999), (3, "A", 1000), (3, "B", 10**6)):
        found = disagreements(model, moved(packed, i, name, 2, change), images)
        (layer,) = [layer for layer in found.layers if layer.values]
        assert layer.where.startswith(f"layer {i if i == 1 else 3}, Dense")
        assert (layer.packed_right, layer.float_right) == (0, layer.values)
        assert not found.unexplained
        assert not found.packed_is_right
    for wrong in (images.astype(np.float32), images.astype(np.int64), images.tolist()):
        with pytest.raises(TypeError, match=r"uint8|NumPy or CuPy"):
            disagreements(model, packed, wrong)
    for wrong in (images[0], images[:, :3]):
        with pytest.raises(ValueError, match=r"expected images of shape \(batch, 4\)"):
            disagreements(model, packed, wrong)
    with pytest.raises(TypeError, match="a model and its PackedModel, got PackedModel and Seq"):
        disagreements(packed, model, images)
    with pytest.raises(TypeError, match="got str and PackedModel"):
        disagreements("model", packed, images)
    with pytest.raises(TypeError, match="verify: expected the model, got str"):
        packed.verify("model")
    assert disagreements(model, packed, images[:0]).packed_is_right


def test_disagreements_count_images_once(rng, monkeypatch):
    """Logits that floats round to a tie, beside bits that agree; and a model that is not its layers."""
    model = Sequential(*ink(), dense(4, 3)).initialize(rng)
    model[2].weight.data[...] = [[-1, 1, -1]] * 4
    model[2].bias.data[...] = 2.0**28
    packed = pack(model, (4,))
    images = np.repeat(np.uint8([[255] * 4, [0] * 4]), [5, 2], axis=0)  # sums -4 4 -4, or 4 -4 4
    found = disagreements(model, packed, images)
    assert (found.labels, found.unexplained) == (5, 0)
    (layer,) = found.layers
    assert (layer.values, layer.images, layer.packed_right, layer.float_right) == (5, 5, 5, 0)
    assert found.packed_is_right
    monkeypatch.setattr(model, "forward", lambda x: np.eye(3)[[2] * len(x)])
    found = disagreements(model, packed, images)
    assert (found.labels, found.unexplained) == (7, 2)
    assert not found.packed_is_right


def test_exact_labels_are_the_first_greatest():
    lines = [
        Line(Fraction(a), Fraction(b), Fraction(v), Fraction(0))
        for a, b, v in ((1, 0, 1), (2, 0, 4), (1, 1, 2))
    ]
    assert exact_label(lines, [3, 3, 0]) == 0
    assert exact_label(lines, [3, 4, 4]) == 1
    assert exact_label(lines, [3, 3, 4]) == 2  # 5 / sqrt(2) is more than 3


# --- scores --------------------------------------------------------------------------------------


def true_order(lines, accs):
    """The sign of every comparison, as decimals say it; ties by 150 digits."""
    with localcontext(prec=250):
        values = [
            [
                (decimal_of(line.slope) * a + decimal_of(line.start))
                / decimal_of(line.variance).sqrt()
                + decimal_of(line.beta)
                for a in accs
            ]
            for line in lines
        ]
        return np.array([
            [0 if abs(x - y) < Decimal("1e-150") else 1 if x > y else -1 for x in one for y in other]
            for one, other in itertools.combinations(values, 2)
        ])  # fmt: skip


def integer_order(A, B, accs):
    values = [[a * acc + b for acc in accs] for a, b in zip(A, B, strict=True)]
    return np.array([
        [(x > y) - (x < y) for x in one for y in other]
        for one, other in itertools.combinations(values, 2)
    ])  # fmt: skip


@pytest.mark.parametrize("variance", [9, 25, 36, 49, 121])
@pytest.mark.parametrize("reach", [12, 24])
@pytest.mark.parametrize("sign", [1, -1])
def test_ties_that_fixed_point_numbers_miss(variance, reach, sign):
    """1 / sqrt(9) is a third, which no binary number is: three thirds still tie with 1.

    The counts of `_order` against a comparison of each value with each other one.
    """
    one, zero = Fraction(1), Fraction(0)
    lines = [Line(sign * one, zero, Fraction(variance), zero), Line(one, zero, one, zero)]
    exact = [line.coefficients() for line in lines]
    values = _values(lines, exact, [-reach] * 2, [reach] * 2, 1)
    for i, j in ((0, 1), (1, 0)):
        order = _order(values, i, j)
        signs = [
            [compare(lines[i], a, lines[j], b) for b in values[j].acc.tolist()]
            for a in values[i].acc.tolist()
        ]
        assert order.below.tolist() == [sum(s > 0 for s in row) for row in signs]
        assert order.not_above.tolist() == [sum(s >= 0 for s in row) for row in signs]


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
    """1 / sqrt(9/4) = 2 / sqrt(9) and so on: no binary number has this value, and all are equal."""
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
    """By fractions; with TensorNorm too."""
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
    # 10 is beyond what accumulators of -4 to 4 make up for, and so is whatever is above it.
    assert scores([0, 1e30, 1]) == ([1] * 3, [0, 11, 1], 0)
    assert scores([1e19, -1e30, 1e19 * 2, 0, 1e-30]) == ([2] * 5, [40, 0, 60, 20, 21], 0)


def test_last_pixels_with_shifts(rng):
    """Powers of two and integers: ties everywhere, and not one of them needs a root."""
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


def test_orders_come_one_at_a_time():
    model = Sequential(*ink(), dense(400, 60)).initialize(0)
    model[2].bias.data[...] = np.random.default_rng(0).normal(0, 1, 60)
    tracemalloc.start()
    pack(model, (400,))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5e6  # 60 * 59 / 2 orders of 401 pairs of integers are 11 MB


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


@given(rationals, rationals, positive, rationals, rationals, positive, st.integers(-9, 9))
def test_compare(p, q, v, r, s, w, acc):
    one, other = Line(p, q, v, r), Line(q, r, w, s)
    (order,) = true_order([one, other], [acc]).ravel()
    assert compare(one, acc, other, acc) == order == -compare(other, acc, one, acc)


# --- images --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", images_models())
def test_images(name, rng):
    model = shake(Sequential(*images_models()[name]).initialize(rng), rng)
    for parameter in model.parameters():  # whole numbers, too, where pixels are
        if parameter.name == "bias":
            parameter.data[...] = parameter.data.round()
    if name == "conv last":
        model[-1].initialize(0)  # logits within reach of each other
    packed = pack(model, (8, 9))
    images = rng.integers(0, 256, (60, 8, 9), np.uint8)
    for ours, theirs in sign_bits(model, packed, images):
        # The whole numbers behind pixels are exact, what batch norm makes of them is rounded.
        assert (ours != theirs).mean() < 0.001
        assert 0.02 < theirs.mean() < 0.9999
    found = disagreements(model, packed, images)
    first, *hidden, _ = found.layers
    assert first.values == 0 or "Norm" in first.where
    assert first.packed_right == first.values
    assert sum(layer.values for layer in hidden) == found.unexplained == 0
    assert packed.verify(model) == packed.certificate


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_images_of_any_shape(data):
    """Strides, dilations, borders and pools of every size; bits in, so that all bits are exact.

    The biases of the last layer are no whole numbers: its sums round in the float model, which may
    then name the other of two classes that are equal but for that. Exact arithmetic decides.
    """
    number = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    rng = np.random.default_rng(number(0, 2**32))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    shape = (number(4, 9), number(4, 9), number(1, 3))
    channels = [shape[-1], number(1, 5), number(1, 5)]
    layers, size = [*ink()], shape
    for c_in, c_out in itertools.pairwise(channels):
        window = (number(1, min(3, size[0])), number(1, min(3, size[1])))
        conv = Conv2D(
            c_in, c_out, window, stride=(number(1, 3), number(1, 2)), weight_quantizer=SIGN,
            padding=(number(0, 2), number(0, 2)), dilation=(number(1, 2), number(1, 2)),
            padding_value=data.draw(st.sampled_from([-1, 1])), bias=data.draw(st.booleans()),
        )  # fmt: skip
        (above, _), (left, _) = conv.padding
        counts = conv.windows.counts((1, size[0] + 2 * above, size[1] + 2 * left, c_in))
        if min(counts) < 1:
            return
        layers.append(conv)
        pool = data.draw(st.sampled_from(["before", "between", "after", "none"]))
        size = (*counts, c_out)
        pools = []
        if pool != "none":
            pools = [
                MaxPool2D((number(1, size[0]), number(1, size[1])), (number(1, 2), number(1, 3)))
            ]
            size = (*pools[0].windows.counts((1, *size)), c_out)
        norm = data.draw(st.sampled_from(norms(c_out)))
        layers += pools if pool == "before" else []
        layers += [*norm, *(pools if pool == "between" else []), Activation(SIGN)]
        layers += pools if pool == "after" else []
    model = Sequential(*layers, Flatten(), dense(int(np.prod(size)), 3)).initialize(rng, dtype)
    packed = pack(shake(model, rng), shape)
    images = rng.integers(0, 256, (7, *shape), np.uint8)
    for ours, theirs in sign_bits(model, packed, images):
        np.testing.assert_array_equal(ours, theirs)
    found = disagreements(model, packed, images)
    assert found.packed_is_right, found
    assert found.bits == 0
    assert {e["by"] for e in packed.certificate["thresholds"]} == {"enumeration"}


# --- sizes and costs -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", images_models())
def test_summary(name, rng):
    model = Sequential(*images_models()[name]).initialize(rng)
    packed = pack(model, (8, 9))
    summary = packed.summary()
    assert summary.bytes == packed.nbytes == sum(a.nbytes for a in packed.arrays().values())
    for i, (row, stage) in enumerate(zip(summary.rows, packed.stages, strict=True)):
        assert (row.stage, row.kind, row.in_shape) == (i, stage.kind, stage.in_shape)
        assert row.out_shape == stage.out_shape
        arrays = [a for k, a in packed.arrays().items() if k.split(".")[0] == str(i)]
        assert row.bytes == sum(a.nbytes for a in arrays)
        assert row.bytes >= -(-row.bits // 8) + 2 * row.integers + 4 * row.floats
    # The products are those of the float model.
    weights = {k: n for k, n in summary.operations.items() if k in ("xnor", "add")}
    assert sum(weights.values()) == sum(model.summary((8, 9)).macs.values())
    shipped = model.summary((8, 9)).values[1]
    assert sum(row.bits for row in summary.rows if row.kind in ("dense", "conv")) == shipped
    assert summary.table["bytes"].sum() == summary.bytes
    assert list(summary.table.index) == list(range(len(packed.stages)))


def test_a_summary_by_hand():
    model = Sequential(
        Reshape((4, 4, 1)), *ink(), Conv2D(1, 3, 3, weight_quantizer=SIGN), Activation(SIGN),
        MaxPool2D(2), Flatten(), dense(3, 2),
    ).initialize(0)  # fmt: skip
    rows = pack(model, (4, 4)).summary().rows
    assert [
        (r.kind, r.bits, r.integers, r.floats, r.bytes, r.count, r.operation) for r in rows
    ] == [
        ("binarize", 0, 0, 0, 0, 16, "compare"),
        ("conv", 27, 0, 0, 4, 108, "xnor"),
        ("threshold", 0, 3, 0, 6, 12, "compare"),
        ("pool", 0, 0, 0, 0, 9, "compare"),
        ("dense", 6, 0, 0, 1, 6, "xnor"),
        ("scores", 0, 4, 4, 24, 2, "multiply"),
    ]
    text = str(pack(model, (4, 4)).summary())
    assert text.splitlines()[0] == "PackedModel, one image (4, 4)"
    assert text.splitlines()[-1] == "operations an image: 114 xnor, 0 add, 37 compare, 2 multiply"
    assert "total" in text.splitlines()[-2]
    assert all(line == line.rstrip() and len(line) < 100 for line in text.splitlines())


def test_a_model_that_falls_ships_its_directions():
    model = Sequential(*ink(), dense(5, 9), BatchNorm(9), Activation(SIGN), dense(9, 2)).initialize(
        0
    )
    row = pack(model, (5,)).summary().rows[2]
    assert (row.bits, row.integers, row.bytes) == (0, 9, 18)
    model[3].gamma.data[0] = -1
    row = pack(model, (5,)).summary().rows[2]
    assert (row.bits, row.integers, row.bytes) == (9, 9, 20)


def test_large_windows_go_in_smaller_chunks(monkeypatch, rng):
    model = Sequential(*images_models()["two"]).initialize(rng)
    packed = pack(model, (8, 9))
    images = rng.integers(0, 256, (20, 8, 9), np.uint8)
    whole = packed.predict_scores(images)
    seen = []
    run = packed.stages[0].__class__.run
    monkeypatch.setattr(
        packed.stages[0].__class__, "run", lambda s, x: (seen.append(len(x)), run(s, x))[1]
    )
    # Not quite enough for 8 images.
    monkeypatch.setattr(packed_model, "SCRATCH", 8 * costs.total(packed.stages).bytes - 1)
    np.testing.assert_array_equal(packed.predict_scores(images), whole)
    assert set(seen) == {7, 6}
    monkeypatch.setattr(packed_model, "SCRATCH", 1)
    np.testing.assert_array_equal(packed.predict_scores(images[:2]), whole[:2])


@pytest.mark.parametrize(
    "form", [lambda p: p, copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))]
)
def test_arrays_cannot_be_changed_behind_what_is_kept_of_them(form, rng):
    model = Sequential(Rescale(1), dense(3, 5), Activation(SIGN), dense(5, 2)).initialize(rng)
    packed = pack(model, (3,))
    again = form(packed)
    seen = 0
    for stage in again.stages:
        for array in stage.arrays().values():
            with pytest.raises(ValueError, match="read-only"):
                array[0] += 1
            seen += 1
    assert seen == 8
    images = rng.integers(0, 256, (20, 3), np.uint8)
    np.testing.assert_array_equal(again.predict_scores(images), packed.predict_scores(images))
    assert again.sha256 == packed.sha256


# --- whole networks ------------------------------------------------------------------------------


def small_larq():
    def conv(c_in, c_out):
        return Conv2D(c_in, c_out, 3, bias=False, weight_quantizer=SIGN, weight_bound=1.0)

    return Sequential(
        Reshape((28, 28, 1)), Rescale(2 / 255, -1),
        conv(1, 8), MaxPool2D(2), BatchNorm(8, scale=False), Activation(SignSTE(clip=1.0)),
        conv(8, 8), MaxPool2D(2), BatchNorm(8, scale=False), Activation(SignSTE(clip=1.0)),
        Flatten(), dense(200, 10), BatchNorm(10),
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained():
    """Networks after an epoch on the bundled digits."""
    data = load_sample()
    recipes = {name: RECIPES[name]() for name in ("seed", "modern", "finn-tfc", "direct-feedback")}
    recipes["larq"] = RECIPES["larq-cnn"]()
    object.__setattr__(recipes["larq"], "build", small_larq)
    models = {k: r.train(data, epochs=1, progress=False)[0] for k, r in recipes.items()}
    return models, data.test_images


@pytest.mark.parametrize("name", ["seed", "modern", "finn-tfc", "direct-feedback", "larq"])
def test_trained_networks_give_the_same_labels(trained, name):
    models, images = trained
    model = models[name]
    packed = pack(model, (28, 28))
    differ = int((packed.predict(images) != model.forward(images).argmax(1)).sum())
    found = disagreements(model, packed, images)
    assert (found.labels, found.unexplained) == (differ, 0)
    for layer in found.layers:
        assert layer.packed_right == layer.values
    if differ == 0:
        np.testing.assert_allclose(
            packed.logits(images), model.forward(images), rtol=1e-5, atol=1e-5
        )
    assert packed.scores.fits_int32
    by = [entry["by"] for entry in packed.certificate["thresholds"]]
    assert set(by[1:]) <= {"enumeration"}
    assert by[0] == ("enumeration" if name == "finn-tfc" else "exact")
    assert packed.verify(model) == packed.certificate


def test_the_digest_is_of_the_network_alone(trained):
    models, _ = trained
    packed = pack(models["modern"], (28, 28))
    assert packed.sha256 == replace(packed, training={"accuracy": 0.5}).sha256
    found = {
        packed.sha256,
        pack(models["seed"], (28, 28)).sha256,
        pack(models["larq"], (28, 28)).sha256,
    }
    for i, name in ((0, "weights"), (1, "thresholds"), (4, "weights"), (5, "B"), (5, "offset")):
        found.add(moved(packed, i, name, 3, 1).sha256)
    turned = replace(packed.stages[1], falling=~packed.stages[1].falling)
    found.add(replace(packed, stages=(packed.stages[0], turned, *packed.stages[2:])).sha256)
    assert len(found) == 9


def test_permuted_hidden_units_change_nothing(trained, rng):
    models, images = trained
    model = models["modern"]
    scores = pack(model, (28, 28)).predict_scores(images)
    order = rng.permutation(128)
    dense1, norm, _, dense2 = list(model)[2:6]
    for array in (norm.gamma, norm.beta, norm.running_mean, norm.running_var):
        array.data[...] = array.data[order]
    dense1.weight.data[...] = dense1.weight.data[:, order]
    dense2.weight.data[...] = dense2.weight.data[order]
    np.testing.assert_array_equal(pack(model, (28, 28)).predict_scores(images), scores)


@pytest.mark.parametrize("name", ["modern", "larq"])
def test_devices_give_the_same(trained, device, name):
    models, images = trained
    packed = pack(models[name], (28, 28))
    there = device.asarray(images[:40])
    for method in ("predict", "predict_scores", "logits"):
        ours = getattr(packed, method)(images[:40])
        theirs = getattr(packed, method)(there)
        assert type(theirs) is device.array_type
        np.testing.assert_array_equal(device.to_host(theirs), ours)


def test_a_model_on_a_device_is_packed_and_stays_there(device, rng):
    model = Sequential(
        Rescale(2 / 255, -1), dense(9, 8), BatchNorm(8), Activation(SIGN), dense(8, 3)
    )
    model.initialize(rng)
    images = rng.integers(0, 256, (50, 9), np.uint8)
    scores = pack(model, (9,)).predict_scores(images)
    packed = pack(model.to(device), (9,))
    np.testing.assert_array_equal(packed.predict_scores(images), scores)
    assert model.backend is device
    found = disagreements(model, packed, device.asarray(images))
    assert (found.images, found.unexplained) == (50, 0)


def test_packing_leaves_the_model_alone(trained):
    models, images = trained
    model = models["seed"]
    before = [p.data.copy() for p in model.parameters()]
    y = model.forward(images[:5])
    packed = pack(model, (28, 28))
    packed.verify(model)
    assert all((p.data == b).all() for p, b in zip(model.parameters(), before, strict=True))
    np.testing.assert_array_equal(model.forward(images[:5]), y)
    model[2].weight.data[...] *= -1  # and the packed one does not look at it any more
    np.testing.assert_array_equal(packed.logits(images[:5]), y)
    model[2].weight.data[...] *= -1


@pytest.mark.parametrize("batch", [0, 1, 255, 257])
def test_batches_of_any_size(trained, batch):
    models, images = trained
    for name in ("seed", "larq", "finn-tfc"):
        packed = pack(models[name], (28, 28))
        assert packed.predict(images[:batch]).shape == (batch,)
        whole = packed.predict_scores(images[:300])
        np.testing.assert_array_equal(packed.predict_scores(images[:batch]), whole[:batch])


def test_images_are_checked(trained):
    packed = pack(trained[0]["seed"], (28, 28))
    with pytest.raises(TypeError, match="uint8, got float32"):
        packed.predict(np.zeros((1, 28, 28), np.float32))
    with pytest.raises(ValueError, match=r"\(batch, 28, 28\), got \(28, 28\)"):
        packed.predict(np.zeros((28, 28), np.uint8))
    with pytest.raises(TypeError, match="NumPy or CuPy"):
        packed.logits([[0]])
    assert repr(packed).startswith("PackedModel((28, 28): dense threshold dense threshold dense")


def test_verify_finds_every_difference(trained):
    models, _ = trained
    model = models["modern"]
    packed = pack(model, (28, 28))
    for parameter in model.parameters():
        kept = parameter.data.copy()
        if parameter.name == "weight":
            parameter.data[0, 1] *= -1
        elif parameter.name == "gamma":
            parameter.data[1] *= -1
        else:
            parameter.data[1] += 1
        with pytest.raises(PackError):
            packed.verify(model)
        parameter.data[...] = kept
    packed.verify(model)
    assert isinstance(packed.stages[3], ThresholdStage)
    for i, name, channel, change in (
        (3, "thresholds", 5, 2), (3, "thresholds", 5, -2), (3, "falling", 5, True),
        (1, "thresholds", 7, 1), (1, "thresholds", 7, -1),
    ):  # fmt: skip
        with pytest.raises(PackError, match=f"channel {channel}"):
            moved(packed, i, name, channel, change).verify(model)
    with pytest.raises(PackError, match="expected"):
        packed.verify(models["finn-tfc"])
    first, stage, *rest = packed.stages
    short = {name: array[:-1] for name, array in stage.arrays().items()}
    for wrong in (
        replace(stage, **short),
        replace(stage, in_shape=(64, 2), out_shape=(64, 2)),
        first,
    ):
        with pytest.raises(PackError, match="verify: expected thresholds as stage 1"):
            replace(packed, stages=(first, wrong, *rest)).verify(model)


# --- refusals ------------------------------------------------------------------------------------


class Odd(StraightThrough):
    """A sign that jumps at 1e-20."""

    clip = None

    def forward(self, x):
        return np.where(x >= 1e-20, 1, -1).astype(x.dtype)


class Relative(Odd):
    """A sign that depends on all of x."""

    def forward(self, x):
        return np.where(x >= x.flat[-1] - abs(x.flat[-1]), 1, -1).astype(x.dtype)


class MyDense(Dense):
    pass


def test_what_counts_as_a_sign():
    for function in (
        SIGN,
        SignSTE(clip=1.0),
        ApproxSign(),
        SwishSign(),
        AdaSTE(),
        StochasticSign(),
        DoReFaWeights(bits=1),
    ):
        for dtype in (np.float32, np.float64):
            assert is_sign(function, np.dtype(dtype)), function
    for function in (
        Heaviside(),
        Ternary(),
        ReLU(),
        MagnitudeAwareSign(),
        DoReFaActivations(bits=1),
        DoReFaWeights(bits=2),
        Odd(),
        Relative(),
    ):
        assert not is_sign(function, np.dtype(np.float32)), function


def infinite_rescale():
    layer = Rescale(1)
    layer.scale = np.inf  # its constructor would refuse it
    return layer


def refusals():
    hidden = [Rescale(1 / 255), dense(4, 4)]
    conv = Conv2D(1, 2, 2, weight_quantizer=SIGN)
    image = [Reshape((2, 2, 1)), Rescale(1 / 255)]
    end = dense(4, 2)
    return {
        r"layer 0, Dense\(4 -> 2\): expected a Rescale": [end],
        r"layer 2, Activation\(ReLU\(\)\): its values": [*hidden, Activation(ReLU()), end],
        r"Activation\(Heaviside.*-1 below 0": [*hidden, Activation(Heaviside()), end],
        r"Radial": [Rescale(1), Radial(4, 2)],
        r"got MyDense": [Rescale(1), MyDense(4, 2)],
        r"weights of two values.*Identity": [Rescale(1), Dense(4, 2)],
        r"weights of two values.*Ternary": [Rescale(1), Dense(4, 2, weight_quantizer=Ternary(0.5))],
        r"real values; put a sign": [*hidden, end],
        r"AveragePool2D": [*image, AveragePool2D(2), Flatten(), dense(1, 2)],
        r"before any product": [*image, MaxPool2D(2), Flatten(), dense(1, 2)],
        r"only pixels": [*hidden, Rescale(2.0), Activation(SIGN), end],
        r"BatchNorm\(4\): expected it between": [Rescale(1), BatchNorm(4), end],
        r"a second batch norm": [*hidden, BatchNorm(4), BatchNorm(4), Activation(SIGN), end],
        r"Dropout\(0.5, rescale=False\): scales": [*hidden, Activation(SIGN), Dropout(0.5, rescale=False), end],
        r"2 groups": [Reshape((1, 2, 2)), Rescale(1), Conv2D(2, 2, 1, groups=2, weight_quantizer=SIGN), Flatten()],
        r"padding of 0 is a third value.*padding_value=-1": [*image, Activation(SIGN), Conv2D(1, 2, 2, padding=1, weight_quantizer=SIGN), Flatten(), BatchNorm(8)],
        r"padding of -1 is not exactly a pixel.*Rescale\(2 / 255, -1\) with -1": [*image, Conv2D(1, 2, 2, padding=1, padding_value=-1, weight_quantizer=SIGN), Flatten()],
        r"padding of 1 is not exactly a pixel": [*image, Conv2D(1, 2, 2, padding=1, padding_value=1, weight_quantizer=SIGN), Flatten()],
        r"sums that fall with the pixels; rescale by a positive": [Reshape((2, 2, 1)), Rescale(-1), Conv2D(1, 2, 1, weight_quantizer=SIGN), MaxPool2D(2), Flatten()],
        r"mixes channels": [*image, Conv2D(1, 2, 1, weight_quantizer=SIGN), Flatten(), Activation(SIGN), dense(8, 2)],
        r"after the last batch norm": [*image, Conv2D(1, 2, 1, weight_quantizer=SIGN), BatchNorm(2), MaxPool2D(2), Flatten()],
        r"the model's end: expected one value for each class": [*image, conv],
        r"the model's end.*bits": [*hidden, Activation(SIGN)],
        r"expected 4 channels": [*hidden, BatchNorm(3), Activation(SIGN), end],
        r"expected samples of shape \(5,\), got \(4,\)": [Rescale(1), dense(5, 2)],
        r"changes more than once|finite": [infinite_rescale(), Activation(SIGN), end],
        r"rescale by a positive": [Reshape((2, 2, 1)), Rescale(-1), Conv2D(1, 2, 1, weight_quantizer=SIGN), MaxPool2D(2), BatchNorm(2), Activation(SIGN), Flatten(), dense(2, 2)],
    }  # fmt: skip


@pytest.mark.parametrize("message", refusals())
def test_refusals(message):
    model = Sequential(*refusals()[message]).initialize(0)
    with pytest.raises(PackError, match=message):
        pack(model, (4,))


def test_other_wrong_arguments():
    model = Sequential(Flatten(), Rescale(1), dense(4, 2))
    with pytest.raises(RuntimeError, match="initialize"):
        pack(model, (4,))
    model.initialize(0)
    with pytest.raises(TypeError, match="input_shape such as"):
        pack(model, 4)
    with pytest.raises(ValueError, match="sizes of at least 1 in input_shape"):
        pack(model, (2, 0))
    with pytest.raises(TypeError, match="expected a model, got str"):
        pack("model")


def test_nested_containers_and_float64(rng):
    inner = Sequential(dense(9, 8), Sequential(BatchNorm(8), Activation(SIGN)))
    model = DirectFeedback(Sequential(Rescale(1 / 255), inner), Sequential(dense(8, 3)))
    model.initialize(rng, np.float64)
    images = rng.integers(0, 256, (50, 9), np.uint8)
    packed = pack(model, (9,))
    assert disagreements(model, packed, images).unexplained == 0
    np.testing.assert_allclose(packed.logits(images), model.forward(images), rtol=1e-6)
    inner[1][1].function = ReLU()
    with pytest.raises(PackError, match=r"layer 0.1.1.1, Activation"):
        pack(model, (9,))
