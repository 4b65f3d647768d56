"""Thresholds: the float model's bits after a hidden layer, exact arithmetic after the first."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_checks import sign_bits
from packed_models import SIGN, dense, ink, norms, shake

from minibnn import (
    Activation,
    BatchNorm,
    Dense,
    MagnitudeAwareSign,
    PackError,
    Rescale,
    Sequential,
    ShiftBatchNorm,
    disagreements,
    pack,
)
from minibnn.packed.compile import fold
from minibnn.packed.compile.fold import digest

WIDTHS = [1, 7, 8, 31, 63, 64, 65, 127, 784]


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
    """Rising, falling and constant channels, with a few rows at a time in the float layers."""
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
    """All possible accumulators, not only those of some images."""
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
    """Constant channels, and biases that swallow the accumulator or almost do."""
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


# --- after the first layer: exact arithmetic -----------------------------------------------------


def exact_bits(model, images):
    """An independent computation from the latent weights, with decimals of 100 digits."""
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


def test_shifts_of_pixels(rng):
    """Powers of two, integers and a shift: nothing is rounded, not even in floats."""
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


def test_magnitude_aware_weights_fold_into_the_threshold(rng):
    """Floats round sums with weights of -a and +a, so their thresholds are exact, too."""
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
