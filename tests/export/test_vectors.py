"""The samples on which exported models test themselves."""

from __future__ import annotations

import numpy as np
import pytest
from coded_models import CODED, coded, dense
from fuzz_packed_costs import Program, end

from minibnn import (
    Flatten,
    OneHotCode,
    Reshape,
    Sequential,
    Thermometer,
    fit_codes,
    load_packed,
    pack,
)
from minibnn.data import load_sample
from minibnn.export.vectors import around_thresholds, example_images, example_inputs, vectors_of
from minibnn.input_contract import InputContract
from minibnn.packed.description import interval_end


def test_large_images_are_tested_with_fewer(tmp_path):
    path = tmp_path / "large.safetensors"
    for shape, n in (((2**11, 2**11), 1), ((2**10, 2**10), 4), ((600, 601), 11), ((590, 591), 12)):
        program = Program(*shape, 1).conv(1, (1, 1), (512, 512)).sign()
        path.write_bytes(end(program).file())
        vectors = vectors_of(load_packed(path))
        assert len(vectors.images) == len(vectors.scores) == n
        assert vectors.images[0].std() > 0  # noise first


@pytest.mark.parametrize("shape", [(28, 28), (784,), (28, 28, 1)])
def test_digits_and_extremes_are_the_examples(shape):
    images = example_images(shape)
    sample = load_sample()
    labels = [
        sample.test_labels[(sample.test_images == image.reshape(28, 28)).all((1, 2)).argmax()]
        for image in images[:10]
    ]
    assert labels == list(range(10))
    assert (images[10] == 0).all()
    assert (images[11] == 255).all()
    assert images.shape == (12, *shape)
    np.testing.assert_array_equal(example_images(shape, 3), images[:3])


@pytest.mark.parametrize("name", CODED)
def test_coded_samples_turn_every_comparison_over(name, rng):
    """For each comparison that can be 0 and 1, some value is at its end and some just outside."""
    packed, _ = coded(name, rng)
    code = packed.stages[0]
    samples = around_thresholds(code)
    assert (samples.dtype, samples.shape[1:]) == (np.dtype(packed.input_dtype), code.in_shape)
    values = samples.reshape(-1, code.in_shape[-1])
    least, most = interval_end(samples.dtype, "low"), interval_end(samples.dtype, "high")
    for feature, low, high in zip(code.feature, code.low, code.high, strict=True):
        own = values[:, feature]
        if low > high:
            continue
        if low > least:
            assert (own == low).any()
            assert (own == before(low)).any()
        if high < most:
            assert (own == high).any()
            assert (own == after(high)).any()
        assert {least, most} <= set(own.tolist())
    if samples.dtype.kind == "f":
        assert np.isnan(samples[-1]).all()
        assert np.signbit(samples[samples == 0]).any()
    assert len(np.unique(packed.after(samples.reshape(-1, *packed.input_shape), 1), axis=0)) > 5


def before(number):
    """The number just below one, in its dtype."""
    return beside(number, -1)


def after(number):
    return beside(number, 1)


def beside(number, way):
    if number.dtype.kind == "f":
        return np.nextafter(number, number.dtype.type(way * np.inf))
    return int(number) + way  # a Python int cannot overflow


def test_coded_samples_are_the_same_every_time(rng):
    packed, _ = coded("thermometer", rng)
    one, two = example_inputs(packed), example_inputs(packed)
    assert one.tobytes() == two.tobytes()
    np.testing.assert_array_equal(example_inputs(packed, 5), one[:5])
    thresholds = packed.stages[0].low.reshape(4, 8)
    np.testing.assert_array_equal(one[0], thresholds[:, 4])  # an ordinary sample first
    vectors = vectors_of(packed)
    assert vectors.images.tobytes() == one.tobytes()
    np.testing.assert_array_equal(vectors.scores, packed.predict_scores(one))


def test_a_constant_feature_has_samples(rng):
    """No comparison of it can change: one threshold for all numbers, or none."""
    x = np.full((10, 2), -128, np.int8)
    model = Sequential(OneHotCode(2, 3), dense(6, 3)).initialize(rng)
    fit_codes(model, x)
    model.input_contract = InputContract("int8", (2,))
    samples = example_inputs(pack(model))
    assert samples.shape[1:] == (2,)
    assert {-128, 127, 0} <= set(samples[:, 0].tolist())


def test_coded_digits_come_first(rng):
    model = Sequential(Reshape((28, 28, 1)), Thermometer(1, 3), Flatten(), dense(3 * 784, 10))
    model.initialize(rng)
    fit_codes(model, load_sample().train_images[:50])
    model.input_contract = InputContract("uint8", (28, 28))
    samples = example_inputs(pack(model))
    np.testing.assert_array_equal(samples[:10], example_images((28, 28), 10))
    assert len(samples) > 20
