"""Stages on pixels and images: sums, windows, padding and pools."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_checks import sign_bits
from packed_models import SIGN, dense, images_models, ink, norms, shake

from minibnn import Activation, Conv2D, Flatten, MaxPool2D, Rescale, Sequential, disagreements, pack
from minibnn.packed.bits import pack_rows
from minibnn.packed.stages import CodeStage, DenseStage


def test_accumulators_of_pixels_are_sums(rng):
    model = Sequential(Rescale(1 / 255), dense(784, 6)).initialize(rng)
    images = rng.integers(0, 256, (20, 784), np.uint8)
    images[0] = 255
    signs = np.where(model[1].weight.data >= 0, 1, -1)
    acc = pack(model, (784,)).after(images, 1)
    np.testing.assert_array_equal(acc, images.astype(int) @ signs)
    assert acc.dtype == np.int32


def test_accumulators_beyond_float32(rng):
    """Sums above 2^24, including odd ones."""
    width = 70_001
    images = np.full((4, width), 255, np.uint8)
    images[1:, 0] = [254, 253, 0]
    stage = DenseStage((width,), (1,), pack_rows(np.ones((1, width), np.uint8)), width, True)
    expected = images.sum(axis=1, dtype=np.int64)
    assert expected.max() > 2**24
    assert stage.run(images)[:, 0].tolist() == expected.tolist()


def test_comparisons(backend):
    """Both ends belong to the interval, nan to none; a feature may be compared in any order."""
    nan, inf = np.nan, np.inf
    low = np.array([0, -inf, inf, inf, 1], np.float32)
    high = np.array([2, -1, inf, -inf, 1], np.float32)
    feature = np.array([1, 0, 0, 1, 1], np.int32)
    stage = CodeStage((2,), (5,), "float32", feature, low, high)
    x = np.array([[-1, 0], [-1.5, 2], [inf, 1], [nan, nan], [-inf, -0.0], [0, 2.0000002]])
    y = backend.to_host(stage.run(backend.asarray(x.astype(np.float32))))
    assert y.dtype == np.uint8
    assert y.tolist() == [
        [1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]  # fmt: skip


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
        # Sums of pixels are exact integers here; batch norm rounds.
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
    """Strides, dilations, paddings and pools of all sizes; inputs are bits, so all bits are exact.

    The biases of the last layer are not integers, so its sums are rounded in the float model, which
    may choose another one of two nearly equal classes. Exact arithmetic decides.
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


@pytest.mark.parametrize(
    "form", [lambda p: p, copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))]
)
def test_arrays_are_read_only(form, rng):
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
