"""Where a model and its packed form differ, and which one is right."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from packed_checks import moved
from packed_models import SIGN, dense, ink

from minibnn import (
    Activation,
    Dense,
    DoReFaActivations,
    PackError,
    Rescale,
    Sequential,
    disagreements,
    pack,
)
from minibnn.packed.agreement import Disagreements, LayerDisagreement
from minibnn.packed.agreement import _exact_label as exact_label
from minibnn.packed.compile.exact import Line


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
    """Biases that put images on the threshold, up to float rounding."""
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
    for i in (0, 2):  # products, on which exact arithmetic is based
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
    """Logits that floats round to a tie, while bits agree; and a model that does not run its layers."""
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


def test_a_model_of_rounded_weights_is_compared_as_a_whole(rng):
    model = Sequential(Rescale(1, -100), dense(9, 30), Activation(SIGN), Dense(30, 3)).initialize(
        rng
    )
    images = rng.integers(0, 256, (600, 9), np.uint8)
    packed = pack(model, (9,))
    found = disagreements(model, packed, images)
    off = abs(packed.logits(images) - model.forward(images)).max()
    labels = (packed.predict(images) != model.forward(images).argmax(axis=1)).sum()
    assert (found.layers, found.beyond, found.labels) == ([], 0, labels)
    assert found.largest == pytest.approx(off)
    assert 0 < found.largest <= found.bound == packed.bound
    assert found.packed_is_right
    text = f"600 images: {labels} with another label; outputs differ by {found.largest:.6g} at most"
    assert str(found) == f"{text}, bound {found.bound:.6g}"
    wrong = replace(packed, certificate={"thresholds": [], "bound": {"any_signs": off / 2}})
    found = disagreements(model, wrong, images)
    assert 0 < found.beyond < 600
    assert str(found).endswith(f"exceeded in {found.beyond} images")


def test_levels_are_compared_like_signs(rng):
    """Levels of a first layer that floats round: biases put images on a change."""
    levels = Activation(DoReFaActivations(2))
    model = Sequential(Rescale(1 / 255), dense(300, 40), levels, dense(40, 5)).initialize(rng)
    images = rng.integers(0, 256, (40, 300), np.uint8)
    z = model[1].forward(model[0].forward(images))
    model[1].bias.data[...] = 0.5 - np.diagonal(z)  # image k, channel k: 1/2, or nearly
    found = disagreements(model, pack(model, (300,)), images)
    layer = found.layers[0]
    assert layer.values > 5
    assert layer.packed_right == layer.values
    assert found.unexplained == layer.float_right == 0
    assert found.packed_is_right
